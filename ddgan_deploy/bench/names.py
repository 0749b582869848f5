"""The engines that can be measured, and what each computes on and in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ddgan_deploy.errors import InputError
from ddgan_deploy.sampler import Dtype, Precision

Device = Literal["cpu", "cuda"]

EAGER, COMPILE, PLAIN = "pytorch-eager", "pytorch-compile", "onnxruntime-plain"
EAGER_CUDA, COMPILE_CUDA, CUDA_GRAPH = "pytorch-eager-cuda", "pytorch-compile-cuda", "pytorch-cudagraph"
ONNXRUNTIME_CUDA, ONNXRUNTIME_CUDA_PORTABLE = "onnxruntime-cuda", "onnxruntime-cuda-portable"

FROM_WEIGHTS = (EAGER, COMPILE, PLAIN, EAGER_CUDA, COMPILE_CUDA, CUDA_GRAPH)
"""Run the generator itself and not an artifact: the published way, and what is to be had without us."""
REFERENCE = {"cpu": EAGER, "cuda": EAGER_CUDA}
"""Device -> the engine that others are compared with."""
_ON_GPU = frozenset(
    (EAGER_CUDA, COMPILE_CUDA, CUDA_GRAPH, ONNXRUNTIME_CUDA, ONNXRUNTIME_CUDA_PORTABLE, "tensorrt", "tensorrt-rtx")
)


def all_engines() -> tuple[str, ...]:
    """Every name, slowest first as far as that is known before."""
    # `open_artifact`'s own list is the one place that an engine is added to; it begins with the fastest.
    from ddgan_deploy.engines import ENGINES

    ours = [*FROM_WEIGHTS, *reversed(ENGINES), ONNXRUNTIME_CUDA_PORTABLE, ONNXRUNTIME_CUDA]
    return tuple(sorted(dict.fromkeys(ours), key=lambda name: device_of(name) == "cuda"))


def check_engines(names: Sequence[str]) -> None:
    """Refuses what is no engine.

    Raises:
        InputError: a name is unknown, or given twice.
    """
    known = all_engines()
    for name in names:
        if name not in known:
            raise InputError(f"engine {name!r} is unknown: choose from {', '.join(known)}")
    if len(set(names)) != len(names):
        raise InputError("--engines names an engine twice: give each once")


def device_of(engine: str) -> Device:
    """What an engine computes on."""
    return "cuda" if engine in _ON_GPU else "cpu"


def dtype_of(engine: str, precision: Precision) -> Dtype:
    """The type whose rate an engine is held against: the best that its artifact's precision allows, whatever
    it makes of that (`engines.arithmetic.multiplies_in`).

    Args:
        engine: its name.
        precision: of the artifact that it runs.
    """
    if engine == CUDA_GRAPH:
        return "float16"
    if engine in FROM_WEIGHTS:
        return "float32"
    if str(precision) == "int8":
        return "int8"
    from ddgan_deploy.engines.arithmetic import multiplies_in

    return multiplies_in(engine, precision)
