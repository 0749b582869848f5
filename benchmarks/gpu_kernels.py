"""The Triton-language kernels on this GPU, against PyTorch eager, torch.compile and what memory allows.

    python benchmarks/gpu_kernels.py [--json FILE]
    ncu --set full python benchmarks/gpu_kernels.py --profile FILE NUMBER

Medians. "ours", "eager" and "compile" are times of the GPU alone, of many calls captured in one CUDA graph; "called" is
ours as Python calls it, one launch after the other. "limit" is the time in which the bytes that the op must move (each
tensor read or written once) pass at the bandwidth of a large device-to-device copy, measured in the same run; "share"
is limit over ours. FILE is written anew after every row. --profile runs one row's kernel a few times and no more: the
NUMBER-th (from 0) of those with the smallest share in FILE.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import triton
import triton.testing

from ddgan_deploy.files import written_whole
from ddgan_deploy.gpu import driver_version
from ddgan_deploy.kernels.adagn.spec import reference as adagn_reference
from ddgan_deploy.kernels.adagn.torch_op import adagn
from ddgan_deploy.kernels.adagn_grad.spec import reference as adagn_grad_reference
from ddgan_deploy.kernels.adagn_grad.torch_op import adagn_grad
from ddgan_deploy.kernels.philox_normal.torch_op import philox_normal
from ddgan_deploy.kernels.reverse_step.spec import Coefficients
from ddgan_deploy.kernels.reverse_step.spec import reference as reverse_reference
from ddgan_deploy.kernels.reverse_step.torch_op import reverse_step
from ddgan_deploy.kernels.style_lrelu.spec import reference as style_reference
from ddgan_deploy.kernels.style_lrelu.torch_op import style_lrelu

sys.path.insert(0, str(Path(__file__).parent))
from gpu import kernel_head, kernel_line

ADAGN_SHAPES = [
    # n, c, h, w, groups: CIFAR-10 size, CelebA-HQ 256 size
    (64, 256, 32, 32, 32),
    (8, 64, 256, 256, 16),
    (1, 128, 32, 32, 32),
    (8, 256, 32, 32, 32),
    (64, 256, 16, 16, 32),
    (1, 64, 256, 256, 16),
]
GRADIENTS = [(8, 256, 32, 32, 32), (8, 128, 256, 256, 32), (1, 128, 256, 256, 32)]
"""Features of ADM's classifiers at 64x64 and 256x256."""
IMAGES = [(64, 3, 32, 32), (8, 3, 256, 256), (64, 3, 256, 256)]
STYLED = [(8, 512, 64, 64), (8, 64, 256, 256), (64, 64, 256, 256)]
"""Features of StyleGAN2 at 256x256."""
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
COEFFICIENTS = Coefficients(c0=0.66, ct=0.2, s=0.66)
PROFILED_CALLS = 3

