"""What an engine multiplies in, which need not be the type that an artifact keeps its weights in."""

from __future__ import annotations

from ddgan_deploy.artifact.serving import CPU_ENGINES
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.processor import has_exact_int8
from ddgan_deploy.sampler import Dtype, Precision

_OWN: dict[Precision, Dtype] = {"fp32": "float32", "fp16": "float16", "int8": "int8"}


def multiplies_in(engine: str, precision: Precision) -> Dtype:
    """The type of most products.

    Args:
        engine: its name; one of a GPU takes the artifact's own type.
        precision: of the artifact.
    """
    if engine not in CPU_ENGINES:
        return _OWN[precision]
    # Stock ONNX Runtime rounds to int8 and multiplies in float32; so do the others where integers would saturate.
    if precision == "int8" and engine != "onnxruntime-portable" and has_exact_int8():
        return "int8"
    return "bfloat16" if engine.endswith("-bf16") else "float32"


def name_and_type(engine: Engine) -> str:
    """An engine's name, and what it makes of the artifact's precision where that is another: "onnxruntime, fp16 in
    float32"."""
    precision = engine.artifact.manifest.precision
    dtype = multiplies_in(engine.name, precision)
    return engine.name if dtype == _OWN[precision] else f"{engine.name}, {precision} in {dtype}"
