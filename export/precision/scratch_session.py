"""A session of a graph that is made to be measured and then forgotten."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx_ir as ir
import onnxruntime

from ddgan_deploy.artifact.manifest import WEIGHTS
from ddgan_deploy.engines.onnxruntime.session import new_session
from ddgan_deploy.export.graph.save import attach_functions

_INLINE_BYTES = 1 << 17
"""Sizes must stay in the graph file, since shape inference reads them; weights need not."""


def scratch_session(model: ir.Model, scratch: Path) -> onnxruntime.InferenceSession:
    """Opens a graph with the fused ops that it uses in stock ONNX Runtime, by files that are gone afterwards.

    Args:
        model: gets the ops' definitions.
        scratch: a folder on a disk with room for the weights; left as it is.
    """
    attach_functions(model)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "scratch.onnx"
        # Under this name the session copies the weights, and outlives the file.
        ir.save(model, path, external_data=WEIGHTS, size_threshold_bytes=_INLINE_BYTES)
        return new_session(path)
