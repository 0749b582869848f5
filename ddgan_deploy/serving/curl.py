"""A server asked with curl: pixels as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from ddgan_deploy.names import quoted
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.echo import SEED
from ddgan_deploy.serving.knobs import TYPES


def request(seeds: npt.NDArray[Any], knobs: Mapping[str, npt.NDArray[Any]]) -> str:
    """The body of a request for images, as the KServe v2 protocol has it.

    Args:
        seeds: int64 [N, 1], as of `inputs.seed_array`.
        knobs: those that are given, [N, ...] each, of the dtypes that the model takes.
    """
    inputs = [_tensor(name, values) for name, values in {SEED: seeds, **knobs}.items()]
    return json.dumps({"inputs": inputs, "outputs": [{"name": "image"}]}, separators=(",", ":"))


def line(url: str, data: str) -> str:
    """A shell's command that sends a request.

    Args:
        url: of the server, ``http://HOST:PORT``.
        data: the body, or ``@FILE`` for one in a file.
    """
    return f"curl -s {quoted(f'{url}/v2/models/{MODEL}/infer')} -d {quoted(data)}"


def _tensor(name: str, values: npt.NDArray[Any]) -> dict[str, Any]:
    datatype = TYPES[str(values.dtype)].removeprefix("TYPE_")
    # Of a float32 the shortest number that is read as the same.
    numbers = [float(str(value)) for value in values.ravel()] if values.dtype.kind == "f" else values.ravel().tolist()
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "data": numbers}
