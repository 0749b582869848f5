"""Runs the fused ops on PyTorch tensors by their Triton-language kernels.

On a GPU the kernels are compiled at first use; with TRITON_INTERPRET=1 in the
environment before the first call they run in Triton's interpreter on CPU tensors.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from .adagn import launches as _adagn
from .adagn import spec as _adagn_spec
from .launch import ALIGNMENT, LINEAR, NCHW, NHWC, OpLaunches, Plan, all_sizes, evaluate
from .philox_normal import launches as _philox_normal
from .posterior_sample import launches as _posterior_sample
from .posterior_sample import spec as _posterior_sample_spec

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What the kernels read and write; they compute in float32."""


def adagn(
    x: torch.Tensor,
    scale: torch.Tensor,
    shift: torch.Tensor,
    groups: int,
    epsilon: float = 1e-6,
    activation: str = "none",
) -> torch.Tensor:
    """AdaGN, as `adagn.spec.reference`; y has x's memory layout, NCHW or channels-last.

    Raises:
        ValueError: ranks, channels, groups or activation do not fit together.
    """
    _adagn_spec.check(x, scale, shift, groups, activation)
    x, layout = dense(x)
    y = torch.empty_like(x)
    # One row count for both: a style of one row is repeated only where the other is not.
    rows = max(scale.shape[0], shift.shape[0])
    scale, shift = (value.expand(rows, -1).contiguous() for value in (scale, shift))
    tensors = {"x": x, "scale": scale, "shift": shift, "y": y}
    run(_adagn.LAUNCHES, layout, tensors, _adagn.sizes(x.shape, scale.shape[0], groups, epsilon, activation))
    return y


def posterior_sample(
    x0_raw: torch.Tensor,
    x_t: torch.Tensor,
    noise: torch.Tensor,
    coef_x0: float,
    coef_xt: float,
    sigma: float,
    squash: str = "none",
) -> torch.Tensor:
    """PosteriorSample, as `posterior_sample.spec.reference`.

    Raises:
        ValueError: shapes differ, or squash is unknown.
    """
    _posterior_sample_spec.check(x0_raw, x_t, noise, squash)
    x0_raw, layout = dense(x0_raw)
    memory = _memory_format(layout)
    x_t, noise = (value.float().contiguous(memory_format=memory) for value in (x_t, noise))
    x_prev = torch.empty_like(x_t)
    tensors = {"x0_raw": x0_raw, "x_t": x_t, "noise": noise, "x_prev": x_prev}
    sizes = _posterior_sample.sizes(x0_raw.shape, coef_x0, coef_xt, sigma, squash)
    run(_posterior_sample.LAUNCHES, LINEAR, tensors, sizes)
    return x_prev


def seeded_posterior_sample(
    x0_raw: torch.Tensor,
    x_t: torch.Tensor,
    seed: torch.Tensor,
    stream: int,
    coef_x0: float,
    coef_xt: float,
    sigma: float,
    squash: str = "none",
) -> torch.Tensor:
    """`posterior_sample` with the noise ``philox_normal(seed, stream, x_t.shape[1:])``, which is never in memory.

    Raises:
        ValueError: shapes differ, squash is unknown, seed is not int64 [N, 1], or stream not 0..2**32-1.
    """
    _posterior_sample_spec.check(x0_raw, x_t, x_t, squash)
    _check_noise("PosteriorSample", seed, stream)
    if seed.shape[0] != x0_raw.shape[0]:
        raise ValueError(f"PosteriorSample: {seed.shape[0]} seeds for {x0_raw.shape[0]} samples")
    x0_raw, layout = dense(x0_raw)
    x_t = x_t.float().contiguous(memory_format=_memory_format(layout))
    x_prev = torch.empty_like(x_t)
    tensors = {"x0_raw": x0_raw, "x_t": x_t, "seed": seed.contiguous(), "x_prev": x_prev}
    sizes = _posterior_sample.sizes(x0_raw.shape, coef_x0, coef_xt, sigma, squash, stream)
    run(_posterior_sample.SEEDED_LAUNCHES, layout, tensors, sizes)
    return x_prev


