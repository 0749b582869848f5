"""Shapes, inputs and error measures that the tests of every form of an op share.

A form is the function body, the C++ kernel or the Triton-language kernel. Errors are
relative to what plain PyTorch gets wrong at the same precision: `tolerance` is twice
that error plus a small floor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ddgan_deploy.kernels.reverse_step.spec import MEAN, STEP, Coefficients, reference
from ddgan_deploy.kernels.style_lrelu import spec as style_lrelu

FLOOR = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 8e-3}
"""What is added to twice PyTorch's error, by the type of the output."""

AdaGNShape = tuple[int, int, int, int, int]

ADAGN_SHAPES: list[AdaGNShape] = [
    # n, c, h, w, groups
    (1, 128, 32, 32, 32),
    (5, 64, 16, 16, 16),
    (2, 12, 7, 5, 3),
    (1, 8, 1, 1, 2),
    (5, 12, 1, 1, 3),
    (1, 16, 3, 64, 4),
]
ADAGN_LARGE: AdaGNShape = (1, 64, 256, 256, 16)
"""The largest AdaGN of the published CelebA-HQ 256 model."""

ADAGN_GRAD_SHAPES: list[AdaGNShape] = [*ADAGN_SHAPES, (2, 64, 65, 1, 32)]
"""The last: what attention pooling makes of 8x8 pixels, their mean beside them."""

POSTERIOR_SHAPES = [(1, 3, 32, 32), (5, 1, 7, 3), (2, 12, 1, 1)]
POSTERIOR_COEFFICIENTS = {"coef_x0": 0.66577846, "coef_xt": 0.20157626, "sigma": 0.6639}

REVERSE_SHAPES = POSTERIOR_SHAPES
REVERSE_COEFFICIENTS = {
    "ddgan": Coefficients(c0=0.66577846, ct=0.20157626, s=0.6639),
    "noise": Coefficients(c0=0.41, a=-1.87, b=2.12, lo=-1.0, hi=1.0, ct=0.58, s=0.11),
    "one_limit": Coefficients(c0=-0.5, a=0.7, b=0.3, hi=0.25, ct=1.5, s=2.0),
}
REVERSE_OPS = {"step": STEP, "mean": MEAN}

STYLE_SHAPES = [(1, 64, 16, 16), (5, 12, 7, 3), (2, 3, 1, 1), (3, 40, 33, 5)]
STYLE_NOISES = ("each", "one", "none")
"""Rows and pixels of StyleLrelu's noise: for each sample, one for all, one number."""
STYLE_FORMS = {"lrelu": (0.2, 1.5), "relu": (0.0, 3.4028234663852886e38), "linear": (1.0, 2.0)}
"""Slope and limit of StyleLrelu."""

PHILOX_SEEDS = np.array([0, 1, -1, 2**31, -(2**63), 2**63 - 1, 12345678901234567], np.int64)
PHILOX_STREAMS = [0, 1, 128]
PHILOX_SHAPES = [(3, 32, 32), (100,), (1,), (5, 1, 3), (1, 16)]
PHILOX_BELOW = [1, 10, 1000, 2**31]
PHILOX_ULP = 2
"""The integers are equal bit for bit; log, cos and sin may differ in their last place."""

Arrays = tuple[np.ndarray, ...]


def adagn_inputs(
    shape: AdaGNShape, dtype: str, style_rows: int | None, offset: float = 0.0, style_dtype: str | None = None
) -> Arrays:
    """(x, scale, shift); ``style_rows`` None: a style for every sample; ``offset``: x's mean."""
    n, c, h, w, _ = shape
    rng = np.random.default_rng(n * c + h)
    x = (rng.normal(size=(n, c, h, w)) * 3 + offset).astype(dtype)
    scale = rng.normal(1, 0.5, size=(style_rows or n, c)).astype(style_dtype or dtype)
    shift = rng.normal(0, 0.5, size=(style_rows or n, c)).astype(style_dtype or dtype)
    return x, scale, shift


def adagn_errors(
    shape: AdaGNShape, inputs: Sequence[np.ndarray], activation: str, measured: np.ndarray, epsilon: float = 1e-6
) -> tuple[float, float]:
    """(error of the measured output, error that plain PyTorch makes), both the largest against float64."""
    x, scale, shift = (torch.as_tensor(value) for value in inputs)

    def plain(*values: torch.Tensor) -> torch.Tensor:
        return _adagn(*values, shape[-1], epsilon, activation)

    return _errors(plain, (x, scale, shift), x.dtype, measured)


