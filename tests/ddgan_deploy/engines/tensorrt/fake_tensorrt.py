"""Stand-ins for a GPU and for TensorRT that are stricter than the real ones, on host memory.

Work on the stream runs only when somebody waits for it, and memory, contexts and engines
that were freed cannot be used. Engines compute by ONNX Runtime from the artifact's graphs.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import json
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.engines.onnxruntime.session import new_session
from ddgan_deploy.engines.tensorrt.device import CudaDevice
from ddgan_deploy.engines.tensorrt.plan import GRAPHS, PLAN_FORMAT, PLANS, BatchProfile, PlanInfo, write_plan_info
from ddgan_deploy.errors import InputError
from ddgan_deploy.kernels.native_library import ort_library
from tests.fake_bindings import RTX_VERSION, VERSION, Severity, new_module

SCRATCH = 4096
PROFILE = BatchProfile(1, 2, 4)

_handles = itertools.count(1000)
_devices: weakref.WeakValueDictionary[int, HostDevice] = weakref.WeakValueDictionary()


class HostDevice(CudaDevice):
    """A GPU with one stream, in the host's memory.

    Attributes:
        capturable: whether CUDA graphs can be captured.
        room: bytes that it has.
        events: what was done on it, as words.
        live: the tensors that are on it, by their addresses.
    """

    def __init__(self, compute_capability: str = "8.9", capturable: bool = True, room: int = 2**40) -> None:
        self.name, self.driver = "NVIDIA Stand-in", "580.65.06"
        self.compute_capability, self.capturable, self.room = compute_capability, capturable, room
        self.events: list[str] = []
        self.stream = next(_handles)
        self.closed = False
        self.live: weakref.WeakValueDictionary[int, torch.Tensor] = weakref.WeakValueDictionary()
        self.recording: list[Callable[[], object]] | None = None
        self.queue: list[Callable[[], object]] = []
        self._owner: int | None = None
        _devices[self.stream] = self

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        assert self._owner is None, "two threads are on one stream"
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None

    def on_gpu(self, shape: Sequence[int], dtype: str) -> torch.Tensor:
        tensor = self.on_host(shape, dtype)
        if sum(other.nbytes for other in self.live.values()) + tensor.nbytes > self.room:
            raise InputError("the stand-in has no memory left")
        self.live[tensor.data_ptr()] = tensor
        weakref.finalize(tensor, self._freed)
        return tensor

    def on_host(self, shape: Sequence[int], dtype: str) -> torch.Tensor:
        self._check()
        tensor = torch.empty(tuple(shape), dtype=getattr(torch, dtype))
        # What was not written is no number that could pass for a result.
        _bytes(tensor)[:] = 0xFF
        return tensor

    def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
        assert target.shape == source.shape and target.dtype == source.dtype
        self.enqueue(lambda: target.copy_(source))

    def capture(self, work: Callable[[], None]) -> HostGraph | None:  # type: ignore[override]
        self._check()
        assert not self.queue, "captured while the stream is at work"
        self.events.append("capture")
        self.recording = []
        try:
            work()
            return HostGraph(self, self.recording) if self.capturable else None
        except RuntimeError:
            return None
        finally:
            self.recording = None

    def synchronize(self) -> None:
        self._check()
        while self.queue:
            self.queue.pop(0)()

    def close(self) -> None:
        self._check()
        assert not self.queue
        self.closed = True
        self.events.append("close device")

    def enqueue(self, work: Callable[[], object]) -> None:
        self._check()
        (self.queue if self.recording is None else self.recording).append(work)

    def bytes_at(self, address: int, size: int) -> np.ndarray:
        """Memory of the GPU, from the start of a tensor on."""
        assert address in self.live, "memory was used that is not allocated"
        assert self.live[address].nbytes >= size, "memory was used beyond its end"
        return _bytes(self.live[address])[:size]

    def count(self, event: str) -> int:
        return self.events.count(event)

    def _freed(self) -> None:
        """Several tensors that go one after the other are one event."""
        if self.events[-1:] != ["free memory"]:
            self.events.append("free memory")

    def _check(self) -> None:
        assert not self.closed, "the device was used after its end"
        assert self._owner == threading.get_ident(), "the device is not the current one of this thread"


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    return tensor.numpy().reshape(-1).view(np.uint8)


class HostGraph:
    def __init__(self, device: HostDevice, work: list[Callable[[], object]]) -> None:
        self.device, self.work, self.freed = device, work, False

    def replay(self) -> None:
        assert not self.freed, "a graph was replayed after its end"
        self.device.events.append("replay")
        for work in self.work:
            self.device.enqueue(work)

    def reset(self) -> None:
        assert not self.device.closed and not self.freed
        self.work, self.freed = [], True
        self.device.events.append("free graph")


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class DataType(enum.Enum):
    FLOAT = "float32"
    INT64 = "int64"
    UINT8 = "uint8"


class Strategy(enum.Enum):
    STATIC = 0
    USER_MANAGED = 2


class Specialization(enum.Enum):
    LAZY = 0
    EAGER = 1


class EngineValidity(enum.Enum):
    VALID = 0
    INVALID = 2


class Diagnostics(enum.IntFlag):
    VERSION_MISMATCH = 1
    MALFORMED_ENGINE = 32


class RuntimeConfig:
    dynamic_shapes_kernel_specialization_strategy = Specialization.LAZY
    strategy = Strategy.STATIC

    def set_execution_context_allocation_strategy(self, strategy: Strategy) -> None:
        self.strategy = strategy


class Api:
    """What is wrong with this TensorRT, and what was done with it.

    Attributes:
        events: frees and runs, as words.
        fails: names of calls that fail from now on.
        runs: (graph, batch) of every execution.
        fed: the inputs of the last one.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self.fails: set[str] = set()
        self.runs: list[tuple[str, int]] = []
        self.fed: dict[str, np.ndarray] = {}
        self.contexts = 0


