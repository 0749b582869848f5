"""What a graph file is made of, as one hash: equal hashes, equal graphs but for the numbers of their weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx

from ddgan_deploy.artifact.subgraphs import with_bodies


def structure(path: Path) -> str:
    """SHA-256 over everything that a file states, without metadata and without the content of initializers.

    Weights are left out since processors round them differently where constants are folded.
    """
    model = onnx.load(path, load_external_data=False)
    for field in ("producer_name", "producer_version", "metadata_props"):
        model.ClearField(field)
    for initializer in [tensor for graph in with_bodies(model.graph) for tensor in graph.initializer]:
        for field in ("raw_data", "external_data", "data_location"):
            initializer.ClearField(field)
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
