"""Building engines over stand-ins: kinds of kernels, what the builder is told, its progress and its failures."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import types
from pathlib import Path

import onnx
import onnx.parser
import pytest

from ddgan_deploy import kernels
from ddgan_deploy.artifact.manifest import SAMPLER, SERVED, Artifact, FileInfo
from ddgan_deploy.engines.tensorrt.plan import BatchProfile, PlanInfo, read_plan_info
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.export.tensorrt import engines
from ddgan_deploy.export.tensorrt.build import build_engine, first_error, one_line
from ddgan_deploy.export.tensorrt.engines import build_engines, engine_files, is_engine_file
from ddgan_deploy.export.tensorrt.job import EngineJob, ParserModel, log_path
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.progress import Clock
from tests.export.report.test_report import make_manifest
from tests.export.tensorrt.fake_builder import (
    CACHE,
    PLAN,
    BuilderFlag,
    ComputeCapability,
    HardwareCompatibilityLevel,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    ParserError,
    fake_module,
)
from tests.fake_bindings import VERSION

SHA = {SAMPLER: "5a" * 32, SERVED: "77" * 32, "weights.bin": "e1" * 32}
PROFILE = BatchProfile(1, 2, 4)


# Both kinds of kernels


class Builds:
    """In the place of `build_engine`.

    Attributes:
        jobs: in their order.
        refuses: kinds of kernels -> the message with which they fail.
        medians: kinds of kernels -> milliseconds of a batch.
    """

    def __init__(self) -> None:
        self.jobs: list[EngineJob] = []
        self.refuses: dict[str, str] = {}
        self.medians = {"fused": 1.25, "portable": 2.5}
        self.timed: list[tuple[str, int]] = []

    def build(self, job: EngineJob, report: object) -> float:
        self.jobs.append(job)
        if job.kernels in self.refuses and job.onnx.name == SERVED:
            raise GateError(self.refuses[job.kernels])
        job.plan.write_bytes(f"{job.kernels} {job.onnx.name}".encode())
        log_path(job.plan).write_text(f"log of {job.kernels}")
        return 1.23456

    def median_ms(self, artifact: Artifact, runtime: str, batch: int) -> float:
        kind = artifact.path.name.removeprefix(".")
        assert engine_files(artifact.path) == sorted([*files("ddgan"), *files("sampler")])
        self.timed.append((kind, batch))
        return self.medians[kind]


def files(stem: str) -> list[str]:
    return [f"{stem}.plan", f"{stem}.plan.json", f"{stem}.plan.log"]


@pytest.fixture
def gpu():
    return engines._Gpu("NVIDIA L4", "8.9", "580.65.06")


@pytest.fixture
def machine(monkeypatch, tmp_path, gpu):
    """A machine with a GPU on which engines are text files."""
    builds = Builds()
    monkeypatch.setattr(engines, "build_engine", builds.build)
    monkeypatch.setattr(engines, "_median_ms", builds.median_ms)
    monkeypatch.setattr(engines, "_gpu", lambda runtime: gpu)
    monkeypatch.setattr(engines, "import_runtime", lambda runtime: types.SimpleNamespace(__version__=VERSION))
    monkeypatch.setattr(engines, "parser_model", lambda path, kernels, precision: ParserModel(b"", {}))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return builds


@pytest.fixture
def artifact(tmp_path):
    folder = tmp_path / "artifact"
    folder.mkdir()
    return Artifact(folder, make_manifest(files={name: FileInfo(1, sha256) for name, sha256 in SHA.items()}))


def build(artifact: Artifact, runtime: str = "tensorrt", **options: object) -> tuple[PlanInfo, ...]:
    return build_engines(artifact, runtime, EngineOptions(profile=PROFILE, **options), Clock())


def contents(artifact: Artifact) -> dict[str, str]:
    return {path.name: path.read_text() for path in artifact.path.iterdir() if path.suffix != ".json"}


@pytest.mark.parametrize(("slower", "faster"), [("portable", "fused"), ("fused", "portable")])
def test_of_both_kinds_the_faster_is_kept(machine, artifact, slower, faster):
    machine.medians = {slower: 2.5, faster: 1.25}
    infos = build(artifact)
    assert [(job.kernels, job.onnx.name) for job in machine.jobs] == [
        (kind, graph) for kind in ("fused", "portable") for graph in (SAMPLER, SERVED)
    ]
    assert machine.timed == [("fused", PROFILE.best), ("portable", PROFILE.best)]
    assert contents(artifact) == {
        "sampler.plan": f"{faster} {SAMPLER}",
        "ddgan.plan": f"{faster} {SERVED}",
        "sampler.plan.log": f"log of {faster}",
        "ddgan.plan.log": f"log of {faster}",
    }
    assert [info.graph for info in infos] == [SAMPLER, SERVED]
    for info, name in zip(infos, ("sampler.plan", "ddgan.plan"), strict=True):
        assert read_plan_info(artifact, name) == info
        assert info.kernels == faster and info.refused == {}
        assert info.medians_ms == {slower: 2.5, faster: 1.25}


def test_a_kind_that_cannot_be_built_leaves_the_other(machine, artifact):
    machine.refuses = {"fused": "TensorRT cannot build ddgan.onnx: no such plugin"}
    infos = build(artifact)
    assert contents(artifact)["sampler.plan"] == f"portable {SAMPLER}"
    assert engine_files(artifact.path) == sorted(path.name for path in artifact.path.iterdir())
    for info in infos:
        assert info.kernels == "portable" and info.medians_ms == {"portable": 2.5}
        assert info.refused == {"fused": "TensorRT cannot build ddgan.onnx: no such plugin"}


def test_both_kinds_that_cannot_be_built(machine, artifact):
    machine.refuses = {"fused": "no such plugin", "portable": "no such kernel"}
    with pytest.raises(GateError, match="no such plugin"):
        build(artifact)
    assert engine_files(artifact.path) == []


@pytest.mark.parametrize("kind", ["fused", "portable"])
def test_one_kind_is_built_once_and_not_timed(machine, artifact, kind):
    infos = build(artifact, kernels=kind)
    assert [job.kernels for job in machine.jobs] == [kind] * 2 and machine.timed == []
    assert {info.kernels for info in infos} == {kind}
    assert all(info.medians_ms == {} and info.refused == {} for info in infos)
    machine.refuses = {kind: "no such kernel"}
    with pytest.raises(GateError, match="no such kernel"):
        build(artifact, kernels=kind)


def test_what_the_json_says(machine, artifact):
    infos = build(
        artifact, kernels="fused", version_compatible=True, hardware_compatibility="ampere_plus", refittable=True
    )
    expected = PlanInfo(
        format_version=1,
        runtime="tensorrt",
        version=VERSION,
        compute_capabilities=("8.9",),
        hardware_compatibility="ampere_plus",
        version_compatible=True,
        graph=SAMPLER,
        graph_sha256=SHA[SAMPLER],
        weights_sha256=SHA["weights.bin"],
        profile=PROFILE,
        precision="fp32",
        kernels="fused",
        refittable=True,
        gpu="NVIDIA L4",
        driver="580.65.06",
        build_seconds=1.235,
    )
    assert infos == (expected, dataclasses.replace(expected, graph=SERVED, graph_sha256=SHA[SERVED]))


def test_rtx_builds_the_sampler_alone(machine, artifact, monkeypatch):
    monkeypatch.setattr(engines, "_gpu", lambda runtime: None)
    (info,) = build(artifact, "tensorrt-rtx")
    (job,) = machine.jobs
    assert (job.kernels, job.plan.name, job.arch, job.timing_cache) == ("portable", "sampler.rtx.plan", 0, None)
    assert info.compute_capabilities == ("8.0", "8.6", "8.9", "12.0") and info.gpu is None and info.driver is None
    assert build(artifact, "tensorrt-rtx", targets=("8.6",))[0].compute_capabilities == ("8.6",)


def test_rtx_asks_for_no_gpu():
    assert engines._gpu("tensorrt-rtx") is None


@pytest.mark.parametrize(
    ("compatibility", "capability", "arch"),
    [("none", "8.9", 89), ("none", "12.0", 120), ("same_compute_capability", "8.6", 86), ("ampere_plus", "12.0", 80)],
)
def test_the_gpu_that_kernels_are_compiled_for(machine, artifact, monkeypatch, compatibility, capability, arch):
    monkeypatch.setattr(engines, "_gpu", lambda runtime: engines._Gpu("NVIDIA", capability, None))
    build(artifact, kernels="fused", hardware_compatibility=compatibility)
    assert {job.arch for job in machine.jobs} == {arch}


def test_the_timing_cache_is_shared_by_what_it_fits(machine, artifact, monkeypatch, gpu, tmp_path):
    def cache_path(made: Artifact = artifact) -> Path:
        machine.jobs.clear()
        build(made)
        (path,) = {job.timing_cache for job in machine.jobs}
        assert len(machine.jobs) == 4 and path is not None
        return path

    first = cache_path()
    assert first == cache_path() and first.suffix == ".cache"
    assert first.parent == tmp_path / "cache" / "ddgan-deploy" / "timing"
    different = {first}
    for change in ({"name": "NVIDIA A10"}, {"driver": "590.1"}, {"driver": None}):
        other = dataclasses.replace(gpu, **change)
        monkeypatch.setattr(engines, "_gpu", lambda runtime, other=other: other)
        different.add(cache_path())
    monkeypatch.setattr(engines, "_gpu", lambda runtime: gpu)
    monkeypatch.setattr(engines, "import_runtime", lambda runtime: types.SimpleNamespace(__version__="11.5"))
    different.add(cache_path())
    monkeypatch.setattr(engines, "import_runtime", lambda runtime: types.SimpleNamespace(__version__=VERSION))
    manifest = dataclasses.replace(artifact.manifest, files={**artifact.manifest.files, SAMPLER: FileInfo(1, "0" * 64)})
    different.add(cache_path(Artifact(artifact.path, manifest)))
    assert len(different) == 6
    assert cache_path() == first


def test_engine_files_are_told_from_others():
    names = [f"{stem}.plan{end}" for stem in ("sampler", "ddgan", "sampler.rtx") for end in ("", ".json", ".log")]
    assert all(is_engine_file(name) for name in names)
    assert [name for name in names if is_engine_file(name, "tensorrt-rtx")] == names[6:]
    assert [name for name in names if is_engine_file(name, "tensorrt")] == names[:6]
    others = (SAMPLER, SERVED, "weights.bin", "manifest.json", "my.plan", "sampler.plan.txt")
    assert not any(is_engine_file(name) for name in others)


# What the builder is told


@pytest.fixture
def trt(monkeypatch):
    module = fake_module()
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


@pytest.fixture
def rtx(monkeypatch):
    module = fake_module(rtx=True)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", module)
    return module


MODEL = """<ir_version: 10, opset_import: ["" : 20]>
g (float[batch,3,8,8] x_T, float[batch,2,5] z) => (float[batch,3,8,8] x_0) { x_0 = Identity (x_T) }"""


def make_job(folder: Path, **changes: object) -> EngineJob:
    changes.setdefault("options", EngineOptions(profile=PROFILE))
    job = EngineJob(
        runtime="tensorrt",
        model=ParserModel(onnx.parser.parse_model(MODEL).SerializeToString(), {}),
        onnx=folder / SAMPLER,
        plan=folder / "made.plan",
        precision="fp32",
        kernels="portable",
        options=EngineOptions(),
    )
    return dataclasses.replace(job, **changes)


def told(folder: Path, module: object, **changes: object) -> object:
    """The builder's configuration after a build."""
    assert build_engine(make_job(folder, **changes)) > 0
    assert (folder / "made.plan").read_bytes() == PLAN
    return module.api.config


