"""The fused ops on this CPU: the native library against their ONNX function bodies, all in ONNX Runtime, in one run.

    python benchmarks/kernels.py [--threads 2] [--rounds 15] [--json FILE]

Three tables: AdaGN native against its function body; the share of this machine's
copy bandwidth that each native op reaches (bytes it must move a second, over what a
copy of as many bytes moves, by PyTorch's copy_ on as many threads); and the whole
CIFAR-10-size sampler native against portable. What is compared runs in turn, so that
a busy machine slows all alike; figures are medians, but for the copy's, which is the best
of its rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

import ddgan_deploy  # noqa: F401

# isort: split
# After our package, which keeps it from reporting to its maker.
import onnxruntime

from ddgan_deploy.kernels.adagn.spec import ADAGN_SILU
from ddgan_deploy.kernels.adagn_grad.spec import ADAGN_SILU_GRAD
from ddgan_deploy.kernels.native_library import ort_library
from ddgan_deploy.kernels.op import OpSpec
from ddgan_deploy.kernels.philox_normal.spec import SPEC as PHILOX_NORMAL
from ddgan_deploy.kernels.reverse_step.spec import STEP, Coefficients
from ddgan_deploy.kernels.style_lrelu.spec import SPEC as STYLE_LRELU

sys.path.insert(0, str(Path(__file__).parent))
from export import random_checkpoint

ADAGN_SHAPES = [((1, 256, 32, 32), 32), ((8, 256, 32, 32), 32), ((1, 64, 256, 256), 16)]
GRADIENTS = [((1, 256, 32, 32), 32), ((1, 128, 256, 256), 32)]
"""Features of ADM's classifiers at 64x64 and 256x256."""
IMAGES = [(1, 3, 32, 32), (8, 3, 256, 256)]
STYLED = [(1, 256, 64, 64), (1, 64, 256, 256), (8, 64, 256, 256)]
"""Features of StyleGAN2 at 256x256."""
DTYPES = {"float32": onnx.TensorProto.FLOAT, "float16": onnx.TensorProto.FLOAT16}

PAUSE = 0.25
"""Seconds: as long ONNX Runtime's idle threads spin, and would take the next call's processors."""
BLOCK = 0.1
"""Seconds that one call is repeated for in a round."""
Call = Callable[[], object]


def session(model: onnx.ModelProto, threads: int, library: Path | None) -> onnxruntime.InferenceSession:
    """A session on as many threads, with the native library or without."""
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if library is not None:
        options.register_custom_ops_library(str(library))
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def bound(run: onnxruntime.InferenceSession, inputs: Sequence[np.ndarray], output: np.ndarray) -> Call:
    """A call that reads and writes given memory: what is timed allocates and copies nothing."""
    binding = run.io_binding()
    held = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in inputs]
    result = onnxruntime.OrtValue.ortvalue_from_numpy(output)
    for info, value in zip(run.get_inputs(), held, strict=True):
        binding.bind_ortvalue_input(info.name, value)
    binding.bind_ortvalue_output(run.get_outputs()[0].name, result)
    return lambda: run.run_with_iobinding(binding)


def interleaved(calls: Sequence[Call], rounds: int) -> list[list[float]]:
    """Seconds of each call in every round; a round repeats each for a while."""
    repeats = []
    for call in calls:
        call()
        start = time.perf_counter()
        call()
        repeats.append(max(1, round(BLOCK / (time.perf_counter() - start))))
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, count, seen in zip(calls, repeats, times, strict=True):
            time.sleep(PAUSE)
            call()
            start = time.perf_counter()
            for _ in range(count):
                call()
            seen.append((time.perf_counter() - start) / count)
    return times


