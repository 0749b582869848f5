"""Bundles of this working tree: what goes in, and that a home made of one runs."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import gpu_bundle
import gpu_wheels
import pytest
from gpu_wheels import LARGE, MACHINE, SMALL, Wheel, extra_wheels, unmet
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pieces import open_piece

from ddgan_deploy.command import run
from ddgan_deploy.errors import InputError
from tests.packages import packages

ROOT = Path(__file__).parents[2]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
PIECES_MB = 4.0


def bundle_command(out: Path, *arguments: str) -> int:
    return run(gpu_bundle.main, ["--out", str(out), *arguments])


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for this Python without the large packages."""
    out = tmp_path_factory.mktemp("bundle") / "out"
    options = ["--python-version", PYTHON, "--pieces-mb", str(PIECES_MB), "--without", *LARGE]
    assert bundle_command(out, *options) == 0
    return out


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a machine whose python3 has this environment's packages, but not ours: that one is editable."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return dict(os.environ) | {"PATH": path, "PYTHONPATH": sysconfig.get_path("purelib")}


def shell(machine: dict[str, str], script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    # Elsewhere: Python looks for packages where it is started.
    return subprocess.run(["sh", "-c", script, *arguments], env=machine, cwd="/", capture_output=True, text=True)


def gpu_machine(machine: dict[str, str], bundle: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """The bundle's own program."""
    return shell(machine, 'exec "$0" "$@"', bundle / "gpu_machine.sh", *arguments)


def unpack(machine: dict[str, str], bundle: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    # The compiler need not try hard.
    return gpu_machine(machine | {"CMAKE_BUILD_TYPE": "Debug"}, bundle, "unpack", *arguments)


@pytest.fixture(scope="module")
def unpacked(bundle: Path, machine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The home of the bundle, whose pieces came in two calls, and what each printed."""
    home = tmp_path_factory.mktemp("home") / "home"
    pieces = sorted(bundle.glob("*.piece"))
    said = []
    for half in (pieces[:0:-1], pieces[:1]):
        done = unpack(machine, bundle, *half, "--home", home)
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(done.stdout)
    return home, said


def test_a_bundle_is_what_its_sums_say_in_pieces_of_its_size(bundle):
    sums = dict(reversed(line.split("  ")) for line in (bundle / "SHA256SUMS").read_text().splitlines())
    files = {str(path.relative_to(bundle)): path for path in bundle.rglob("*") if path.is_file()}
    assert sums == {n: hashlib.sha256(p.read_bytes()).hexdigest() for n, p in files.items() if n != "SHA256SUMS"}
    beside = sum(path.stat().st_size for path in files.values() if path.suffix != ".piece")
    pieces = [path.stat().st_size for path in files.values() if path.suffix == ".piece"]
    assert len(pieces) > 2 and max(pieces) + beside <= PIECES_MB * 1e6


def test_pieces_tell_what_the_whole_bundle_has(bundle):
    items = open_piece(sorted(bundle.glob("*.piece"))[-1]).contents.items
    assert [item.name for item in items] == ["sources", "onnxruntime-headers", *SMALL]
    versions = gpu_wheels.pins(ROOT / "constraints.txt")
    assert {item.name: item.version for item in items if item.into == "site"} == {
        name: versions[name] for name in SMALL
    }


def test_everything_that_the_package_needs_is_in_the_bundle_or_on_the_machine(unpacked):
    home, _ = unpacked
    wheels = [
        Wheel(home, canonicalize_name(found.name), found.version, tuple(map(Requirement, found.requires or ())))
        for found in importlib.metadata.distributions(path=[str(home / "site")])
    ]
    assert {wheel.name for wheel in wheels} == {*SMALL}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [("ddgan-deploy", Requirement(line)) for line in project["dependencies"]]
    assert len(asked) >= 10
    assert unmet(asked, wheels, "3.12") == []
    # What pip would fetch for the large ones, as their newest releases say.
    large = ["flatbuffers", "numpy>=1.21.6", "packaging", "protobuf>=4.25.8"]
    assert unmet([("onnxruntime-gpu", Requirement(line)) for line in large], wheels, "3.12") == []
    for wheel in wheels:
        rest = [other for other in wheels if other is not wheel]
        others = [*asked, ("onnxruntime-gpu", Requirement("flatbuffers"))]
        assert unmet(others, rest, "3.12") or wheel.name in MACHINE, f"nothing needs {wheel.name}"


@pytest.mark.parametrize(
    ("line", "met"),
    [
        ("numpy>=2.0", True),
        ("numpy>=3", False),
        ("nothing", False),
        ("nothing; python_version < '3.12'", True),
        ("nothing; sys_platform == 'win32' or extra == 'more'", True),
        ("nothing; platform_machine == 'x86_64'", False),
        ("Jinja2>=99", True),  # its version there is not known
    ],
)
def test_what_is_unmet_is_told(line, met):
    assert unmet([("one", Requirement(line))], [], "3.12") == ([] if met else [f"one asks for {Requirement(line)}"])


def test_the_homes_sources_are_the_working_trees(unpacked):
    home, _ = unpacked
    files, _ = gpu_bundle.our_files(ROOT, ROOT / "dist")
    assert {"Makefile", "ddgan_deploy/kernels", "tests/conftest.py", "benchmarks/export.py"} <= set(files)
    for name, path in files.items():
        there = home / "src" / name
        assert there.is_symlink() == path.is_symlink(), name
        if path.is_symlink():
            assert os.readlink(there) == os.readlink(path)
        else:
            assert there.read_bytes() == path.read_bytes(), name
            assert os.access(there, os.X_OK) == os.access(path, os.X_OK), name


def test_the_home_runs_with_its_own_packages_and_library(unpacked, machine):
    home, _ = unpacked
    code = (
        "import json, sys, pydantic, rich, ddgan_deploy.kernels.ops, ddgan_deploy.export\n"
        "from ddgan_deploy.kernels.native_library import ort_library\n"
        "import onnxruntime; onnxruntime.SessionOptions().register_custom_ops_library(str(ort_library()))\n"
        "places = [module.__file__ for module in (pydantic, rich, ddgan_deploy, ddgan_deploy.kernels.ops)]\n"
        "print(json.dumps([*places, str(ort_library())]))"
    )
    done = shell(machine, '. "$0" && exec python3 -c "$1"', home / "env.sh", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        str(home / "site/pydantic/__init__.py"),
        str(home / "site/rich/__init__.py"),
        str(home / "src/ddgan_deploy/__init__.py"),
        str(home / "src/ddgan_deploy/kernels/ops.py"),
        str(home / "lib/libddgan_onnxruntime.so"),
    ]


def test_the_table_says_what_is_there_and_what_is_to_come(unpacked):
    _, (first, second) = unpacked
    assert "still to come: sources" in first and "native library     not built yet, its sources are still" in first
    rows = dict(line.split("  ", 1) for line in second.splitlines() if "  " in line)
    rows = {name: value.strip() for name, value in rows.items()}
    import onnxruntime
    import torch

    assert rows["PyTorch"].startswith(f"{torch.__version__}, ")
    assert rows["ONNX Runtime"].startswith(f"{onnxruntime.__version__}, providers ") and "CPU" in rows["ONNX Runtime"]
    assert rows["native library"] == "built, ONNX Runtime takes it"
    assert rows["ddgan_deploy"] == gpu_bundle.__version__
    assert rows["pydantic"] == importlib.metadata.version("pydantic")
    assert {"GPU", "driver's CUDA", "triton", "onnx", "onnx-ir", "onnxscript", "numpy", "TensorRT"} <= rows.keys()
    assert {"TensorRT-RTX", "nvcc", "ncu", "compute-sanitizer", "g++", "cmake"} <= rows.keys()
    assert second.endswith("all pieces have come\n")


def test_the_library_is_built_once(unpacked, machine, bundle):
    home, _ = unpacked
    before = (home / "lib" / "libddgan_onnxruntime.so").stat()
    done = unpack(machine, bundle, bundle, "--home", home)
    assert done.returncode == 0
    assert (home / "lib" / "libddgan_onnxruntime.so").stat().st_mtime_ns == before.st_mtime_ns


def test_a_library_that_cannot_be_built_is_one_line(unpacked, machine, bundle, tmp_path):
    home, _ = unpacked
    environment = shutil.copy2(home / "env.sh", tmp_path)
    built = shutil.copytree(home / "lib", tmp_path / "lib")
    source = home / "src" / "CMakeLists.txt"
    text = source.read_text()
    try:
        source.write_text("cmake_minimum_required(VERSION 3.21)\nproject(none NONE)\nmessage(FATAL_ERROR no)\n")
        done = unpack(machine, bundle, bundle, "--home", home)
        assert done.returncode == 1
        assert done.stderr == f"error: the native library could not be built: see {home / 'build.log'}\n"
        assert "DDGAN_ORT_LIBRARY=" not in (home / "env.sh").read_text()
    finally:
        source.write_text(text)
        shutil.copy2(environment, home)
        shutil.copytree(built, home / "lib", dirs_exist_ok=True)


# The versions that such a machine has


EXACT = [
    f"{name}=={version}"
    for name, version in MACHINE.items()
    # NumPy 2.5 has no wheel for Python 3.11; PyTorch and Triton bring gigabytes.
    if version and name not in ("torch", "triton", *(["numpy"] if sys.version_info < (3, 12) else []))
]


@pytest.fixture(scope="module")
def rehearsed(machine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The machine's variables with exactly those packages, an empty HOME, and a network that leads nowhere."""
    proxies = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    home = {"HOME": str(tmp_path_factory.mktemp("user"))}
    return machine | proxies | home | {"PYTHONPATH": f"{packages(*EXACT)}:{machine['PYTHONPATH']}"}


def test_rehearsal_of_the_tests(unpacked, bundle, rehearsed, tmp_path):
    home, _ = unpacked
    done = gpu_machine(rehearsed | {"DDGAN_GPU_HOME": str(home)}, bundle, "test", "--results", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("there is no NVIDIA GPU\n")
    jobs = json.loads((tmp_path / "run.json").read_text())["jobs"]
    assert len(jobs) >= 5
    for job in jobs:
        assert job["outcome"] == "skipped" and re.fullmatch(r"\d+ skipped(, \d+ deselected)? in .*", job["said"]), job
        log = (tmp_path / job["log"]).read_text()
        assert "there is no NVIDIA GPU" in log and "is not installed" not in log


def test_rehearsal_of_the_measurements(unpacked, bundle, rehearsed, tmp_path):
    """What a machine without a GPU has is measured; none of its figures comes into a table."""
    home, _ = unpacked
    done = gpu_machine(rehearsed | {"DDGAN_GPU_HOME": str(home)}, bundle, "measure", "--results", tmp_path)
    assert done.returncode == 1
    jobs = {job["name"]: job for job in json.loads((tmp_path / "run.json").read_text())["jobs"]}
    assert jobs["kernels"]["said"] == "error: there is no NVIDIA GPU that PyTorch can use"
    assert jobs["sampler-digits"]["outcome"] == "done"
    result = json.loads((tmp_path / "sampler-digits.json").read_text())["digits"]
    assert {row["engine"] for row in result["rows"]} == {"pytorch-eager", "onnxruntime"}
    versions = result["environment"]["versions"]
    assert EXACT and set(EXACT) <= {
        *(f"{name}=={version}" for name, version in versions.items()),
        f"onnx-ir=={MACHINE['onnx-ir']}",
        f"onnxscript=={MACHINE['onnxscript']}",
    }
    tables = shell(
        rehearsed, '. "$0" && exec python3 "$1" --json "$2"', home / "env.sh", home / "src/benchmarks/gpu.py", tmp_path
    )
    assert tables.returncode == 2 and tables.stdout == "" and "without a GPU" in tables.stderr


@pytest.fixture
def clone(tmp_path) -> Path:
    """A small repository with a change of every kind."""
    root = tmp_path / "clone"
    root.mkdir()
    for name in ("kept", "changed", "deleted", ".gitignore"):
        (root / name).write_text("ignored\nout\n")
    (root / "link").symlink_to("kept")
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=b"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "One"]):
        subprocess.run([*git, *command], check=True)
    (root / "changed").write_text("anew")
    (root / "deleted").unlink()
    for name in ("new", "ignored"):
        (root / name).touch()
    (root / "old-bundle").mkdir()
    (root / "old-bundle" / "01.piece").touch()
    return root


def test_a_working_tree_is_taken_as_it_lies(clone):
    files, changed = gpu_bundle.our_files(clone, clone / "old-bundle")
    assert set(files) == {"kept", "changed", "new", "link", ".gitignore"}
    assert changed == 4  # changed, deleted, new, and the bundle


def test_no_clone_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no clone"):
        gpu_bundle.our_files(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--python-version", "2.7"], "--python-version 2.7 is not"),
        (["--python-version", "3.12.3"], "--python-version 3.12.3 is not"),
        (["--pieces-mb", "0"], "--pieces-mb 0 is too small"),
        (["--pieces-mb", "nan"], "--pieces-mb nan is too small"),
        (["--extra", "rich>=13"], "'rich>=13' is no package with a version"),
        (["--extra", "a b"], "'a b' is no package with a version"),
        (["--without", "numpy"], "numpy is not in a bundle anyway"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, capsys, arguments, said):
    assert bundle_command(tmp_path / "out", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")
    assert not list(tmp_path.iterdir())


def test_a_package_that_cannot_be_had_is_one_line(tmp_path, capsys):
    options = ["--without", *LARGE, *SMALL, "--extra", "rich==0.0.999"]
    assert bundle_command(tmp_path / "out", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: rich==0.0.999 cannot be had as a wheel for Python 3.12 (")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path, capsys):
    (tmp_path / "SHA256SUMS").touch()
    assert bundle_command(tmp_path) == 2
    assert "is not a bundle" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["SHA256SUMS"]


def test_a_bundle_is_replaced_whole(tmp_path, monkeypatch):
    out, options = tmp_path / "out", ["--without", *LARGE, *SMALL]
    assert bundle_command(out, *options, "--pieces-mb", "2") == 0
    before = {path.name for path in out.iterdir()}
    monkeypatch.setattr(gpu_bundle, "sha256", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bundle_command(out, *options)
    assert {path.name for path in out.iterdir()} == before and len(list(tmp_path.iterdir())) == 1
    monkeypatch.undo()
    assert bundle_command(out, *options) == 0
    assert len(list(out.glob("*.piece"))) == 1 < len([name for name in before if name.endswith(".piece")])


def test_extra_packages_have_a_version():
    assert extra_wheels(["Cuda_Python==13.0.1", "six == 1.17"]) == {"cuda-python": "13.0.1", "six": "1.17"}