def options(**changes: object) -> EngineOptions:
    return EngineOptions(profile=PROFILE, **changes)


def test_the_profile_is_least_best_most_of_every_input(tmp_path, trt):
    shapes = told(tmp_path, trt, options=options()).profile.shapes
    assert shapes == {
        "x_T": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8)),
        "z": ((1, 2, 5), (2, 2, 5), (4, 2, 5)),
    }


@pytest.mark.parametrize(("precision", "flags"), [("fp32", set()), ("fp16", {BuilderFlag.TF32})])
def test_tf32_is_off_for_fp32_alone(tmp_path, trt, precision, flags):
    config = told(tmp_path, trt, precision=precision)
    assert config.flags == flags
    assert config.limits == {} and config.builder_optimization_level == -1
    assert config.hardware_compatibility_level is HardwareCompatibilityLevel.NONE and config.known is None


def test_every_option_reaches_the_builder(tmp_path, trt):
    made = options(
        workspace=512, opt_level=0, version_compatible=True, hardware_compatibility="ampere_plus", refittable=True
    )
    config = told(tmp_path, trt, options=made)
    assert config.flags == {BuilderFlag.REFIT, BuilderFlag.VERSION_COMPATIBLE}
    assert config.limits == {MemoryPoolType.WORKSPACE: 512 * 1024 * 1024}
    assert config.builder_optimization_level == 0
    assert config.hardware_compatibility_level is HardwareCompatibilityLevel.AMPERE_PLUS
    made = options(hardware_compatibility="same_compute_capability")
    level = told(tmp_path, trt, options=made).hardware_compatibility_level
    assert level is HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY


@pytest.mark.parametrize(
    ("targets", "expected"),
    [((), ["SM80", "SM86", "SM89", "SM120"]), (("7.5", "12.1"), ["SM75", "SM121"]), (("8.6",), ["SM86"])],
)
def test_the_targets(tmp_path, rtx, targets, expected):
    config = told(tmp_path, rtx, runtime="tensorrt-rtx", options=options(targets=targets))
    assert BuilderFlag.REQUIRE_USER_ALLOCATION in config.flags
    assert config.num_compute_capabilities == len(expected)
    assert config.capabilities == {index: ComputeCapability[name] for index, name in enumerate(expected)}


def test_networks_are_strongly_typed(tmp_path, trt, monkeypatch):
    told(tmp_path, trt)
    assert trt.api.network.flags == 1 << 1 | 1 << 3
    # TensorRT-RTX has no plugins.
    monkeypatch.setattr(trt, "NetworkDefinitionCreationFlag", types.SimpleNamespace(STRONGLY_TYPED=1))
    told(tmp_path, trt)
    assert trt.api.network.flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED


def test_the_log_is_kept(tmp_path, trt):
    told(tmp_path, trt)
    assert log_path(tmp_path / "made.plan").read_text() == "[INFO] Building an engine\n"
    assert trt.api.events == [f"parse {tmp_path / SAMPLER}"]