def fake_module(device: HostDevice, rtx: bool = False) -> Any:
    """A module ``tensorrt`` or ``tensorrt_rtx_bindings``; its attribute ``api`` tells what was done with it."""
    api = Api()
    api.events = device.events
    module = new_module(api, rtx)
    module.TensorIOMode, module.DataType = TensorIOMode, DataType
    module.ExecutionContextAllocationStrategy = Strategy
    module.nptype = lambda dtype: np.dtype(dtype.value).type
    if rtx:
        module.EngineValidity, module.EngineInvalidityDiagnostics = EngineValidity, Diagnostics
        module.DynamicShapesKernelSpecializationStrategy = Specialization

    def runtime(logger: Any) -> Runtime:
        if "Runtime" in api.fails:
            logger.log(Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("factory function returned nullptr")
        return Runtime(api, logger, rtx)

    module.Runtime = runtime
    return module


class Runtime:
    def __init__(self, api: Api, logger: Any, rtx: bool) -> None:
        assert logger.started, "ILogger.__init__ was not called"
        self.api, self.logger, self.rtx = api, logger, rtx
        self.engine_host_code_allowed = False
        weakref.finalize(self, api.events.append, "free runtime")

    def get_engine_validity(self, content: bytes) -> tuple[EngineValidity, int]:
        assert self.rtx
        return (EngineValidity.VALID, 0) if content.startswith(b"{") else (EngineValidity.INVALID, 33)

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        try:
            description = json.loads(content)
        except ValueError:
            self.logger.log(Severity.INFO, "Loaded engine size: 0 MiB")
            self.logger.log(Severity.ERROR, "Serialization assertion header.magicTag\n  failed.")
            self.logger.log(Severity.ERROR, "a consequence of it")
            return None
        return Engine(self, **description)


class Engine:
    device_memory_size_v2 = SCRATCH

    def __init__(self, runtime: Runtime, graph: str, profile: list[int], rtx: bool) -> None:
        assert rtx == runtime.rtx
        self.runtime, self.api, self.graph, self.profile = runtime, runtime.api, Path(graph).name, profile
        self.session = new_session(Path(graph), threads=1, library=ort_library())
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.outputs = {value.name: value for value in self.session.get_outputs()}
        self.tensors = {**self.inputs, **self.outputs}
        weakref.finalize(self, self.api.events.append, "free engine")

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        kinds = {"tensor(float)": DataType.FLOAT, "tensor(int64)": DataType.INT64, "tensor(uint8)": DataType.UINT8}
        return kinds[self.tensors[name].type]

    def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
        assert profile == 0
        return [(size, *self.inputs[name].shape[1:]) for size in self.profile]

    def create_runtime_config(self) -> RuntimeConfig:
        assert self.runtime.rtx
        return RuntimeConfig()

    def create_execution_context(self, options: Strategy | RuntimeConfig) -> Context | None:
        if self.runtime.rtx:
            assert isinstance(options, RuntimeConfig)
            assert options.dynamic_shapes_kernel_specialization_strategy is Specialization.EAGER
            options = options.strategy
        assert options is Strategy.USER_MANAGED
        if "create_execution_context" in self.api.fails:
            self.runtime.logger.log(Severity.ERROR, "out of memory")
            return None
        return Context(self)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.api = engine, engine.api
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.scratch: tuple[int, int] | None = None
        self.ran = False
        self.api.contexts += 1
        weakref.finalize(self, self.api.events.append, "free context")

    def set_device_memory(self, address: int, size: int) -> None:
        assert size >= SCRATCH
        self.scratch = (address, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert isinstance(shape, tuple)
        assert name not in self.shapes, "a context's shapes were changed"
        least, _, most = self.engine.get_tensor_profile_shape(name, 0) if name in self.engine.inputs else [(), (), ()]
        if len(shape) != len(least) or not all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True)):
            return self._fail(f"{name} of shape {shape} is outside the profile")
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        if name not in self.engine.tensors:
            return self._fail(f"there is no tensor {name}")
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        device = _devices[stream]
        if self.shapes.keys() != self.engine.inputs.keys():
            return self._fail("an input has no shape")
        if self.addresses.keys() != self.engine.tensors.keys():
            return self._fail("a tensor has no address")
        if self.scratch is None:
            return self._fail("there is no device memory")
        if device.recording is not None and not self.ran:
            return self._fail("the first run cannot be captured")
        if "execute_async_v3" in self.api.fails:
            return self._fail("an illegal memory access was encountered")
        self.ran = True
        # A graph holds what the context owns without keeping it.
        this = weakref.ref(self)
        device.enqueue(lambda: _compute(this, device))
        return True

    def _fail(self, message: str) -> bool:
        self.engine.runtime.logger.log(Severity.ERROR, message)
        return False


