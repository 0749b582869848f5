"""--rebuild: the engines of an artifact anew, and nothing else of it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
import types
from pathlib import Path

import numpy as np
import pytest

from ddgan_deploy.artifact.manifest import MANIFEST, SAMPLER, SERVED, write_manifest
from ddgan_deploy.artifact.reading import file_infos, read_artifact, read_damaged
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime
from ddgan_deploy.engines.tensorrt.plan import PLANS, RTX_PLAN, BatchProfile
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.export import cli
from ddgan_deploy.export import rebuild as rebuild_module
from ddgan_deploy.export.rebuild import plan_infos, rebuild
from ddgan_deploy.export.repository.write import REPOSITORY
from ddgan_deploy.export.tensorrt import choice as engine_choice
from ddgan_deploy.export.tensorrt import engines
from ddgan_deploy.export.tensorrt.job import EngineJob, log_path
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.files import sha256
from tests.conftest import golden_case
from tests.export.report.test_report import Page, make_verification
from tests.fake_bindings import VERSION

SECTION = re.compile("<!-- engines -->.*<!-- /engines -->", re.DOTALL)


@pytest.fixture
def exported(exports):
    return exports.golden(golden_case("no_fir_t2")).path


@pytest.fixture
def folder(exported, tmp_path):
    """An artifact without engines, with a file of the user's own in it."""
    copy = Path(shutil.copytree(exported, tmp_path / "made"))
    (copy / "mine").mkdir()
    (copy / "mine" / "notes.txt").write_text("mine")
    return copy


class Machine:
    """What builds and runs engines here.

    Attributes:
        jobs: builds, in their order.
        error: that the next builds give.
        off: is added to what the engines compute.
        opened: runtimes of the engines that were run.
    """

    def __init__(self) -> None:
        self.jobs: list[EngineJob] = []
        self.error: GateError | None = None
        self.off = 0.0
        self.opened: list[str] = []

    def build(self, job: EngineJob, report: object) -> float:
        self.jobs.append(job)
        job.plan.write_bytes(b"an engine of " + job.onnx.name.encode() + str(job.options.profile).encode())
        log_path(job.plan).write_text("log")
        if self.error is not None:
            raise self.error
        return 1.0

    def open(self, artifact, runtime):
        self.opened.append(runtime)
        honest, off = OnnxRuntime(artifact), self.off

        class Engine(OnnxRuntime):
            def sample(self, noise):
                return honest.sample(noise) + np.float32(off)

        engine = Engine(artifact)
        engine.name = runtime
        return engine


@pytest.fixture
def machine(monkeypatch):
    """Without a GPU, with TensorRT-RTX."""
    made = Machine()
    monkeypatch.setattr(engines, "build_engine", made.build)
    monkeypatch.setattr(engines, "TensorRt", made.open)
    monkeypatch.setattr(engines, "import_runtime", lambda runtime: types.SimpleNamespace(__version__=VERSION))
    monkeypatch.setattr(engine_choice, "import_runtime", lambda runtime: None)
    set_gpu(monkeypatch, False)
    return made


def set_gpu(monkeypatch, here: bool) -> None:
    for module in (engines, rebuild_module, engine_choice):
        monkeypatch.setattr(module, "has_gpu", lambda: here)
    gpu = engines._Gpu("NVIDIA L4", "8.9", "580.65.06")
    monkeypatch.setattr(engines, "_gpu", lambda runtime: gpu if runtime == "tensorrt" else None)
    monkeypatch.setattr(engine_choice, "installed", lambda runtime: runtime == "tensorrt-rtx" or here)
    monkeypatch.setattr(engines, "_median_ms", lambda artifact, *_: 1.0 if "fused" in artifact.path.name else 2.0)