def test_the_timing_cache_is_read_and_written(tmp_path, trt):
    path = tmp_path / "deep" / "times.cache"
    assert told(tmp_path, trt, timing_cache=path).known == b""
    assert path.read_bytes() == CACHE
    assert told(tmp_path, trt, timing_cache=path).known == CACHE
    assert path.read_bytes() == CACHE + CACHE


@pytest.mark.parametrize("content", [b"damaged", b"of another GPU"])
def test_a_timing_cache_that_does_not_fit_is_begun_anew(tmp_path, trt, content):
    path = tmp_path / "times.cache"
    path.write_bytes(content)
    assert told(tmp_path, trt, timing_cache=path).known == b""
    assert path.read_bytes() == CACHE


def test_a_timing_cache_that_cannot_be_written_is_none(tmp_path, trt):
    (tmp_path / "file").write_text("mine")
    told(tmp_path, trt, timing_cache=tmp_path / "file" / "times.cache")
    assert (tmp_path / "file").read_text() == "mine"


def test_plugins_compile_for_the_job_while_it_is_built(tmp_path, trt, monkeypatch):
    events = []

    @contextlib.contextmanager
    def target(arch):
        events.append(arch)
        yield
        events.append("end")

    def parsed(network, log):
        events.append("parse")
        return honest(network, log)

    launch = types.ModuleType("trt_launch")
    launch.register_plugins, launch.target = lambda: events.append("register"), target
    monkeypatch.setattr(kernels, "trt_launch", launch, raising=False)
    monkeypatch.setitem(sys.modules, "ddgan_deploy.kernels.trt_launch", launch)
    honest = trt.OnnxParser
    monkeypatch.setattr(trt, "OnnxParser", parsed)
    told(tmp_path, trt)
    assert events == ["parse"]
    events.clear()
    model = dataclasses.replace(make_job(tmp_path).model, plugins={"AdaGN": 3})
    told(tmp_path, trt, model=model, arch=89)
    assert events == ["register", 89, "parse", "end"]