def adagn_grad_inputs(
    shape: AdaGNShape, dtype: str, style_rows: int | None, offset: float = 0.0, style_dtype: str | None = None
) -> Arrays:
    """(dy, x, scale, shift); the others as of `adagn_inputs`. dy has a mean, which its groups lose."""
    n, c, h, w, _ = shape
    dy = np.random.default_rng(w).normal(0.5, 1, size=(n, c, h, w)).astype(dtype)
    return dy, *adagn_inputs(shape, dtype, style_rows, offset, style_dtype)


def adagn_grad_errors(
    shape: AdaGNShape, inputs: Sequence[np.ndarray], activation: str, measured: np.ndarray, epsilon: float = 1e-6
) -> tuple[float, float]:
    """(error of the measured dx, error of PyTorch's own gradient of plain AdaGN), both the largest against float64."""
    dy, x, scale, shift = (torch.as_tensor(value) for value in inputs)

    def plain(*values: torch.Tensor) -> torch.Tensor:
        dy, x, scale, shift = values
        x = x.detach().requires_grad_()
        y = _adagn(x, scale, shift, shape[-1], epsilon, activation)
        (dx,) = torch.autograd.grad(y, x, dy.to(y.dtype))
        return dx

    return _errors(plain, (dy, x, scale, shift), x.dtype, measured)


def posterior_inputs(shape: Sequence[int], raw_dtype: str) -> Arrays:
    """(x0_raw, x_t, noise)."""
    rng = np.random.default_rng(1)
    raw = (3 * rng.normal(size=shape)).astype(raw_dtype)
    return raw, *(rng.normal(size=shape).astype(np.float32) for _ in range(2))


def posterior_errors(
    inputs: Sequence[np.ndarray], coefficients: dict[str, float], squash: str, measured: np.ndarray
) -> tuple[float, float]:
    """(error of the measured output, error that plain PyTorch makes), both the largest against float64."""

    def plain(*values: torch.Tensor) -> torch.Tensor:
        raw, x_t, noise = values
        x_0 = torch.tanh(raw) if squash == "tanh" else raw
        return coefficients["coef_x0"] * x_0 + coefficients["coef_xt"] * x_t + coefficients["sigma"] * noise

    return _errors(plain, [torch.as_tensor(value) for value in inputs], torch.float32, measured)


def reverse_inputs(
    op: str, shape: Sequence[int], dtype: str, coefficients: Coefficients = REVERSE_COEFFICIENTS["noise"]
) -> Arrays:
    """(out, x, noise, coefficients), of "mean" without noise; ``dtype``: of out."""
    images = posterior_inputs(shape, dtype)
    return *(images if op == "step" else images[:2]), np.array(coefficients, np.float32)


def reverse_expected(inputs: Sequence[np.ndarray]) -> np.ndarray:
    """The reference's x_prev; without nan and with any, the forms on a CPU have the same bits."""
    out, x, *noise, coefficients = (torch.from_numpy(value) for value in inputs)
    return reference(out, x, noise[0] if noise else None, coefficients).numpy()


def style_inputs(shape: Sequence[int], dtype: str, noise: str = "each", limit: float = 1.5) -> Arrays:
    """(x, scale, noise, bias, limit); ``dtype``: of x."""
    n, c, h, w = shape
    rng = np.random.default_rng(n * c + h)
    picture = {"each": (n, 1, h, w), "one": (1, 1, h, w), "none": (1, 1, 1, 1)}[noise]
    scale, bias = (rng.normal(size=size).astype(np.float32) for size in ((n, c), (c,)))
    noises = rng.normal(size=picture).astype(np.float32)
    return rng.normal(size=shape).astype(dtype), scale, noises, bias, np.array([limit], np.float32)


def style_expected(inputs: Sequence[np.ndarray], alpha: float = 0.2) -> np.ndarray:
    """The reference's y; the forms on a CPU have the same bits."""
    return style_lrelu.reference(*map(torch.from_numpy, inputs), alpha).numpy()


def tolerance(torch_error: float, dtype: str) -> float:
    """The error that is allowed where plain PyTorch makes ``torch_error``."""
    return 2 * torch_error + FLOOR[dtype]


def _adagn(
    x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, groups: int, epsilon: float, activation: str
) -> torch.Tensor:
    y = torch.group_norm(x, groups, eps=epsilon)
    y = y * scale[:, :, None, None] + shift[:, :, None, None]
    return torch.nn.functional.silu(y) if activation == "silu" else y


def _errors(
    plain: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], dtype: torch.dtype, measured: np.ndarray
) -> tuple[float, float]:
    if not measured.size:
        return 0.0, 0.0
    exact = plain(*(value.double() for value in inputs)).numpy()
    # PyTorch computes a mix of types in the wider one; the output's type is x's all the same.
    torch_error = np.abs(plain(*inputs).to(dtype).double().numpy() - exact).max()
    return float(np.abs(measured.astype(np.float64) - exact).max()), float(torch_error)
