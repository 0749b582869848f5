"""What the fused ops on PyTorch tensors share: it launches their Triton-language kernels.

Each op's ``torch_op.py`` has the op itself.

On a GPU the kernels are compiled at first use; with TRITON_INTERPRET=1 in the
environment before the first call they run in Triton's interpreter on CPU tensors.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import Any

import torch

from .launch import ALIGNMENT, NCHW, NHWC, OpLaunches, Plan, all_sizes, evaluate

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What the kernels read and write; they compute in float32."""


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


def memory_format(layout: str) -> torch.memory_format:
    """PyTorch's name for a layout."""
    return torch.channels_last if layout == NHWC else torch.contiguous_format


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
