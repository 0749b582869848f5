"""TensorRT and TensorRT-RTX: engines that were built for the GPU, from files beside the graphs."""

from __future__ import annotations

import threading
import traceback
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.engines.tensorrt.device import CudaDevice, open_device
from ddgan_deploy.engines.tensorrt.loaded_plan import LoadedPlan, PlanErrors, tensor_mismatch
from ddgan_deploy.engines.tensorrt.plan import (
    GRAPHS,
    PLANS,
    RTX_PLAN,
    SAMPLER_PLAN,
    SERVED_PLAN,
    TITLES,
    Here,
    Runtime,
    check_plan,
    read_plan_info,
    rebuild_command,
)
from ddgan_deploy.engines.tensorrt.runtimes import import_runtime
from ddgan_deploy.errors import InputError
from ddgan_deploy.gpu import require_gpu
from ddgan_deploy.images import to_pixels
from ddgan_deploy.inputs import Inputs, draw, served_inputs


class TensorRt(Engine):
    """Runs the artifact's engine files on the thread's current GPU.

    The files carry all their kernels: no plugin library is loaded. TensorRT has one engine for
    seeds and one for given noise, which is loaded at first use; TensorRT-RTX has only the latter,
    so that seeds become noise on the CPU.

    Args:
        artifact: with the engine files of the runtime.
        runtime: "tensorrt" or "tensorrt-rtx"; the engine's name.
        device: the GPU; None: the thread's current one. It is closed with the engine.

    Raises:
        InputError: an engine file is missing, cannot be read or cannot run here;
            there is no GPU, or not enough memory.
        NotInstalled: TensorRT's Python package is missing.
    """

    def __init__(self, artifact: Artifact, runtime: Runtime = "tensorrt", device: CudaDevice | None = None) -> None:
        self.name: str = runtime
        self.artifact = artifact
        self._lock = threading.Lock()
        infos = {name: read_plan_info(artifact, name) for name in PLANS[runtime]}
        if device is None:
            require_gpu(runtime)
        trt = import_runtime(runtime)
        self._plans = _Plans(artifact, runtime, trt, device or open_device(runtime))
        # Also when the user forgets to close it, and before the interpreter ends.
        self._release = weakref.finalize(self, self._plans.close)
        try:
            here = Here(trt.__version__, self._plans.device.compute_capability)
            for name, info in infos.items():
                check_plan(artifact, name, info, here)
            with self._plans.device.active():
                self._plans.start(any(info.version_compatible for info in infos.values()))
                self._plans.load(PLANS[runtime][-1])
        except BaseException as error:
            # What the failed calls still hold goes before the memory below it.
            traceback.clear_frames(error.__traceback__)
            self._release()
            raise

    def sample(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """x_0 [N, C, H, W] from the sampler's inputs."""
        return self._run(SAMPLER_PLAN if self.name == "tensorrt" else RTX_PLAN, inputs)

    def generate(self, seeds: Sequence[int], **knobs: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Images [N, H, W, C] of the seeds, in their order."""
        sampler = self.artifact.manifest.sampler
        if self.name == "tensorrt":
            return self._run(SERVED_PLAN, served_inputs(sampler, seeds, knobs))
        return to_pixels(self.sample(draw(sampler, seeds, knobs)))

    def close(self) -> None:
        """Frees all that the engine holds on the GPU; afterwards it cannot be used."""
        with self._lock:
            self._release()

    def _run(self, plan: str, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
        with self._lock:
            if not self._release.alive:
                raise ValueError(f"the engine of {self.artifact.path} is closed: open the artifact again")
            with self._plans.device.active():
                return self._plans.load(plan).run(inputs)


class _Plans:
    """What an engine frees in the end, in the order in which it must be freed; apart from the engine itself,
    so that freeing does not keep the engine alive."""

    def __init__(self, artifact: Artifact, runtime: Runtime, trt: Any, device: CudaDevice) -> None:
        self.device = device
        self._artifact, self._name, self._trt = artifact, runtime, trt
        self._errors = PlanErrors()
        self._runtime: Any = None
        self._loaded: dict[str, LoadedPlan] = {}

    def start(self, host_code: bool) -> None:
        """Starts TensorRT.

        Args:
            host_code: allow what engines for several versions of TensorRT bring along: its run time of their version.

        Raises:
            InputError: TensorRT cannot start here.
        """
        try:
            self._runtime = self._trt.Runtime(_logger(self._trt, self._errors))
        except TypeError:  # how the bindings say that there is none
            raise InputError(f"{TITLES[self._name]} cannot start: {self._errors.take()}") from None
        if host_code:
            self._runtime.engine_host_code_allowed = True

    def load(self, name: str) -> LoadedPlan:
        """An engine file, read at first use.

        Raises:
            InputError: TensorRT cannot read it, it is of another model, or the GPU has not enough memory.
        """
        if name not in self._loaded:
            graph = self._artifact.manifest.graphs[GRAPHS[name]]
            engine, reason = self._deserialize((self._artifact.path / name).read_bytes())
            reason = reason or tensor_mismatch(self._trt, engine, graph)
            if reason:
                raise InputError(
                    f"{TITLES[self._name]} cannot run {self._artifact.path / name} ({reason}): "
                    f"build it anew with {rebuild_command(self._artifact, name)}"
                )
            specialized = self._name == "tensorrt-rtx"
            self._loaded[name] = LoadedPlan(self._trt, engine, graph, self.device, self._errors, specialized)
        return self._loaded[name]

    def close(self) -> None:
        """Frees graphs, contexts and engines with their memory, then the runtime."""
        with self.device.active():
            self.device.synchronize()
            for plan in self._loaded.values():
                plan.close()
            self._loaded.clear()
            self._runtime = None
            self.device.close()

    def _deserialize(self, content: bytes) -> tuple[Any, str]:
        """An ICudaEngine, or why there is none."""
        self._errors.take()
        if self._name == "tensorrt-rtx":
            validity, diagnostics = self._runtime.get_engine_validity(content)
            if validity == self._trt.EngineValidity.INVALID:
                return None, _diagnosis(self._trt, int(diagnostics))
        engine = self._runtime.deserialize_cuda_engine(content)
        return engine, self._errors.take() if engine is None else ""


def _diagnosis(trt: Any, bits: int) -> str:
    """What TensorRT-RTX finds wrong with an engine file, in words such as "malformed engine"."""
    kinds = trt.EngineInvalidityDiagnostics.__members__
    found = [name.lower().replace("_", " ") for name, kind in kinds.items() if int(kind) & bits]
    return ", ".join(found) or "it is invalid"


def _logger(trt: Any, errors: PlanErrors) -> Any:
    """An ILogger that keeps the errors and says nothing."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # the bindings have no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                errors.add(msg)

    return Logger()