def copy_of(moved: int) -> Call:
    """A copy that moves as many bytes, half of them read and half written."""
    source = torch.zeros(max(moved // 8, 1), dtype=torch.float32)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def measure(
    spec: OpSpec,
    inputs: Sequence[np.ndarray],
    output: np.ndarray,
    moved: int,
    args: argparse.Namespace,
    **attributes: Any,
) -> dict[str, Any]:
    """One op: native, function body and a copy, in turn."""
    model = spec.model(
        [(onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.ndim) for value in inputs], **attributes
    )
    calls = [bound(session(model, args.threads, library), inputs, output) for library in (args.native, None)]
    times = interleaved([*calls, copy_of(moved)], args.rounds)
    native, body = map(statistics.median, times[:2])
    # A limit: the best that was seen.
    copy = min(times[2])
    return {
        "op": spec.name,
        "shape": list(output.shape),
        "dtype": str(inputs[0].dtype),
        "native_us": native * 1e6,
        "body_us": body * 1e6,
        "copy_us": copy * 1e6,
        "speedup": body / native,
        "share_of_copy": copy / native,
    }


def op_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every op at its sizes."""
    rng = np.random.default_rng(0)
    rows = []
    for dtype in DTYPES:
        for (n, c, h, w), groups in ADAGN_SHAPES:
            x = rng.standard_normal((n, c, h, w), np.float32).astype(dtype)
            scale, shift = (rng.standard_normal((n, c), np.float32).astype(dtype) for _ in range(2))
            attributes = {"groups": groups, "epsilon": 1e-6}
            rows.append(measure(ADAGN_SILU, (x, scale, shift), np.empty_like(x), 2 * x.nbytes, args, **attributes))
        for (n, c, h, w), groups in GRADIENTS:
            dy, x = (rng.standard_normal((n, c, h, w), np.float32).astype(dtype) for _ in range(2))
            scale, shift = (rng.standard_normal((n, c), np.float32).astype(dtype) for _ in range(2))
            attributes = {"groups": groups, "epsilon": 1e-5}
            given = (dy, x, scale, shift)
            rows.append(measure(ADAGN_SILU_GRAD, given, np.empty_like(x), 3 * x.nbytes, args, **attributes))
        for shape in IMAGES:
            raw = rng.standard_normal(shape, np.float32).astype(dtype)
            x_t, noise = (rng.standard_normal(shape, np.float32) for _ in range(2))
            coefficients = np.array(Coefficients(c0=0.66, ct=0.2, s=0.66), np.float32)
            moved = raw.nbytes + 3 * x_t.nbytes
            rows.append(measure(STEP, (raw, x_t, noise, coefficients), np.empty_like(x_t), moved, args))
        for n, c, h, w in STYLED:
            x = rng.standard_normal((n, c, h, w), np.float32).astype(dtype)
            sizes = ((n, c), (1, 1, h, w), (c,))
            scale, noise, bias = (rng.standard_normal(size, np.float32) for size in sizes)
            given = (x, scale, noise, bias, np.full(1, 256, np.float32))
            rows.append(measure(STYLE_LRELU, given, np.empty_like(x), 2 * x.nbytes, args, alpha=0.2))
    for n, *shape in IMAGES:
        seeds = np.arange(n, dtype=np.int64)[:, None]
        noise = np.empty((n, *shape), np.float32)
        rows.append(measure(PHILOX_NORMAL, (seeds,), noise, noise.nbytes, args, stream=0, shape=shape))
    return rows


def sampler_rows(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The CIFAR-10-size sampler, T = 4, fp32, seeds to pixels, by both engines."""
    from ddgan_deploy.engines import open_artifact
    from ddgan_deploy.export import ExportOptions, export

    with tempfile.TemporaryDirectory() as folder:
        checkpoint, out = Path(folder) / "cifar10.pth", Path(folder) / "artifact"
        random_checkpoint("cifar10", checkpoint)
        export(ExportOptions(checkpoint, steps=4, out=out, engine="none"))
        engines = [open_artifact(out, name, args.threads) for name in ("onnxruntime", "onnxruntime-portable")]
        rows = []
        for batch in (1, 8):
            calls = [lambda engine=engine, batch=batch: engine.generate(range(batch)) for engine in engines]
            native, portable = map(statistics.median, interleaved(calls, args.rounds))
            rows.append(
                {
                    "batch": batch,
                    "native_ms": native * 1e3,
                    "portable_ms": portable * 1e3,
                    "speedup": portable / native,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-sampler", action="store_true", help="the ops alone")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    args.native = ort_library()
    if args.native is None:
        raise SystemExit("error: the native library has not been built: see the notices of make setup")
    torch.set_num_threads(args.threads)
    ops = op_rows(args)
    print("| op | shape | dtype | native µs | function body µs | times faster | share of copy bandwidth |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    for row in ops:
        shape = "×".join(map(str, row["shape"]))
        figures = f"{row['native_us']:.0f} | {row['body_us']:.0f} | {row['speedup']:.1f} | {row['share_of_copy']:.0%}"
        print(f"| {row['op']} | {shape} | {row['dtype']} | {figures} |")
    sampler = [] if args.no_sampler else sampler_rows(args)
    if sampler:
        print("\n| CIFAR-10 size, T = 4, fp32 | native ms | portable ms | times faster |\n| --- | ---: | ---: | ---: |")
    for row in sampler:
        print(f"| batch {row['batch']} | {row['native_ms']:.0f} | {row['portable_ms']:.0f} | {row['speedup']:.2f} |")
    if args.json:
        args.json.write_text(json.dumps({"ops": ops, "sampler": sampler, "threads": args.threads}, indent=2) + "\n")


if __name__ == "__main__":
    main()