# Progress


PHASES = (("Building", None, 3), ("Graph", "Building", 2), ("Tactics", "Graph", 4))


def test_shares_rise_over_nested_phases(tmp_path, trt):
    trt.api.phases = PHASES
    shares, names = [], set()

    def report(share, what):
        shares.append(share)
        names.add(what)

    build_engine(make_job(tmp_path), report)
    assert shares[0] == 0 and shares[-1] == pytest.approx(1)
    assert shares == sorted(shares) and len(set(shares)) >= 3 * 2 * 4
    assert names == {"Building", "Graph", "Tactics"}


@pytest.mark.parametrize("phases", [(("One", None, 0),), (("One", None, 2), ("Two", "Unknown", 3))])
def test_phases_without_steps_and_of_unknown_parents(tmp_path, trt, phases):
    trt.api.phases = phases
    shares = []
    build_engine(make_job(tmp_path), lambda share, what: shares.append(share))
    assert shares == sorted(shares) and shares[0] >= 0 and shares[-1] <= 1


def test_an_interrupt_ends_the_build(tmp_path, trt):
    trt.api.phases = PHASES

    def report(share, what):
        if what == "Tactics" and share > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(make_job(tmp_path, timing_cache=tmp_path / "times.cache"), report)
    assert trt.api.steps_refused == 1
    assert list(tmp_path.iterdir()) == []


# Failures


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            ParserError("In node 3: bad\n shape", "step0/Conv", "Conv"),
            "node step0/Conv (Conv) of sampler.onnx: In",
        ),
        (ParserError("false", "step0/Foo", "Foo"), "it has no such operator (UNSUPPORTED_NODE)"),
        (ParserError("Failed to open file: weights.bin"), "cannot take the graph of sampler.onnx: Failed to open file"),
        (ParserError(""), "it does not say why"),
    ],
)
def test_a_graph_that_the_parser_refuses(tmp_path, trt, error, says):
    trt.api.parser_error = error
    with pytest.raises(GateError) as caught:
        build_engine(make_job(tmp_path))
    message = str(caught.value)
    assert message.startswith("TensorRT cannot take ") and says in message and "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_the_builder_refuses(tmp_path, trt):
    trt.api.errors = ["no kernel for\n  Conv", "a consequence of it"]
    with pytest.raises(GateError) as caught:
        build_engine(make_job(tmp_path))
    assert str(caught.value) == "TensorRT cannot build sampler.onnx: no kernel for Conv"
    assert list(tmp_path.iterdir()) == []


def test_the_first_error_and_its_noise():
    assert first_error([("INFO", "fine"), ("WARNING", "hm")]) == "it does not say why; see its output"
    assert first_error([("INFO", "fine"), ("INTERNAL_ERROR", "first"), ("ERROR", "second")]) == "first"
    text = "[graph.cpp::infer::99] Dims differ\n  here. In parse at /build/parser.cpp:123"
    assert one_line(text) == "Dims differ here"


def test_tensorrt_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("ddgan_deploy.engines.tensorrt.runtimes.MODULES", {"tensorrt": "no_such_tensorrt"})
    with pytest.raises(InputError, match="not installed"):
        build_engine(make_job(tmp_path))
