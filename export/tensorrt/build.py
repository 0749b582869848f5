"""ONNX -> engine file: by TensorRT on a GPU, by TensorRT-RTX ahead of time on any machine.

Networks are strongly typed: precision is what the graph says. For a graph in fp32 TF32 is
off, so that the engine meets fp32's tolerance.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddgan_deploy.engines.tensorrt.runtimes import import_runtime
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.export.tensorrt.job import EngineJob, log_path
from ddgan_deploy.export.tensorrt.options import DEFAULT_TARGETS, EngineOptions
from ddgan_deploy.progress import Report, silent

_MIB = 2**20


def build_engine(job: EngineJob, report: Report = silent) -> float:
    """Builds an engine and writes it and its log.

    Args:
        job: what to build.
        report: told of the builder's progress.

    Returns:
        Seconds of the builder.

    Raises:
        InputError: the runtime is not installed.
        GateError: it cannot take the graph or build from it; names the node where it says so.
    """
    trt = import_runtime(job.runtime)
    log = new_log(trt)
    start = time.perf_counter()
    with _plugins(job):
        builder = trt.Builder(log)
        network = builder.create_network(_network_flags(trt))
        # The parser's memory holds weights that the network points to.
        parser = trt.OnnxParser(network, log)
        _parse(parser, job)
        config = _config(trt, builder, network, job)
        cache = _TimingCache(config, job.timing_cache)
        monitor = _new_monitor(trt, report)
        config.progress_monitor = monitor
        plan = builder.build_serialized_network(network, config)
    if monitor.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        raise GateError(f"{job.title} cannot build {job.onnx.name}: {first_error(log.lines)}")
    job.plan.write_bytes(plan)
    _write_log(job, log.lines)
    cache.write()
    return time.perf_counter() - start


def _write_log(job: EngineJob, lines: list[tuple[str, str]]) -> None:
    text = "".join(f"[{severity}] {line}\n" for severity, line in lines)
    # The folder is a temporary one.
    log_path(job.plan).write_text(text.replace(f"{job.onnx.parent}{os.sep}", ""), encoding="utf-8")


@contextlib.contextmanager
def _plugins(job: EngineJob) -> Iterator[None]:
    """The plugins registered, where the graph has nodes for them, compiling for the job's GPU."""
    if not job.model.plugins:
        yield
        return
    from ddgan_deploy.kernels import trt_launch

    trt_launch.register_plugins()
    with trt_launch.target(job.arch):
        yield


def _network_flags(trt: Any) -> int:
    flags = [trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED]
    if hasattr(trt.NetworkDefinitionCreationFlag, "PREFER_AOT_PYTHON_PLUGINS"):
        flags.append(trt.NetworkDefinitionCreationFlag.PREFER_AOT_PYTHON_PLUGINS)
    return sum(1 << int(flag) for flag in flags)


def _parse(parser: Any, job: EngineJob) -> None:
    # The path tells where external weights lie.
    if parser.parse(job.model.proto, str(job.onnx)):
        return
    if not parser.num_errors:
        raise GateError(f"{job.title} cannot take {job.onnx.name}: it does not say why")
    error = parser.get_error(0)
    node = f"node {error.node_name()} ({error.node_operator()})" if error.node_name() else "the graph"
    reason = f"it has no such operator ({error.code().name})" if error.desc() == "false" else one_line(error.desc())
    raise GateError(f"{job.title} cannot take {node} of {job.onnx.name}: {reason}")


def _config(trt: Any, builder: Any, network: Any, job: EngineJob) -> Any:
    options, config = job.options, builder.create_builder_config()
    config.add_optimization_profile(_profile(builder, network, options))
    if job.precision == "fp32":
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.refittable:
        config.set_flag(trt.BuilderFlag.REFIT)
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatibility != "none":
        level = getattr(trt.HardwareCompatibilityLevel, options.hardware_compatibility.upper())
        config.hardware_compatibility_level = level
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace * _MIB)
    if options.opt_level is not None:
        config.builder_optimization_level = options.opt_level
    if job.runtime == "tensorrt-rtx":
        _set_targets(trt, config, options.targets or DEFAULT_TARGETS)
        # Else it may allocate memory while it runs, which no CUDA graph can capture.
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    return config


