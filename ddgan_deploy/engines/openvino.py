"""OpenVINO on the CPU: the same sampler graph, its fused ops by OpenVINO's own operations."""

from __future__ import annotations

import functools
import importlib.util
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.checks import COMPARED
from ddgan_deploy.artifact.manifest import SAMPLER, Artifact
from ddgan_deploy.artifact.reading import check_fits
from ddgan_deploy.engines.base import Engine, OpTime
from ddgan_deploy.errors import InputError, NotInstalled
from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import Inputs, draw
from ddgan_deploy.kernels.op import DOMAIN
from ddgan_deploy.names import in_utf8
from ddgan_deploy.processor import has_exact_int8

if TYPE_CHECKING:
    import openvino

Hint = Literal["f32", "bf16"]
F32 = "openvino-f32"
NAMES: dict[str, Hint] = {F32: "f32", "openvino-bf16": "bf16"}
"""Engines -> OpenVINO's inference precision of what is float in the graph."""
_INSTALL = "pip install 'ddgan-deploy[openvino]'"


class OpenVino(Engine):
    """Runs the artifact's sampler; the noise of seeds is drawn, and pixels are made, by NumPy.

    Quantized convolutions of an int8 artifact run as int8 whatever the name says, but for processors whose products
    of bytes saturate: there they run in float. The model is compiled at first use; threads that share the engine take
    turns, since each run has all of its cores.

    Args:
        artifact: what to run.
        name: one of `NAMES`; with AVX-512 bf16 is emulated where the processor has none, slower than f32.
        threads: CPU threads; None: all cores.

    Raises:
        NotInstalled: OpenVINO's package is not there.
        InputError: at first use, of bf16 on a processor for which OpenVINO would compute in float32.
    """

    def __init__(self, artifact: Artifact, name: str = "openvino-f32", threads: int | None = None) -> None:
        require_installed(name)
        self.name = name
        self.artifact = artifact
        self.threads = threads
        self._turn = threading.Lock()

    def sample(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """x_0 [N, C, H, W] from the sampler's inputs."""
        with self._turn:
            outputs = self._request.infer(dict(inputs), share_inputs=True)
        return np.asarray(outputs[0], np.float32)

    def generate(self, seeds: Sequence[int], **knobs: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Images [N, H, W, C] of the seeds, in their order."""
        return to_pixels(self.sample(draw(self.artifact.manifest.sampler, seeds, knobs)))

    def profile(self, inputs: Inputs) -> list[OpTime]:
        """What every node took in one run, by a model compiled for that at the first."""
        with self._turn:
            self._profiling_request.infer(dict(inputs), share_inputs=True)
            return [
                OpTime(info.node_name, f"{info.node_type} {info.exec_type}", 1e3 * info.real_time.total_seconds())
                for info in self._profiling_request.get_profiling_info()
                if info.real_time
            ]

    def close(self) -> None:
        """Frees the model; used again, the engine compiles it anew."""
        with self._turn:
            for request in ("_request", "_profiling_request"):
                self.__dict__.pop(request, None)

    @functools.cached_property
    def _request(self) -> openvino.InferRequest:
        return self._compile().create_infer_request()

    @functools.cached_property
    def _profiling_request(self) -> openvino.InferRequest:
        return self._compile(PERF_COUNT=True).create_infer_request()

    def _compile(self, **settings: bool) -> openvino.CompiledModel:
        core = new_core()
        path = self.artifact.path / SAMPLER
        properties: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": NAMES[self.name],
            "PERFORMANCE_HINT": "LATENCY",
            # A server's threads, and other engines', share the cores with ours.
            "ENABLE_CPU_PINNING": False,
            **settings,
        }
        if self.threads is not None:
            properties["INFERENCE_NUM_THREADS"] = self.threads
        if not has_exact_int8():
            # Else the bundled digits lose 3 dB, and other networks nearly all.
            properties["LP_TRANSFORMS_MODE"] = "NO"
        try:
            # Weights are copied: who maps them computes with whatever is written into the file.
            with in_utf8(path.parent) as folder:
                model = core.read_model(folder / path.name, config={"ENABLE_MMAP": False})
                check_fits(self.artifact, SAMPLER, _metadata(model), [each.any_name for each in model.inputs])
                compiled = core.compile_model(model, "CPU", properties)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise InputError(f"OpenVINO cannot load {path} ({reason}): choose onnxruntime-portable") from None
        if NAMES[self.name] == "bf16" and compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32":
            raise InputError(f"OpenVINO computes no bfloat16 on this processor, which has no AVX-512: choose {F32}")
        return compiled


def _metadata(model: openvino.Model) -> dict[str, str]:
    """What the graph file says of itself, as far as it is compared with the manifest."""
    paths = [["framework", name] for name in COMPARED]
    return {path[-1]: model.get_rt_info(path).astype(str) for path in paths if model.has_rt_info(path)}


def require_installed(name: str) -> None:
    """Refuses an engine without its package.

    Raises:
        NotInstalled: OpenVINO's package is not there.
    """
    if not installed():
        raise NotInstalled(f"engine {name} needs OpenVINO, which is not installed: {_INSTALL}")


def installed() -> bool:
    """Whether OpenVINO's package is there; it is not imported."""
    return importlib.util.find_spec("openvino") is not None


@functools.cache
def new_core() -> openvino.Core:
    """OpenVINO with our ops.

    Raises:
        InputError: its package is broken, such as without its libraries.
    """
    try:
        import openvino
        from openvino.frontend.onnx import ConversionExtension

        from ddgan_deploy.kernels.ops import openvino_converters

        convert = openvino_converters()
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"OpenVINO cannot be loaded ({reason}): install it anew with {_INSTALL}") from None
    core = openvino.Core()
    for name, function in convert.items():
        core.add_extension(ConversionExtension(name, DOMAIN, function))
    return core
