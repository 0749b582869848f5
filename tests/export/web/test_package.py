"""Which packages --web takes, and in what words it refuses the others."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.export import cli
from ddgan_deploy.export.web import package as package_module
from ddgan_deploy.export.web.package import read_package
from tests.conftest import DATA
from tests.export.test_bad_input import refused
from tests.export.web.npm import FILES, make_package, pack


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_folder_and_an_archive_are_the_same():
    package = make_package(Path("onnxruntime-web"))
    runtime = read_package(package)
    assert runtime == read_package(pack(package, Path("onnxruntime-web-1.30.0.tgz")))
    assert runtime.version == "1.30.0"
    # Many servers tell a browser that a file .mjs is not JavaScript.
    assert runtime.files["ort.wasm.min.js"] == FILES["dist/ort.wasm.min.mjs"]
    assert runtime.files["ort-wasm-simd-threaded.js"] == FILES["dist/ort-wasm-simd-threaded.mjs"]
    assert runtime.files["ort-wasm-simd-threaded.wasm"] == FILES["dist/ort-wasm-simd-threaded.wasm"]
    assert not [name for name in runtime.files if name.endswith(".mjs")]


def test_its_licence_comes_along(monkeypatch):
    package = make_package(Path("package"))
    # The package of npm has none; that of Python, of the same project, does.
    assert b"MIT License" in read_package(package).files["LICENSE"]
    (package / "LICENSE").write_bytes(b"its own")
    assert read_package(package).files["LICENSE"] == b"its own"
    (package / "LICENSE").unlink()
    monkeypatch.setattr(package_module.importlib.util, "find_spec", lambda name: None)
    assert "LICENSE" not in read_package(package).files


@pytest.mark.parametrize("version", ["1.19.2", "1.20.0", "1.30.0-dev.20261101-abc", "2.0.0"])
def test_versions_that_are_taken(version):
    assert read_package(make_package(Path("package"), version=version)).version == version


@pytest.mark.parametrize("version", ["1.19.1", "1.18.0", "0.1.0", "latest", "", None, [1, 30, 0]])
def test_versions_that_are_not(version):
    with pytest.raises(InputError, match=r"^package has version .* of onnxruntime-web: give 1\.19\.2 or newer$"):
        read_package(make_package(Path("package"), version=version))


def absent() -> Path:
    return Path("absent")


def nothing_inside() -> Path:
    Path("empty").mkdir()
    return Path("empty")


def a_project() -> Path:
    make_package(Path("project/node_modules/onnxruntime-web"))
    return make_package(Path("project"), name="my-project")


def no_json() -> Path:
    package = make_package(Path("package"))
    (package / "package.json").write_bytes(b"\xff{")
    return package


def no_object() -> Path:
    package = make_package(Path("package"))
    (package / "package.json").write_text("[]")
    return package


def no_wasm() -> Path:
    return make_package(Path("package"), lacks="dist/ort-wasm-simd-threaded.wasm")


def no_script() -> Path:
    return pack(make_package(Path("package"), lacks="dist/ort.wasm.min.mjs"), Path("package.tgz"))


def other_wasm() -> Path:
    package = make_package(Path("package"))
    (package / "dist/ort-wasm-simd-threaded.wasm").write_text("version https://git-lfs.github.com/spec/v1")
    return package


def text() -> Path:
    Path("package.tgz").write_text("<html>")
    return Path("package.tgz")


def cut_short() -> Path:
    archive = pack(make_package(Path("package")), Path("package.tgz"))
    archive.write_bytes(archive.read_bytes()[:-60])
    return archive


def altered() -> Path:
    """One bit of what is compressed, in a way that the tar in it stays one."""
    package = make_package(Path("package"))
    (package / "dist/ort-wasm-simd-threaded.wasm").write_bytes(b"\0asm" + b"a constant")
    with tarfile.open("package.tgz", "w:gz", compresslevel=0) as archive:
        archive.add(package, "package")
    content = Path("package.tgz").read_bytes()
    assert content.count(b"a constant") == 1
    Path("package.tgz").write_bytes(content.replace(b"a constant", b"a Constant"))
    return Path("package.tgz")


def other_archive() -> Path:
    with tarfile.open("package.tgz", "w:gz") as archive:
        archive.add(make_package(Path("package")), "elsewhere")
    return Path("package.tgz")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (absent, "absent cannot be read (No such file or directory): give node_modules/onnxruntime-web, or the .tgz"),
        (nothing_inside, "empty is no npm package, since it has no package.json that can be read"),
        (a_project, "project is the package 'my-project', not onnxruntime-web"),
        (no_json, "package is no npm package"),
        (no_object, "package is no npm package"),
        (no_wasm, "package has no dist/ort-wasm-simd-threaded.wasm, as onnxruntime-web 1.30.0 should have"),
        (no_script, "package.tgz has no dist/ort.wasm.min.mjs"),
        (other_wasm, "package has no dist/ort-wasm-simd-threaded.wasm"),
        (text, "package.tgz is no archive of npm's"),
        (cut_short, "package.tgz is no archive of npm's"),
        (altered, "package.tgz is no archive of npm's, or a damaged one"),
        (other_archive, "package.tgz is no npm package"),
    ],
)
@pytest.mark.parametrize("mode", ["new", "existing"])
def test_what_is_no_package_is_refused(made, says, mode, capsys, monkeypatch, exports, biggan):
    wrong = made()
    if mode == "new":
        monkeypatch.setattr(
            "ddgan_deploy.export.pipeline.load_checkpoint", lambda *_, **__: pytest.fail("it has begun")
        )
        argv = ("--ckpt", DATA / "biggan" / "netG.pth", "--steps", 4, "--out", "out", "--web", wrong)
    else:
        shutil.copytree(exports.golden(biggan).path, "made")
        argv = ("--rebuild", "made", "--engine", "none", "--web", wrong)
    assert says in refused(capsys, *argv, main=cli.main)


def test_modes_that_it_does_not_go_with(capsys):
    package = make_package(Path("package"))
    says = refused(capsys, "--refit", "DIR", "--ckpt", "FILE", "--web", package)
    assert "leave out --web, or give it with --rebuild DIR" in says
    assert "--web does not go with --cascade" in refused(capsys, "--cascade", "A", "B", "--out", "C", "--web", package)
