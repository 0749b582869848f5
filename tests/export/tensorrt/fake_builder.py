"""A stand-in for TensorRT's builder and refitter that is stricter than the real ones, and keeps what it was told.

Objects that point to each other's memory, as the real ones do, must be alive when it is used, and
attributes that the real ones do not have cannot be set.
"""

from __future__ import annotations

import enum
import weakref
from typing import Any

import onnx

from tests.fake_bindings import Severity, new_module

PLAN, CACHE = b"an engine", b"measured times"


class IProgressMonitor:
    def __init__(self) -> None:
        self.started = True


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED, PREFER_AOT_PYTHON_PLUGINS = 1, 3


BuilderFlag = enum.Enum("BuilderFlag", "TF32 REFIT VERSION_COMPATIBLE REQUIRE_USER_ALLOCATION")
HardwareCompatibilityLevel = enum.Enum("HardwareCompatibilityLevel", "NONE AMPERE_PLUS SAME_COMPUTE_CAPABILITY")
MemoryPoolType = enum.Enum("MemoryPoolType", "WORKSPACE")
ComputeCapability = enum.Enum("ComputeCapability", "NONE SM75 SM80 SM86 SM89 SM120 SM121")


class Tensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self.name = value.name
        self.shape = tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)


class Network:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.inputs: list[Tensor] = []
        self.weights: weakref.ref[Parser] | None = None

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, least: Any, best: Any, most: Any) -> None:
        self.shapes[name] = (least, best, most)


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content + CACHE


class SerializationFlag(enum.Enum):
    INCLUDE_REFIT = 4


class SerializationConfig:
    def __init__(self) -> None:
        self.flags: set[SerializationFlag] = set()

    def set_flag(self, flag: SerializationFlag) -> bool:
        self.flags.add(flag)
        return True