def _compute(reference: weakref.ref[Context], device: HostDevice) -> None:
    context = reference()
    assert context is not None, "a context was used after its end"
    assert context.scratch is not None
    device.bytes_at(*context.scratch)[:] = 0xAA
    engine = context.engine
    sizes = {next(iter(shape)) for shape in context.shapes.values()}
    (batch,) = sizes
    context.api.runs.append((engine.graph, batch))

    def tensor(name: str) -> np.ndarray:
        dtype = np.dtype(engine.get_tensor_dtype(name).value)
        shape = (batch, *engine.tensors[name].shape[1:])
        size = int(np.prod(shape)) * dtype.itemsize
        return device.bytes_at(context.addresses[name], size).view(dtype).reshape(shape)

    context.api.fed = {name: tensor(name).copy() for name in engine.inputs}
    results = engine.session.run(None, context.api.fed)
    for name, result in zip(engine.outputs, results, strict=True):
        tensor(name)[...] = result


def plan_info(artifact: Artifact, name: str, profile: BatchProfile = PROFILE) -> PlanInfo:
    """An engine file's description that fits the artifact and the stand-ins."""
    runtime = next(runtime for runtime, names in PLANS.items() if name in names)
    files = artifact.manifest.files
    return PlanInfo(
        format_version=PLAN_FORMAT,
        runtime=runtime,
        version=VERSION if runtime == "tensorrt" else RTX_VERSION,
        compute_capabilities=("8.9",) if runtime == "tensorrt" else ("8.9", "12.0"),
        hardware_compatibility="none",
        version_compatible=False,
        graph=GRAPHS[name],
        graph_sha256=files[GRAPHS[name]].sha256,
        weights_sha256=files["weights.bin"].sha256,
        profile=profile,
        precision=artifact.manifest.precision,
        kernels="fused",
        refittable=False,
        gpu="NVIDIA Stand-in",
        driver="580.65.06",
        build_seconds=1.5,
    )


def add_plans(folder: Path, runtime: str, profile: BatchProfile = PROFILE) -> Artifact:
    """Puts the stand-in's engine files into an artifact."""
    artifact = read_artifact(folder)
    for name in PLANS[runtime]:
        sizes = [profile.least, profile.best, profile.most]
        content = {"graph": str(folder / GRAPHS[name]), "profile": sizes, "rtx": runtime == "tensorrt-rtx"}
        (folder / name).write_text(json.dumps(content))
        write_plan_info(folder / name, plan_info(artifact, name, profile))
    return artifact
