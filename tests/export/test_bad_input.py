"""Wrong input to ddgan-export ends in one line, exit code 2, and nothing left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from ddgan_deploy.artifact.manifest import MANIFEST, SAMPLER
from ddgan_deploy.cli import sample, verify
from ddgan_deploy.errors import GateError
from ddgan_deploy.export import cli, pipeline
from ddgan_deploy.export.tensorrt import choice as engine_choice
from ddgan_deploy.sampler import Sampler
from tests.conftest import DATA

NET_G = DATA / "biggan" / "netG.pth"
CONTENT = DATA / "training_state" / "content.pth"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in an empty folder, so that whatever is left behind is seen; the real work is out of bounds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "graph_family", lambda _: pytest.fail("the work has begun"))


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def refused(capsys: pytest.CaptureFixture[str], *argv: object, main=cli.main) -> str:
    before = snapshot(Path())
    assert main([str(arg) for arg in argv]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert "Traceback" not in output.err
    assert len(output.err) < 600
    assert snapshot(Path()) == before
    return output.err


# The command line.


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((), "--ckpt"),
        (("--steps", 4), "--ckpt"),
        (("--ckpt", NET_G, "--steps", 4, "--fp8"), "unrecognized arguments: --fp8"),
        (("--ckpt", NET_G, "--steps", 4, "more"), "unrecognized arguments: more"),
        (("--ckpt",), "--ckpt: expected one argument"),
        (("--ckpt", NET_G, "--steps", " 4_0"), "' 4_0' is not a whole number"),
        (("--ckpt", NET_G, "--steps", 4, "--weights", "both"), "--weights: invalid choice: 'both'"),
        (("--ckpt", NET_G, "--steps", 4, "--engine", "cuda"), "--engine: invalid choice: 'cuda'"),
    ],
)
def test_flags(capsys, argv, says):
    message = refused(capsys, *argv)
    assert says in message
    assert "ddgan-export --help" in message


def test_steps_that_nothing_tells(capsys):
    assert f"{NET_G} does not tell how many steps it was trained for: give --steps T" in refused(
        capsys, "--ckpt", NET_G
    )


@pytest.mark.parametrize("steps", ["x", "", " ", "4.5", "4x", "1e1", "nan", "9" * 5000])
def test_steps_that_are_no_number(capsys, steps):
    message = refused(capsys, "--ckpt", NET_G, f"--steps={steps[:100] if len(steps) > 100 else steps}")
    assert "--steps" in message or "steps" in message
    assert "is not a whole number: give one from 1 on" in message
    assert "steps_argument" not in message


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps(capsys, steps):
    message = refused(capsys, "--ckpt", NET_G, "--steps", steps)
    assert f"steps {steps} is out of range: give 1 or more" in message


@pytest.mark.parametrize("steps", [65, 10000])
def test_more_steps_than_such_a_network_has(capsys, steps):
    assert f"steps {steps} is out of range: give 1..64" in refused(capsys, "--ckpt", NET_G, "--steps", steps)


def test_steps_that_contradict_a_training_state(capsys):
    message = refused(capsys, "--ckpt", CONTENT, "--steps", 5)
    assert "--steps 5 contradicts the training arguments' num_timesteps 4: give --steps 4" in message


def test_steps_that_contradict_the_config(capsys):
    config = DATA / "biggan" / "args.json"
    assert "give --steps 4" in refused(capsys, "--ckpt", NET_G, "--steps", 2, "--config", config)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--batch", "1:8"), "--batch 1:8 is not MIN:OPT:MAX: give such as 1:8:32"),
        (("--batch", "8:1:32"), "--batch 8:1:32 is not 1 <= MIN <= OPT <= MAX <= 65535"),
        (("--target", "9.0"), "--target '9.0' is unknown: give some of 7.5, 8.0"),
        (("--target",), "--target: expected at least one argument"),
        (("--workspace", 0), "--workspace 0 must be 1..16777216 MiB"),
        (("--workspace", "x"), "--workspace: invalid int value: 'x'"),
        (("--opt-level", 6), "--opt-level 6 must be 0..5"),
        (("--kernels", "fast"), "--kernels: invalid choice: 'fast'"),
        (("--hardware-compatible", "all"), "--hardware-compatible: invalid choice: 'all'"),
        (("--engine", "tensorrt"), "--engine tensorrt needs an NVIDIA GPU"),
        (("--engine", "tensorrt-rtx", "--refittable"), "--refittable is not for TensorRT-RTX"),
        (("--engine", "tensorrt-rtx", "--kernels", "fused"), "--kernels fused is not for TensorRT-RTX"),
        (("--engine", "tensorrt-rtx", "--version-compatible"), "--version-compatible is not for TensorRT-RTX"),
        (("--engine", "tensorrt-rtx", "--hardware-compatible"), "--hardware-compatible is not for TensorRT-RTX"),
        (("--rebuild", "there"), "--ckpt does not go with --rebuild"),
        (("--refit", "there"), "there does not exist"),
    ],
)
def test_engines(capsys, monkeypatch, argv, says):
    monkeypatch.setattr(engine_choice, "has_gpu", lambda: False)
    monkeypatch.setattr(engine_choice, "import_runtime", lambda runtime: None)
    assert says in refused(capsys, "--ckpt", NET_G, "--steps", 4, *argv)


def test_an_engine_that_is_not_installed(capsys, monkeypatch):
    monkeypatch.setattr(
        "ddgan_deploy.engines.tensorrt.runtimes.MODULES", {"tensorrt": "none1", "tensorrt-rtx": "none2"}
    )
    message = refused(capsys, "--ckpt", NET_G, "--steps", 4, "--engine", "tensorrt-rtx")
    assert "engine tensorrt-rtx needs TensorRT-RTX, which is not installed: pip install" in message


# The files.


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"hello", "is damaged or not a PyTorch checkpoint"),
        (NET_G.read_bytes()[:300_000], "is damaged or not a PyTorch checkpoint"),
    ],
    ids=["absent", "empty", "text", "truncated"],
)
@pytest.mark.parametrize("out", [None, "deep/artifact"])
def test_checkpoint(capsys, content, says, out):
    path = Path("mine.pth")
    if content is not None:
        path.write_bytes(content)
    message = refused(capsys, "--ckpt", path, "--steps", 4, *(["--out", out] if out else []))
    assert f"error: mine.pth {says}" in message


@pytest.mark.parametrize("content", [None, "x", "[]", '{"nz": 3}', '{"nz": "3"}'])
def test_config(capsys, content):
    path = Path("args.json")
    if content is not None:
        path.write_text(content)
    assert "args.json" in refused(capsys, "--ckpt", NET_G, "--steps", 4, "--config", path)


def test_raw_weights_of_one_set(capsys):
    message = refused(capsys, "--ckpt", NET_G, "--steps", 4, "--weights", "raw")
    assert "--weights raw needs a training state" in message


def test_a_file_name_with_a_line_break(capsys):
    refused(capsys, "--ckpt", "net\nG.pth", "--steps", 4)


# The output.


@pytest.mark.parametrize("fp16", [False, True])
def test_an_existing_folder(capsys, fp16):
    target = Path("netG-T4-fp16" if fp16 else "netG-T4")
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    flags = ["--fp16"] if fp16 else []
    message = refused(capsys, "--ckpt", NET_G, "--steps", 4, *flags)
    assert f"{target} exists already: give --overwrite to replace it, or another --out" in message
    message = refused(capsys, "--ckpt", NET_G, "--steps", 4, *flags, "--overwrite")
    assert f"{target} is not an artifact, so --overwrite will not replace it" in message


def test_a_folder_with_another_manifest(capsys):
    Path("extension").mkdir()
    Path("extension", MANIFEST).write_text('{"manifest_version": 3}')
    message = refused(capsys, "--ckpt", NET_G, "--steps", 4, "--out", "extension", "--overwrite")
    assert "is not an artifact" in message


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_a_file_in_the_way(capsys, flags):
    Path("taken").write_text("mine")
    assert "taken" in refused(capsys, "--ckpt", NET_G, "--steps", 4, "--out", "taken", *flags)
    assert "taken/new" in refused(capsys, "--ckpt", NET_G, "--steps", 4, "--out", "taken/new", *flags)


@pytest.mark.parametrize("out", [".", "..", "/", ""])
def test_a_folder_that_is_in_use(capsys, out):
    Path("mine.txt").write_text("mine")
    assert "--out" in refused(capsys, "--ckpt", NET_G, "--steps", 4, "--out", out, "--overwrite")


@pytest.mark.parametrize("out", ["/proc/ddgan/artifact", "/dev/null/artifact", "x" * 300])
def test_a_place_that_cannot_be_written(capsys, out):
    message = refused(capsys, "--ckpt", NET_G, "--steps", 4, "--out", out)
    assert f"{out} cannot be written" in message


# Failures half-way.


def existing_artifact(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in (MANIFEST, SAMPLER, "mine.txt"):
        (folder / name).write_text("old")


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("stop", ["graph_family", "save", "write_report", "write_manifest"])
def test_a_full_disk(capsys, monkeypatch, stop, exists):
    """The disk runs full at any stop; all heavier work before it is replaced by nothing."""
    if exists:
        existing_artifact(Path("deep/artifact"))
    stop_at(monkeypatch, stop, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    message = refused(capsys, "--ckpt", NET_G, "--steps", 4, "--out", "deep/artifact", "--overwrite")
    assert "error: deep/artifact cannot be written (No space left on device): free space" in message


def stop_at(monkeypatch: pytest.MonkeyPatch, stop: str, failure: BaseException) -> None:
    """Lets an export fail at one of its stops, with a file in its folder."""

    def failing(*args: object, **kwargs: object) -> None:
        (folder,) = Path("deep").glob(".artifact-*")
        (folder / "weights.bin").write_bytes(bytes(100))
        raise failure

    if stop != "graph_family":
        monkeypatch.setattr(pipeline, "build_graphs", lambda folder, *_: stop == "save" and failing())
        monkeypatch.setattr(pipeline, "prove", failing)
    else:
        monkeypatch.setattr(pipeline, stop, failing)


@pytest.mark.parametrize("exists", [False, True])
def test_an_interruption(capsys, monkeypatch, exists):
    if exists:
        existing_artifact(Path("deep/artifact"))
    before = snapshot(Path())
    stop_at(monkeypatch, "graph_family", KeyboardInterrupt())
    assert cli.main(["--ckpt", str(NET_G), "--steps", "4", "--out", "deep/artifact", "--overwrite"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"
    assert snapshot(Path()) == before


def test_work_that_fails(capsys, monkeypatch):
    stop_at(monkeypatch, "graph_family", GateError("the exporter's graph has changed"))
    assert cli.main(["--ckpt", str(NET_G), "--steps", "4", "--out", "deep/artifact"]) == 1
    assert capsys.readouterr().err == "error: the exporter's graph has changed\n"
    assert snapshot(Path()) == {}


# The other commands.


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ((), "DIR"),
        (("none",), "nowhere to write"),
        (("none", "--out", "grid.png"), "none does not exist"),
        (("none", "--out", "grid.jpg"), "give a name that ends in .png"),
        (("none", "--out", "grid.png", "--batch", 0), "--batch"),
        (("none", "--out", "grid.png", "--batch", "x"), "--batch: invalid int value: 'x'"),
        (("none", "--out", "grid.png", "--threads", -1), "--threads"),
        (("none", "--out", "grid.png", "--size", 3), "unrecognized arguments"),
        (("none", "--out", "folder.png"), "folder.png is a folder"),
        (("none", "--out", "taken.png"), "taken.png exists already"),
        (("none", "--npz", "taken.png"), "taken.png exists already"),
        (("none", "--png-dir", "taken.png"), "taken.png is a file"),
        (("none", "--png-dir", "folder.png", "--seeds", "2-4"), "folder.png/3.png exists already"),
        (("none", "--out", "x" * 300 + ".png"), "File name too long"),
        (("none", "--png-dir", "x" * 300), "File name too long"),
    ],
)
def test_sample(capsys, argv, says):
    Path("folder.png").mkdir()
    Path("folder.png/3.png").write_text("mine")
    Path("taken.png").write_text("mine")
    assert says in refused(capsys, *argv, main=sample.main)


@pytest.mark.parametrize("disk", [1, 2, 3, 4])
def test_sample_on_a_full_disk(capsys, monkeypatch, disk):
    """With several outputs, whichever fails: what was drawn by then is there, each file whole, and nothing else."""
    import numpy as np

    from ddgan_deploy.engines import cascade

    class Engine:
        name = "stand-in"
        artifact = SimpleNamespace(manifest=SimpleNamespace(precision="fp32", sampler=Sampler((1, 8, 8), 1, ())))

        def close(self):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def generate(self, seeds):
            return np.zeros((len(seeds), 8, 8, 1), np.uint8)

    written = []

    def write(path, content):
        written.append(path)
        if len(written) == disk:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with path.open("wb") as file:
            return file.write(content)

    monkeypatch.setattr(cascade, "read_artifact", lambda _: None)
    monkeypatch.setattr(cascade, "open_engine", lambda *_: Engine())
    monkeypatch.setattr(Path, "write_bytes", write)
    argv = ["none", "--seeds", "0-2", "--out", "a/b/grid.png", "--npz", "a/c/all.npz", "--png-dir", "a/d"]
    drawn = disk - 1
    if not drawn:
        assert "cannot be written (No space left on device)" in refused(capsys, *argv, main=sample.main)
        return
    assert sample.main(argv) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "cannot be written (No space left on device)" in message
    assert f"{drawn} of 3 images are in a/d and a/c/all-PARTIAL.npz" in message
    files = sorted(str(path) for path in Path().rglob("*") if path.is_file())
    assert files == ["a/c/all-PARTIAL.npz", *(f"a/d/{seed}.png" for seed in range(drawn))]
    assert np.load("a/c/all-PARTIAL.npz")["seeds"].tolist() == list(range(drawn))


@pytest.mark.parametrize(
    ("argv", "says"),
    [((), "required: "), (("none", "--ckpt", NET_G), "none does not exist"), (("none",), "--ckpt")],
)
def test_verify(capsys, argv, says):
    assert says in refused(capsys, *argv, main=verify.main)


# As a process of its own.


def process(*argv: object) -> subprocess.CompletedProcess[str]:
    root = Path(cli.__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, *(str(arg) for arg in argv)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("argv", [("--steps", "x"), ("--ckpt", "none.pth", "--steps", "4")])
def test_a_process_says_one_line(argv):
    result = process("-m", "ddgan_deploy.export.cli", *argv)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert snapshot(Path()) == {}


HELP = """
import sys
from ddgan_deploy.{0} import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
heavy = {{"torch", "onnx", "onnxruntime", "onnxscript", "onnx_ir", "matplotlib", "numpy", "pydantic", "PIL"}}
print("LOADED", sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize("command", ["export.cli", "cli.sample", "cli.verify"])
def test_help_imports_nothing_heavy(command):
    result = process("-c", HELP.format(command))
    assert result.stdout.startswith("usage: ddgan-")
    assert result.stdout.endswith("LOADED []\n")
    assert result.stderr == ""