Call = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One op on one shape.

    Attributes:
        moved: bytes that it must read and write.
        calls: ours, eager and compiled.
    """

    op: str
    like: torch.Tensor
    layout: str
    moved: int
    ours: Call
    eager: Call
    compiled: Call

    @property
    def name(self) -> str:
        shape = "x".join(map(str, self.like.shape))
        return f"{self.op} {shape} {str(self.like.dtype)[6:]} {self.layout}"


@dataclass(frozen=True)
class Row:
    """Times in microseconds; None and why where one could not be measured."""

    op: str
    shape: str
    dtype: str
    layout: str
    ours_us: float | None = None
    called_us: float | None = None
    eager_us: float | None = None
    compile_us: float | None = None
    limit_us: float | None = None
    share: float | None = None
    failed: str | None = None


def called_us(call: Call) -> float:
    """Median time of one call from Python."""
    return 1e3 * float(triton.testing.do_bench(call, return_mode="median"))


def gpu_us(call: Call) -> float:
    """Median time of one call on the GPU."""
    call()
    return 1e3 * float(triton.testing.do_bench_cudagraph(call, return_mode="median"))


def copy_bandwidth() -> float:
    """Bytes read and written a second by a copy of half a gigabyte."""
    source = torch.empty(2**29, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / (called_us(lambda: target.copy_(source)) * 1e-6)


def measured(case: Case, bandwidth: float) -> Row:
    """Ours, eager and compiled in turn."""
    op, shape, dtype, layout = case.name.split()
    row: dict[str, Any] = {"limit_us": case.moved / bandwidth * 1e6}
    calls = {"ours_us": case.ours, "eager_us": case.eager, "compile_us": case.compiled}
    try:
        row["called_us"] = called_us(case.ours)
        for name, call in calls.items():
            row[name] = gpu_us(call)
        row["share"] = row["limit_us"] / row["ours_us"]
    except Exception as error:  # one row less, and the others are measured
        row["failed"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    return Row(op, shape, dtype, layout, **row)


def adagn_cases() -> Iterator[Case]:
    """AdaGN with SiLU: every shape, dtype and layout."""
    compiled = torch.compile(adagn_reference, dynamic=False)
    for n, c, h, w, groups in ADAGN_SHAPES:
        for dtype in (torch.float16, torch.float32, torch.bfloat16):
            for layout, memory in LAYOUTS.items():
                x = torch.randn(n, c, h, w, device="cuda", dtype=dtype).contiguous(memory_format=memory)
                scale, shift = (torch.randn(n, c, device="cuda", dtype=dtype) for _ in range(2))
                given = (x, scale, shift, groups, 1e-6, "silu")
                yield Case(
                    *("AdaGN", x, layout, 2 * x.numel() * x.element_size()),
                    lambda a=given: adagn(*a),
                    lambda a=given: adagn_reference(*a),
                    lambda a=given: compiled(*a),
                )


def adagn_grad_cases() -> Iterator[Case]:
    """The gradient of AdaGN with SiLU; eager and compiled are its equations, not autograd."""
    compiled = torch.compile(adagn_grad_reference, dynamic=False)
    for n, c, h, w, groups in GRADIENTS:
        for dtype in (torch.float16, torch.float32):
            for layout, memory in LAYOUTS.items():
                images = (torch.randn(n, c, h, w, device="cuda", dtype=dtype) for _ in range(2))
                dy, x = (image.contiguous(memory_format=memory) for image in images)
                scale, shift = (torch.randn(n, c, device="cuda", dtype=dtype) for _ in range(2))
                given = (dy, x, scale, shift, groups, 1e-5, "silu")
                yield Case(
                    *("AdaGNGrad", x, layout, 3 * x.numel() * x.element_size()),
                    lambda a=given: adagn_grad(*a),
                    lambda a=given: adagn_grad_reference(*a),
                    lambda a=given: compiled(*a),
                )


def reverse_cases() -> Iterator[Case]:
    """ReverseStep of a network that predicts x_0."""
    compiled = torch.compile(reverse_reference, dynamic=False)
    coefficients = torch.tensor(COEFFICIENTS, device="cuda")
    for shape in IMAGES:
        for dtype in (torch.float32, torch.float16):
            raw = torch.randn(shape, device="cuda", dtype=dtype)
            x_t, noise = (torch.randn(shape, device="cuda") for _ in range(2))
            given = (raw, x_t, noise, coefficients)
            yield Case(
                *("ReverseStep", raw, "linear", raw.numel() * (raw.element_size() + 12)),
                lambda a=given: reverse_step(*a),
                lambda a=given: reverse_reference(*a),
                lambda a=given: compiled(*a),
            )


def style_cases() -> Iterator[Case]:
    """StyleLrelu after the convolutions of StyleGAN2 at 256x256."""
    compiled = torch.compile(style_reference, dynamic=False)
    limit = torch.full((1,), 256.0, device="cuda")
    for n, c, h, w in STYLED:
        for dtype in (torch.float16, torch.float32):
            for layout, memory in LAYOUTS.items():
                x = torch.randn(n, c, h, w, device="cuda", dtype=dtype).contiguous(memory_format=memory)
                sizes = ((n, c), (1, 1, h, w), (c,))
                scale, noise, bias = (torch.randn(size, device="cuda") for size in sizes)
                given = (x, scale, noise, bias, limit)
                yield Case(
                    *("StyleLrelu", x, layout, 2 * x.numel() * x.element_size()),
                    lambda a=given: style_lrelu(*a),
                    lambda a=given: style_reference(*a),
                    lambda a=given: compiled(*a),
                )


def philox_cases() -> Iterator[Case]:
    """PhiloxNormal against PyTorch's own generator, which draws other numbers."""
    compiled = torch.compile(torch.randn_like, dynamic=False)
    for shape in IMAGES:
        seeds = torch.arange(shape[0], device="cuda")[:, None]
        like = torch.empty(shape, device="cuda")
        yield Case(
            *("PhiloxNormal", like, "linear", like.numel() * 4),
            lambda s=seeds, h=shape: philox_normal(s, 0, h[1:]),
            lambda a=like: torch.randn_like(a),
            lambda a=like: compiled(a),
        )


def all_cases() -> Iterator[Case]:
    """Every row's, made when it is its turn."""
    for cases in (adagn_cases, adagn_grad_cases, reverse_cases, style_cases, philox_cases):
        yield from cases()


def measure(path: Path | None) -> None:
    """Prints a Markdown table; writes the JSON anew after every row."""
    bandwidth = copy_bandwidth()
    environment = {
        "device": torch.cuda.get_device_name(),
        "driver": driver_version(),
        "copy_bytes_per_s": bandwidth,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "triton": triton.__version__,
    }
    print("\n".join(kernel_head(environment)))
    rows: list[dict[str, Any]] = []
    for case in all_cases():
        rows.append(asdict(measured(case, bandwidth)))
        print(kernel_line(rows[-1]), flush=True)
        if path:
            with written_whole(path) as partial:
                partial.write_text(json.dumps({"environment": environment, "rows": rows}, indent=1) + "\n")


def profile(path: Path, number: int) -> None:
    """Runs one kernel for a profiler to see, after it was compiled."""
    rows = [row for row in json.loads(path.read_text())["rows"] if row["share"] is not None]
    slowest = sorted(rows, key=lambda row: row["share"])
    if not 0 <= number < len(slowest):
        raise SystemExit(f"error: {path} has {len(slowest)} rows with a share: {number} is none of them")
    name = "{op} {shape} {dtype} {layout}".format(**slowest[number])
    case = next(case for case in all_cases() if case.name == name)
    print(name, flush=True)
    for _ in range(PROFILED_CALLS):
        case.ours()
    torch.cuda.synchronize()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--profile", nargs=2, metavar=("FILE", "NUMBER"))
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("error: there is no NVIDIA GPU that PyTorch can use", file=sys.stderr)
        return 2
    if args.profile:
        profile(Path(args.profile[0]), int(args.profile[1]))
    else:
        measure(args.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