def hashes(folder: Path) -> dict[str, str]:
    """Of all files but those of the model repository, which is made of the others (test_model_repository.py)."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and REPOSITORY not in path.parts]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def names(runtime: str) -> set[str]:
    return {name + end for name in PLANS[runtime] for end in ("", ".json", ".log")}


def section(folder: Path) -> str:
    html = (folder / "report.html").read_text(encoding="utf-8")
    return Page(SECTION.search(html)[0]).text


def rebuilt(folder: Path, engine: str = "tensorrt-rtx", least: int = 1, **options: object) -> None:
    rebuild(folder, engine, EngineOptions(profile=BatchProfile(least, 4, 8), **options))


def test_engines_are_added_and_all_else_stays(folder, machine, monkeypatch):
    before, report = hashes(folder), (folder / "report.html").read_text(encoding="utf-8")
    rebuilt(folder, targets=("8.6",))
    after = hashes(folder)
    assert after.keys() - before.keys() == names("tensorrt-rtx") and not before.keys() - after.keys()
    assert {name for name in before if before[name] != after[name]} == {MANIFEST, "report.html"}
    artifact = read_artifact(folder)
    assert artifact.manifest.files.keys() == {SAMPLER, SERVED, "weights.bin", *names("tensorrt-rtx")}
    assert all(info.sha256 == sha256(folder / name) for name, info in artifact.manifest.files.items())
    (info,) = plan_infos(artifact)
    assert info.compute_capabilities == ("8.6",) and str(info.profile) == "1:4:8" and info.parity is None
    changed = (folder / "report.html").read_text(encoding="utf-8")
    assert SECTION.sub("", report) == SECTION.sub("", changed)
    assert Page(SECTION.search(report)[0]).text == ""
    for fact in (RTX_PLAN, "8.6", "1:4:8", "No gate has run"):
        assert fact in section(folder)
    assert machine.opened == []


def test_engines_of_one_runtime_are_replaced(folder, machine, monkeypatch):
    rebuilt(folder)
    set_gpu(monkeypatch, True)
    rebuilt(folder, "tensorrt")
    first = hashes(folder)
    assert first.keys() > names("tensorrt") | names("tensorrt-rtx")
    rebuilt(folder, "tensorrt", least=2)
    second = hashes(folder)
    assert first.keys() == second.keys()
    changed = {name for name in first if first[name] != second[name]}
    logs = {name for name in names("tensorrt") if name.endswith(".log")}
    assert changed == names("tensorrt") - logs | {MANIFEST, "report.html"}
    profiles = {info.runtime: str(info.profile) for info in plan_infos(read_artifact(folder))}
    assert profiles == {"tensorrt": "2:4:8", "tensorrt-rtx": "1:4:8"}
    shown = section(folder)
    assert "2:4:8" in shown and "1:4:8" in shown and shown.count("sampler.rtx.plan") == 1
    assert "fused 1.00 ms, portable 2.00 ms" in shown


def test_on_a_gpu_the_gates_compare_with_onnx_runtime(folder, machine, monkeypatch):
    set_gpu(monkeypatch, True)
    result = rebuild(folder, "tensorrt", EngineOptions())
    assert machine.opened == ["tensorrt"]
    assert [info.graph for info in result.engines] == [SAMPLER, SERVED]
    parity = result.engines[0].parity
    assert parity.passed and parity.engine == "tensorrt" and parity.seeds == (0, 1, 2, 3)
    assert [gate.name for gate in parity.gates] == [
        "no NaN or Inf",
        "x_0 against PyTorch",
        "identical rows stay identical",
        "a sample alone equals it in a batch",
        "seed to pixels",
    ]
    assert [info.parity for info in plan_infos(result.artifact)] == [parity] * 2
    assert "x_0 against PyTorch pass" in section(folder)


def test_a_failing_gate_keeps_the_new_one_under_another_name(folder, machine, monkeypatch, capsys):
    set_gpu(monkeypatch, True)
    machine.off = 0.01
    before = hashes(folder)
    assert cli.main(["--rebuild", str(folder), "--engine", "tensorrt", "--kernels", "fused"]) == 1
    output = capsys.readouterr()
    failed = folder.with_name("made-FAILED")
    assert output.err.startswith("error: parity failed at x_0 against PyTorch")
    assert output.err.endswith(f"; the artifact is kept as {failed}\n") and output.err.count("\n") == 1
    assert "FAIL" in output.out and "next:" not in output.out
    assert hashes(folder) == before
    assert not plan_infos(read_artifact(failed))[0].parity.passed
    assert "x_0 against PyTorch FAIL" in section(failed)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["made", "made-FAILED"]


def test_rtx_engines_for_other_gpus_are_not_run(folder, machine, monkeypatch):
    set_gpu(monkeypatch, True)

    def refusing(artifact, runtime):
        raise InputError("was built for compute capability 12.0")

    monkeypatch.setattr(engines, "TensorRt", refusing)
    result = rebuild(folder, "tensorrt-rtx", EngineOptions(targets=("12.0",)))
    assert result.engines[0].parity is None
    with pytest.raises(InputError):
        rebuild(folder, "tensorrt", EngineOptions())


@pytest.mark.parametrize("error", [GateError("TensorRT-RTX cannot build sampler.onnx"), KeyboardInterrupt()])
def test_a_build_that_fails_leaves_the_artifact(folder, machine, capsys, error):
    rebuilt(folder)
    capsys.readouterr()
    before = hashes(folder)
    machine.error = error
    code = cli.main(["--rebuild", str(folder), "--engine", "tensorrt-rtx", "--batch", "2"])
    assert code == (1 if isinstance(error, GateError) else 130)
    assert capsys.readouterr().err == f"error: {str(error) or 'interrupted'}\n"
    assert hashes(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["made"]


def test_the_command_says_what_it_made(folder, machine, capsys):
    argv = ["--rebuild", str(folder), "--engine", "tensorrt-rtx", "--batch", "1:2:4", "--target", "8.9", "8.6"]
    assert cli.main(argv) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "engines TensorRT-RTX: asked for" in printed
    assert f"sampler.rtx.plan TensorRT-RTX {VERSION} for 8.9, 8.6, batch 1:2:4" in printed
    (job,) = machine.jobs
    assert job.options.targets == ("8.9", "8.6") and job.options.profile == BatchProfile(1, 2, 4)


# What is refused


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert cli.main([str(arg) for arg in argv]) == 2
    output = capsys.readouterr()
    assert output.out == "" and output.err.startswith("error: ") and output.err.count("\n") == 1
    return output.err


@pytest.mark.parametrize(
    "argv",
    [
        ("--ckpt", "netG.pth"),
        ("--steps", 4),
        ("--demo",),
        ("--fp16",),
        ("--config", "args.json"),
        ("--out", "there"),
        ("--weights", "ema"),
        ("--no-verify",),
        ("--overwrite",),
        ("--refit", "there"),
    ],
)
def test_options_that_do_not_go_with_it(folder, machine, capsys, argv):
    before = hashes(folder)
    message = refused(capsys, "--rebuild", folder, *argv)
    assert message == f"error: {argv[0]} does not go with --rebuild, which changes DIR itself: leave it out\n"
    assert hashes(folder) == before and machine.jobs == []


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--engine", "tensorrt"), "--engine tensorrt needs an NVIDIA GPU"),
        (("--engine", "tensorrt-rtx", "--refittable"), "--refittable is not for TensorRT-RTX"),
        ((), "--engine auto builds none: no NVIDIA GPU here; --engine tensorrt-rtx builds one for other machines"),
        (("--target", "8.9"), "--target is for engines, and --engine auto builds none: no NVIDIA GPU here"),
        (("--target", "9.9"), "--target '9.9' is unknown"),
        (("--batch", "8:1:2"), "--batch 8:1:2 is not"),
    ],
)
def test_engines_that_cannot_be_built(folder, machine, capsys, argv, says):
    before = hashes(folder)
    assert says in refused(capsys, "--rebuild", folder, *argv)
    assert hashes(folder) == before and machine.jobs == []


def test_the_model_repository_alone_is_said_to_be_made(folder, machine, capsys):
    write_manifest(folder, dataclasses.replace(read_artifact(folder).manifest, parity=make_verification().result))
    before = hashes(folder)
    assert cli.main(["--rebuild", str(folder), "--engine", "none", "--max-batch", "2"]) == 0
    printed = capsys.readouterr().out
    assert "the model repository and manifest.json alone were made anew" in printed
    assert f"report {folder / 'report.html'}" in " ".join(printed.split())
    # No table of gates, since none was run.
    assert "gates passed" in printed and "measured" not in printed
    assert hashes(folder).items() - before.items() == {(MANIFEST, hashes(folder)[MANIFEST])}
    assert "max_batch_size: 2" in (folder / REPOSITORY / "ddgan" / "config.pbtxt").read_text()


def test_folders_that_are_no_artifact(folder, machine, capsys, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    for name, says in (("none", "does not exist"), ("other", "has no readable manifest.json")):
        assert says in refused(capsys, "--rebuild", tmp_path / name)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]
    content = (folder / "weights.bin").read_bytes()
    (folder / "weights.bin").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "weights.bin is missing or changed since the export" in refused(capsys, "--rebuild", folder)
    assert machine.jobs == []


@pytest.mark.parametrize("engine", ["tensorrt-rtx", "none"])
def test_a_manifest_that_does_not_fit_the_graph(folder, machine, capsys, engine):
    write_manifest(folder, dataclasses.replace(read_artifact(folder).manifest, precision="fp16"))
    before = hashes(folder)
    says = f"{MANIFEST} does not fit {SAMPLER} (precision fp16, not fp32): export again"
    assert says in refused(capsys, "--rebuild", folder, "--engine", engine)
    assert hashes(folder) == before and machine.jobs == []


@pytest.mark.parametrize("content", ["{}", '{"format_version": 99}'])
def test_an_engine_whose_json_is_damaged_or_of_another_format_can_be_replaced(folder, machine, content):
    """As the message of those who cannot read it tells to do."""
    rebuilt(folder)
    json_file = folder / f"{RTX_PLAN}.json"
    json_file.write_text(content)
    manifest = read_damaged(folder)[0].manifest
    files = {**manifest.files, **file_infos(folder, [json_file.name])}
    write_manifest(folder, dataclasses.replace(manifest, files=files))
    rebuilt(folder, least=2)
    assert str(plan_infos(read_artifact(folder))[0].profile) == "2:4:8"


@pytest.mark.parametrize("end", ["", ".json", ".log"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"{")])
def test_damaged_engine_files_stop_neither_the_graphs_nor_a_rebuild(folder, machine, end, damage):
    rebuilt(folder)
    damage(folder / f"{RTX_PLAN}{end}")
    read_artifact(folder)
    rebuilt(folder)
    assert not read_damaged(folder)[1]


def test_links_and_folders_are_kept_as_they_are(folder, machine):
    (folder / "dangling").symlink_to("nowhere")
    (folder / "linked").symlink_to("mine")
    folder.chmod(0o755)
    rebuilt(folder)
    assert (folder / "dangling").readlink() == Path("nowhere")
    assert (folder / "linked").is_symlink() and (folder / "linked" / "notes.txt").read_text() == "mine"


def test_what_cannot_be_copied_is_named(folder, machine, capsys):
    os.mkfifo(folder / "pipe")
    message = refused(capsys, "--rebuild", folder, "--engine", "tensorrt-rtx")
    assert f"{folder / 'pipe'} is neither a file nor a folder: move it elsewhere" in message


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"\xff\xfe<!-- engines -->")])
def test_a_report_that_is_gone_or_another_is_left_so(folder, machine, change):
    change(folder / "report.html")
    before = (folder / "report.html").read_bytes() if (folder / "report.html").exists() else None
    rebuilt(folder)
    assert (folder / "report.html").exists() == (before is not None)
    assert before is None or (folder / "report.html").read_bytes() == before


@pytest.mark.parametrize(("where", "name"), [(".", "."), ("mine", "..")])
def test_a_folder_may_be_named_from_inside(folder, machine, monkeypatch, where, name):
    monkeypatch.chdir(folder / where)
    rebuilt(Path(name))
    assert (folder / RTX_PLAN).is_file()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert (folder / "mine" / "notes.txt").read_text() == "mine"