class Config:
    __slots__ = (
        "_cache",
        "_profiles",
        "builder_optimization_level",
        "capabilities",
        "flags",
        "hardware_compatibility_level",
        "known",
        "limits",
        "num_compute_capabilities",
        "progress_monitor",
    )

    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}
        self.limits: dict[MemoryPoolType, int] = {}
        self.capabilities: dict[int, ComputeCapability] = {}
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.builder_optimization_level = self.num_compute_capabilities = -1
        self.progress_monitor: Any = None
        self.known: bytes | None = None
        self._profiles: list[Profile] = []
        self._cache: weakref.ref[TimingCache] | None = None

    def set_flag(self, flag: BuilderFlag) -> None:
        assert isinstance(flag, BuilderFlag) and flag not in self.flags
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.remove(flag)

    def add_optimization_profile(self, profile: Profile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        self.limits[pool] = size

    def set_compute_capability(self, capability: ComputeCapability, index: int) -> bool:
        assert 0 <= index < self.num_compute_capabilities
        self.capabilities[index] = capability
        return True

    def create_timing_cache(self, content: bytes) -> TimingCache | None:
        self.known = content
        return None if content == b"damaged" else TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.content == b"of another GPU":
            return False
        self._cache = weakref.ref(cache)
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self._cache() if self._cache else None

    @property
    def profile(self) -> Profile:
        (profile,) = self._profiles
        return profile


class ErrorCode(enum.Enum):
    UNSUPPORTED_NODE = 8


class ParserError:
    def __init__(self, text: str, node: str = "", operator: str = "") -> None:
        self.text, self.node, self.operator = text, node, operator

    def desc(self) -> str:
        return self.text

    def node_name(self) -> str:
        return self.node

    def node_operator(self) -> str:
        return self.operator

    def code(self) -> ErrorCode:
        return ErrorCode.UNSUPPORTED_NODE


class Api:
    """What this TensorRT refuses, and what it was told.

    Attributes:
        parser_error: that the parser gives for every model.
        errors: that the builder or the refitter logs, and then fails.
        phases: of the build: (name, parent, steps), told depth first.
        missing: weights that the refitter wants besides.
        unreadable: engines cannot be read.
        network, config: of the last build.
        events: of a refit, in order.
    """

    def __init__(self) -> None:
        self.parser_error: ParserError | None = None
        self.errors: list[str] = []
        self.phases: tuple[tuple[str, str | None, int], ...] = (("Building", None, 2), ("Tactics", "Building", 4))
        self.missing: list[str] = []
        self.unreadable = False
        self.network: Network | None = None
        self.config: Config | None = None
        self.steps_refused = 0
        self.events: list[str] = []


class ParserErrors:
    """What both parsers tell of the first thing that is wrong."""

    api: Api

    @property
    def num_errors(self) -> int:
        return int(self.api.parser_error is not None)

    def get_error(self, index: int) -> ParserError:
        assert index == 0 and self.api.parser_error is not None
        return self.api.parser_error


class Parser(ParserErrors):
    def __init__(self, api: Api, network: Network, log: Any) -> None:
        assert log.started
        self.api, self.network = api, network

    def parse(self, model: bytes, path: str) -> bool:
        if self.api.parser_error is not None:
            return False
        self.network.inputs = [Tensor(value) for value in onnx.load_from_string(model).graph.input]
        self.network.weights = weakref.ref(self)
        self.api.events.append(f"parse {path}")
        return True


class Builder:
    def __init__(self, api: Api, log: Any) -> None:
        assert log.started, "ILogger.__init__ was not called"
        self.api, self.log = api, log

    def create_network(self, flags: int) -> Network:
        self.api.network = Network(flags)
        return self.api.network

    def create_builder_config(self) -> Config:
        self.api.config = Config()
        return self.api.config

    def create_optimization_profile(self) -> Profile:
        return Profile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        assert network.weights is not None and network.weights() is not None, "the parser is gone, and its weights"
        assert config._cache is None or config._cache() is not None, "the timing cache is gone"
        assert config.profile.shapes.keys() == {tensor.name for tensor in network.inputs}
        self.log.log(Severity.VERBOSE, "never to be kept")
        self.log.log(Severity.INFO, "Building an engine")
        for error in self.api.errors:
            self.log.log(Severity.ERROR, error)
        if self.api.errors:
            return None
        assert config.progress_monitor.started
        return PLAN if self._phase(config.progress_monitor, 0) else None

    def _phase(self, monitor: Any, index: int) -> bool:
        """Runs a phase, in whose every step the next one runs."""
        if index == len(self.api.phases):
            return True
        name, parent, steps = self.api.phases[index]
        monitor.phase_start(name, parent, steps)
        going = True
        for step in range(steps):
            going = self._phase(monitor, index + 1)
            if going and not monitor.step_complete(name, step):
                self.api.steps_refused += 1
                going = False
            if not going:
                break
        monitor.phase_finish(name)
        return going


class Engine:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def create_serialization_config(self) -> SerializationConfig:
        return SerializationConfig()

    def serialize_with_config(self, config: SerializationConfig) -> bytes:
        assert config.flags == {SerializationFlag.INCLUDE_REFIT}, "it cannot be refitted again"
        return self.content


class Runtime:
    def __init__(self, api: Api, log: Any) -> None:
        assert log.started
        self.api, self.log = api, log

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        if self.api.unreadable:
            self.log.log(Severity.ERROR, "the magic tag\n  does not match")
            return None
        self.api.events.append("read")
        return Engine(content)


class Refitter:
    def __init__(self, api: Api, engine: Engine, log: Any) -> None:
        self.api, self.engine, self.log, self.given = api, engine, log, False

    def get_missing_weights(self) -> list[str]:
        return self.api.missing

    def refit_cuda_engine(self) -> bool:
        assert self.given, "no weights were given"
        for error in self.api.errors:
            self.log.log(Severity.ERROR, error)
        self.api.events.append("refit")
        self.engine.content += b" refitted"
        return not self.api.errors


class OnnxParserRefitter(ParserErrors):
    def __init__(self, api: Api, refitter: Refitter, log: Any) -> None:
        self.api, self.refitter = api, refitter

    def refit_from_bytes(self, model: bytes, path: str) -> bool:
        self.api.events.append(f"weights of {path}")
        self.refitter.given = True
        return self.api.parser_error is None


def fake_module(rtx: bool = False) -> Any:
    """A module ``tensorrt`` or ``tensorrt_rtx_bindings``; its attribute ``api`` tells what was done with it."""
    api = Api()
    module = new_module(api, rtx)
    for kind in (IProgressMonitor, NetworkDefinitionCreationFlag, BuilderFlag, MemoryPoolType):
        setattr(module, kind.__name__, kind)
    module.Builder = lambda log: Builder(api, log)
    module.OnnxParser = lambda network, log: Parser(api, network, log)
    if rtx:
        module.ComputeCapability = ComputeCapability
    else:
        module.HardwareCompatibilityLevel = HardwareCompatibilityLevel
        module.SerializationFlag = SerializationFlag
        module.Runtime = lambda log: Runtime(api, log)
        module.Refitter = lambda engine, log: Refitter(api, engine, log)
        module.OnnxParserRefitter = lambda refitter, log: OnnxParserRefitter(api, refitter, log)
    return module