def philox_normal(
    seed: torch.Tensor, stream: int, shape: Sequence[int], dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """PhiloxNormal, as `philox_normal.spec.reference`, within 2 ulp of it in float32.

    Raises:
        ValueError: seed is not int64 [N, 1], stream not 0..2**32-1, or dtype none of `DTYPES`.
    """
    _check_noise("PhiloxNormal", seed, stream)
    noise = torch.empty((seed.shape[0], *shape), dtype=dtype, device=seed.device)
    tensors = {"seed": seed.contiguous(), "noise": noise}
    run(_philox_normal.LAUNCHES, LINEAR, tensors, _philox_normal.sizes(seed.shape[0], stream, shape))
    return noise


def run(op: OpLaunches, layout: str, tensors: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> None:
    """Launches an op's kernels; outputs are among the tensors. Nothing runs where there is nothing to compute.

    Raises:
        ValueError: no plan serves the sizes; tensors are of another type than the kernels
            take, on several devices, or where no kernel runs.
    """
    _check_tensors(op, tensors)
    if all(tensor.numel() for tensor in tensors.values()):
        aligned = all(tensor.data_ptr() % ALIGNMENT == 0 for tensor in tensors.values())
        run_plan(op, op.choose(layout, sizes, aligned), tensors, sizes)


def run_plan(op: OpLaunches, plan: Plan, tensors: Mapping[str, torch.Tensor], sizes: Mapping[str, int]) -> None:
    """Launches one plan, whether or not another would serve the sizes better."""
    every = all_sizes(plan, sizes)
    device = next(iter(tensors.values())).device
    temporaries = {
        name: torch.empty([evaluate(extent, every) for extent in shape], dtype=torch.float32, device=device)
        for name, shape in plan.temporaries.items()
    }
    arguments: dict[str, Any] = {**every, **tensors, **temporaries}
    kernels = importlib.import_module(f".{op.folder}.tl_kernel", __package__)
    with torch.cuda.device_of(next(iter(tensors.values()))):  # type: ignore[no-untyped-call]
        for launch in plan.launches:
            grid = tuple(evaluate(extent, every) for extent in launch.grid)
            getattr(kernels, launch.kernel)[grid](
                *(arguments[name] for name in launch.arguments), **launch.constexprs, **launch.options
            )


def dense(x: torch.Tensor) -> tuple[torch.Tensor, str]:
    """x [N, C, H, W] and its memory layout; a copy where it is neither NCHW nor channels-last."""
    if x.is_contiguous():
        return x, NCHW
    if x.is_contiguous(memory_format=torch.channels_last):
        return x, NHWC
    return x.contiguous(), NCHW


def _memory_format(layout: str) -> torch.memory_format:
    return torch.channels_last if layout == NHWC else torch.contiguous_format


def _check_noise(op: str, seed: torch.Tensor, stream: int) -> None:
    if seed.dim() != 2 or seed.shape[1] != 1 or seed.dtype != torch.int64:
        raise ValueError(f"{op}: seed is {seed.dtype} {list(seed.shape)}, it must be int64 [N, 1]")
    if not 0 <= stream < 2**32:
        raise ValueError(f"{op}: stream is {stream}, it must be 0..{2**32 - 1}")


def _check_tensors(op: OpLaunches, tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if op.tensors[name] == "T" and tensor.dtype not in DTYPES:
            raise ValueError(f"{op.op}: {name} is {tensor.dtype}, it must be float32, float16 or bfloat16")
    devices = {tensor.device for tensor in tensors.values()}
    if len(devices) > 1:
        raise ValueError(f"{op.op}: tensors are on {', '.join(sorted(map(str, devices)))}, they must be on one device")
    if devices == {torch.device("cpu")} and os.environ.get("TRITON_INTERPRET") != "1":
        raise ValueError(
            f"{op.op}: tensors are on the CPU, where Triton-language kernels run only interpreted: "
            "move them to a GPU, or set TRITON_INTERPRET=1 before the first call"
        )