def _set_targets(trt: Any, config: Any, targets: tuple[str, ...]) -> None:
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{target.replace('.', '')}"), index)


def _profile(builder: Any, network: Any, options: EngineOptions) -> Any:
    profile = builder.create_optimization_profile()
    sizes = options.profile.least, options.profile.best, options.profile.most
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        rest = tuple(tensor.shape)[1:]
        profile.set_shape(tensor.name, *((size, *rest) for size in sizes))
    return profile


class _TimingCache:
    """Measured kernel times from earlier builds, which make the next one fast and the same."""

    def __init__(self, config: Any, path: Path | None) -> None:
        self.path = path
        if path is not None:
            known = path.read_bytes() if path.is_file() else b""
            # Referred to from here, since the builder does not keep it alive.
            self.cache = config.create_timing_cache(known)
            if self.cache is None or not config.set_timing_cache(self.cache, ignore_mismatch=False):
                # Damaged, or of another GPU.
                self.cache = config.create_timing_cache(b"")
                config.set_timing_cache(self.cache, ignore_mismatch=False)

    def write(self) -> None:
        """Keeps what this build measured; a cache that cannot be written is none."""
        if self.path is None:
            return
        from ddgan_deploy.files import written_whole

        with contextlib.suppress(InputError), written_whole(self.path) as path:
            path.write_bytes(self.cache.serialize())


def new_log(trt: Any) -> Any:
    """A logger that keeps what is said, in ``lines``, but for the verbose."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[tuple[str, str]] = []

        def log(self, severity: Any, message: str) -> None:
            if severity != trt.ILogger.Severity.VERBOSE:
                self.lines.append((severity.name, message))

    return Log()


def _new_monitor(trt: Any, report: Report) -> Any:
    """Tells how far the builder is; its phases lie within each other."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, _Phase] = {}
            self.share = 0.0
            self.interrupted = False

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.phases[name] = _Phase(self.phases.get(parent or ""), max(steps, 1))
            self._tell(name)

        def step_complete(self, name: str, step: int) -> bool:
            if name in self.phases:
                self.phases[name].done = step + 1
            self._tell(name)
            return not self.interrupted

        def phase_finish(self, name: str) -> None:
            self.phases.pop(name, None)

        def _tell(self, name: str) -> None:
            # An exception must not pass through the builder.
            try:
                self.share = max(self.share, self.phases[name].begun() if name in self.phases else 0.0)
                report(self.share, name)
            except (KeyboardInterrupt, OSError):
                # Interrupted, or nobody is there any more to be told.
                self.interrupted = True

    return Monitor()


@dataclass
class _Phase:
    parent: _Phase | None
    steps: int
    done: int = 0

    def begun(self) -> float:
        """Share of the whole build that lies behind this phase's next step, 0..1."""
        share, width, phase = 0.0, 1.0, self
        shares = [phase]
        while phase.parent is not None:
            phase = phase.parent
            shares.append(phase)
        for phase in reversed(shares):
            share += width * min(phase.done / phase.steps, 1.0)
            width /= phase.steps
        return min(share, 1.0)


def first_error(lines: list[tuple[str, str]]) -> str:
    """What the builder says went wrong first."""
    errors = [text for severity, text in lines if severity in ("ERROR", "INTERNAL_ERROR")]
    return one_line(errors[0]) if errors else "it does not say why; see its output"


_NOISE = r"(\. )?In \w+ at /\S+:\d+|\[\w+\.\w+::\w+::\d+\]|: In node -1 .*(?=: )|^Invalid Node - \S+"
"""Places in TensorRT's sources, and nodes named once more."""


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(_NOISE, "", text)).strip(" .") or "it does not say why"
