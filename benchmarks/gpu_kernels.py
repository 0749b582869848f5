"""The Triton-language kernels on this GPU, against PyTorch eager, torch.compile and what memory allows.

    python benchmarks/gpu_kernels.py [--json FILE]

Medians of ``triton.testing.do_bench``. "limit" is the time in which the bytes that
the op must move (x read once, y written once) pass at the bandwidth of a large
device-to-device copy, measured in the same run; "share" is limit over ours.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import triton.testing

from ddgan_deploy.kernels.adagn.spec import reference as adagn_reference
from ddgan_deploy.kernels.adagn.torch_op import adagn
from ddgan_deploy.kernels.philox_normal.torch_op import philox_normal
from ddgan_deploy.kernels.reverse_step.spec import Coefficients
from ddgan_deploy.kernels.reverse_step.spec import reference as reverse_reference
from ddgan_deploy.kernels.reverse_step.torch_op import reverse_step

ADAGN_SHAPES = [
    # n, c, h, w, groups: CIFAR-10 size, CelebA-HQ 256 size
    (1, 128, 32, 32, 32),
    (8, 256, 32, 32, 32),
    (64, 256, 16, 16, 32),
    (64, 256, 32, 32, 32),
    (1, 64, 256, 256, 16),
    (8, 64, 256, 256, 16),
]
IMAGES = [(64, 3, 32, 32), (8, 3, 256, 256), (64, 3, 256, 256)]
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
COEFFICIENTS = Coefficients(c0=0.66, ct=0.2, s=0.66)

Call = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """Times in microseconds."""

    op: str
    shape: str
    dtype: str
    layout: str
    ours_us: float
    eager_us: float
    compile_us: float
    limit_us: float
    share: float


def median_us(call: Call) -> float:
    """Median time of one call."""
    return 1e3 * float(triton.testing.do_bench(call, return_mode="median"))


def copy_bandwidth() -> float:
    """Bytes read and written a second by a copy of half a gigabyte."""
    source = torch.empty(2**29, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.numel() / (median_us(lambda: target.copy_(source)) * 1e-6)


def row(op: str, like: torch.Tensor, layout: str, moved: int, bandwidth: float, calls: tuple[Call, Call, Call]) -> Row:
    """Measures ours, eager and compiled in turn."""
    ours, eager, compiled = (median_us(call) for call in calls)
    limit = moved / bandwidth * 1e6
    shape = "x".join(map(str, like.shape))
    return Row(op, shape, str(like.dtype)[6:], layout, ours, eager, compiled, limit, limit / ours)


def adagn_rows(bandwidth: float) -> Iterator[Row]:
    """AdaGN with SiLU: every shape, dtype and layout."""
    compiled = torch.compile(adagn_reference, dynamic=False)
    for n, c, h, w, groups in ADAGN_SHAPES:
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            for layout, memory in LAYOUTS.items():
                x = torch.randn(n, c, h, w, device="cuda", dtype=dtype).contiguous(memory_format=memory)
                scale, shift = (torch.randn(n, c, device="cuda", dtype=dtype) for _ in range(2))
                arguments = (x, scale, shift, groups, 1e-6, "silu")
                calls: tuple[Call, Call, Call] = (
                    lambda a=arguments: adagn(*a),
                    lambda a=arguments: adagn_reference(*a),
                    lambda a=arguments: compiled(*a),
                )
                yield row("AdaGN", x, layout, 2 * x.numel() * x.element_size(), bandwidth, calls)


def reverse_rows(bandwidth: float) -> Iterator[Row]:
    """ReverseStep of a network that predicts x_0."""
    compiled = torch.compile(reverse_reference, dynamic=False)
    coefficients = torch.tensor(COEFFICIENTS, device="cuda")
    for shape in IMAGES:
        for dtype in (torch.float32, torch.float16):
            raw = torch.randn(shape, device="cuda", dtype=dtype)
            x_t, noise = (torch.randn(shape, device="cuda") for _ in range(2))
            given = (raw, x_t, noise, coefficients)
            moved = raw.numel() * (raw.element_size() + 12)
            calls: tuple[Call, Call, Call] = (
                lambda a=given: reverse_step(*a),
                lambda a=given: reverse_reference(*a),
                lambda a=given: compiled(*a),
            )
            yield row("ReverseStep", raw, "linear", moved, bandwidth, calls)


def philox_rows(bandwidth: float) -> Iterator[Row]:
    """PhiloxNormal against PyTorch's own generator, which draws other numbers."""
    for shape in IMAGES:
        seeds = torch.arange(shape[0], device="cuda")[:, None]
        like = torch.empty(shape, device="cuda")

        def eager(a: torch.Tensor = like) -> object:
            return torch.randn_like(a)

        calls: tuple[Call, Call, Call] = (
            lambda s=seeds, h=shape: philox_normal(s, 0, h[1:]),
            eager,
            torch.compile(eager, dynamic=False),
        )
        yield row("PhiloxNormal", like, "linear", like.numel() * 4, bandwidth, calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("error: there is no NVIDIA GPU that PyTorch can use")
    bandwidth = copy_bandwidth()
    device = torch.cuda.get_device_name()
    print(f"{device}, copy bandwidth {bandwidth / 1e9:.0f} GB/s, times in µs\n")
    print("| op | shape | dtype | layout | ours | eager | torch.compile | limit | share |")
    print("| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    rows = []
    for measure in (adagn_rows, reverse_rows, philox_rows):
        for one in measure(bandwidth):
            rows.append(one)
            times = " | ".join(f"{t:.1f}" for t in (one.ours_us, one.eager_us, one.compile_us, one.limit_us))
            print(f"| {one.op} | {one.shape} | {one.dtype} | {one.layout} | {times} | {one.share:.0%} |", flush=True)
    if args.json:
        environment = {"device": device, "copy_bytes_per_s": bandwidth, "torch": torch.__version__}
        args.json.write_text(
            json.dumps({"rows": [asdict(r) for r in rows], "environment": environment}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
