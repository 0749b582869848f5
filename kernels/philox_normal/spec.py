"""The Philox ops: what a seed draws, as `philox` defines it.

PhiloxNormal     standard normal values of one stream
PhiloxNormalAt   the same, its stream an input, since attributes cannot vary inside an ONNX Loop
PhiloxInteger    integers from 0 to below - 1
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..op import OpSpec
from . import body, philox

_NORMAL_FLOPS = 5
"""A value's: logarithm, root, sine and the products of Box-Muller; Philox itself is integers."""


def reference(seed: torch.Tensor, stream: int, shape: Sequence[int]) -> torch.Tensor:
    """PhiloxNormal, and PhiloxNormalAt.

    Args:
        seed: int64 [N, 1].
        stream: the stream's number, 0..2**32-1; of another number the low 32 bits count.
        shape: shape of one sample.

    Returns:
        float32 [N, *shape].

    Raises:
        ValueError: seed is not [N, 1].
    """
    return torch.from_numpy(philox.normal(_seeds("PhiloxNormal", seed), stream % 2**32, shape))


def reference_integer(seed: torch.Tensor, stream: int, shape: Sequence[int], below: int) -> torch.Tensor:
    """PhiloxInteger.

    Args:
        seed, stream, shape: as of `reference`.
        below: 1..2**31, one more than the largest integer.

    Returns:
        int64 [N, *shape].

    Raises:
        ValueError: seed is not [N, 1], or below not 1..2**31.
    """
    return torch.from_numpy(philox.integers(_seeds("PhiloxInteger", seed), stream % 2**32, shape, below))


def _seeds(op: str, seed: torch.Tensor) -> torch.Tensor:
    if seed.dim() != 2 or seed.shape[1] != 1:
        raise ValueError(f"{op}: seed has shape {list(seed.shape)}, it must be [N, 1]")
    return seed.reshape(-1)


SPEC = OpSpec(
    name="PhiloxNormal",
    inputs=(("seed", "int64"),),
    outputs=(("noise", "float"),),
    attributes={"stream": "INT", "shape": "INTS"},
    body=body.words(body.STREAM_ATTRIBUTE) + body.normals() + body.in_order("noise"),
    flops=_NORMAL_FLOPS,
)
NORMAL_AT = OpSpec(
    name="PhiloxNormalAt",
    inputs=(("seed", "int64"), ("stream", "int64")),
    outputs=(("noise", "float"),),
    attributes={"shape": "INTS"},
    body=body.words(body.STREAM_INPUT) + body.normals() + body.in_order("noise"),
    flops=_NORMAL_FLOPS,
)
INTEGER = OpSpec(
    name="PhiloxInteger",
    inputs=(("seed", "int64"),),
    outputs=(("values", "int64"),),
    attributes={"stream": "INT", "shape": "INTS", "below": "INT"},
    body=body.words(body.STREAM_ATTRIBUTE) + body.integers() + body.in_order("values"),
    flops=0,
)
SPECS = (SPEC, NORMAL_AT, INTEGER)
