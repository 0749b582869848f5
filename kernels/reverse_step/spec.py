"""ReverseStep and ReverseMean: one step of the reverse process, of every family.

    x_0    = clip(a * out + b * x, lo, hi)
    x_prev = (c0 * x_0 + ct * x) + s * noise      ReverseStep
    x_prev =  c0 * x_0 + ct * x                   ReverseMean

in float32 whatever the network's output ``out`` is. A network that predicts x_0 has a = 1 and b = 0; one that
predicts the noise has a = -sqrt(1/ā - 1) and b = sqrt(1/ā) (Ho et al. 2020, equation 15). Limits may be
infinite, and then change nothing. c0, ct and s are the posterior's (Ho et al. 2020, equation 7; Xiao et al. 2022,
equation 4), or those of DDIM (Song et al. 2021, equation 12), whose step without noise is ReverseMean.

The coefficients are an input, since attributes cannot vary inside an ONNX Loop. ReverseMean takes as many,
and ignores s.

In every form each product and each sum is rounded in the order that stands above, but that a compiler for GPUs
may fuse a product with the sum that it goes into: function body, PyTorch, the C++ kernel on every instruction set
agree bit for bit. What is nan stays nan, x_0 too: a limit does not hide it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from ..op import OpSpec

_MEAN_FLOPS, _NOISE_FLOPS = 8, 2


class Coefficients(NamedTuple):
    """The coefficients in the order of the input, float32 [7]; left as they are, x_prev is ``out``."""

    c0: float = 1.0
    a: float = 1.0
    b: float = 0.0
    lo: float = -math.inf
    hi: float = math.inf
    ct: float = 0.0
    s: float = 0.0


COUNT = len(Coefficients._fields)


def reference(
    out: torch.Tensor, x: torch.Tensor, noise: torch.Tensor | None, coefficients: torch.Tensor
) -> torch.Tensor:
    """One step in PyTorch.

    Args:
        out: the network's output [N, C, H, W], any float type.
        x: the state [N, C, H, W], float32.
        noise: [N, C, H, W], float32; None: ReverseMean.
        coefficients: float32 [7], as `Coefficients`, with lo <= hi.

    Returns:
        x_prev, float32 [N, C, H, W].

    Raises:
        ValueError: shapes do not fit together.
    """
    check(out, x, noise, coefficients)
    c0, a, b, lo, hi, ct, s = coefficients.float().unbind()
    x_0 = torch.clamp(a * out.float() + b * x.float(), lo, hi)
    mean = c0 * x_0 + ct * x.float()
    return mean if noise is None else mean + s * noise.float()


def check(out: torch.Tensor, x: torch.Tensor, noise: torch.Tensor | None, coefficients: torch.Tensor) -> None:
    """Refuses what does not fit together.

    Raises:
        ValueError: shapes do not fit together.
    """
    op, names = ("ReverseMean", "out and x") if noise is None else ("ReverseStep", "out, x and noise")
    shapes = [list(value.shape) for value in (out, x, noise) if value is not None]
    if out.dim() != 4 or any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"{op}: {names} must have one shape [N, C, H, W], they have {', '.join(map(str, shapes))}")
    if list(coefficients.shape) != [COUNT]:
        raise ValueError(f"{op}: coefficients has shape {list(coefficients.shape)}, it must be [{COUNT}]")


# Clip's own limits are scalars; what Split makes has one extent.
_MEAN = f"""
        c0, a, b, lo, hi, ct, s = Split <axis = 0, num_outputs = {COUNT}> (coefficients)
        least = Squeeze (lo)
        most = Squeeze (hi)
        out32 = Cast <to = 1> (out)
        from_out = Mul (a, out32)
        from_state = Mul (b, x)
        unclipped = Add (from_out, from_state)
        x_0 = Clip (unclipped, least, most)
        from_x0 = Mul (c0, x_0)
        from_x = Mul (ct, x)"""

STEP = OpSpec(
    name="ReverseStep",
    inputs=(("out", "T"), ("x", "float"), ("noise", "float"), ("coefficients", "float")),
    outputs=(("x_prev", "float"),),
    attributes={},
    body=_MEAN
    + """
        mean = Add (from_x0, from_x)
        from_noise = Mul (s, noise)
        x_prev = Add (mean, from_noise)""",
    flops=_MEAN_FLOPS + _NOISE_FLOPS,
    like="x",
)
MEAN = OpSpec(
    name="ReverseMean",
    inputs=(("out", "T"), ("x", "float"), ("coefficients", "float")),
    outputs=(("x_prev", "float"),),
    attributes={},
    body=_MEAN + "\n        x_prev = Add (from_x0, from_x)",
    flops=_MEAN_FLOPS,
    like="x",
)
SPECS = (STEP, MEAN)
