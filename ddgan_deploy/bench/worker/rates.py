"""What the machine does at best: operations a second of a large matrix product, bytes a second of a large copy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from ddgan_deploy.bench.jobs import RateJob
from ddgan_deploy.bench.names import Device
from ddgan_deploy.sampler import Dtype

SIDE: dict[Device, int] = {"cpu": 2048, "cuda": 8192}
"""Of the square matrices."""
COPY_BYTES: dict[Device, int] = {"cpu": 2**28, "cuda": 2**30}
"""More than caches hold."""
REPEATS = 3
MOST_SECONDS = 0.3
"""Of the repetitions, where a product is slow."""

Measured = dict[Device, dict[str, float]]
"""Device -> dtype -> operations a second; "copy" -> bytes a second, read and written."""


class RateRunner:
    """Multiplies and copies."""

    def __init__(self, job: RateJob) -> None:
        torch.set_num_threads(job.threads)
        # cuDNN and ONNX Runtime use it for float32 by default, so it is what their limit is made of.
        torch.backends.cuda.matmul.allow_tf32 = True
        self._calls = {
            device: _calls(device, dtypes)
            for device, dtypes in job.wanted.items()
            if device == "cpu" or torch.cuda.is_available()
        }

    def measure(self) -> Measured:
        """Every rate once."""
        return {
            device: {name: amount / _seconds(ways, device) for name, (ways, amount) in rates.items()}
            for device, rates in self._calls.items()
        }


def _calls(device: Device, dtypes: tuple[Dtype, ...]) -> dict[str, tuple[list[Callable[[], object]], float]]:
    """What is timed, in one way or several, and how much it does; without products that PyTorch cannot do there."""
    side = SIDE[device]
    source = torch.zeros(COPY_BYTES[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    calls: dict[str, tuple[list[Callable[[], object]], float]] = {
        "copy": ([lambda: target.copy_(source)], 2.0 * COPY_BYTES[device])
    }
    for dtype in dtypes:
        products = _products(dtype, side, device)
        try:
            products[0]()
        except RuntimeError:
            continue
        calls[dtype] = (products, 2.0 * side**3)
    return calls


def _products(dtype: Dtype, side: int, device: Device) -> list[Callable[[], object]]:
    if dtype == "int8":
        a, b = (torch.randint(-100, 100, (side, side), dtype=torch.int8, device=device) for _ in range(2))
        return [lambda: torch._int_mm(a, b)]
    x, y = (torch.randn(side, side, device=device).to(getattr(torch, dtype)) for _ in range(2))
    products: list[Callable[[], object]] = [lambda: x @ y]
    if device == "cpu" and dtype == "float32":
        # MKL leaves AMD's AVX-512 unused, oneDNN, which has convolutions, does not.
        pixels = x.reshape(1, side, side, 1)
        products.append(lambda: torch.conv2d(pixels, y[:, :, None, None]))
    return products


def _seconds(ways: list[Callable[[], object]], device: Device) -> float:
    """Of the best of a few calls: it is a limit that is looked for, and the first wakes threads and caches."""
    best = math.inf
    for call in ways:
        _finished(call, device)
        times: list[float] = []
        while len(times) < REPEATS and sum(times) < MOST_SECONDS:
            times.append(_finished(call, device))
        best = min(best, *times)
    return best


def _finished(call: Callable[[], object], device: Device) -> float:
    start = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
