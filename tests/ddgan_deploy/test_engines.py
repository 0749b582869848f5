"""Which engine opens an artifact, and that each says what it lacks."""

from __future__ import annotations

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.cli import sample, verify
from ddgan_deploy.errors import InputError
from tests.export.conftest import export_golden


@pytest.fixture(scope="module")
def artifact(biggan, tmp_path_factory):
    return export_golden(biggan, tmp_path_factory.mktemp("engines"), verify=False).artifact.path


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setattr("ddgan_deploy.kernels.native_library.ort_library", lambda: None)


def test_the_native_library_is_loaded_unless_left_out(artifact, library):
    assert open_artifact(artifact).name == "onnxruntime"
    assert open_artifact(artifact, "onnxruntime").name == "onnxruntime"
    assert open_artifact(artifact, "onnxruntime-portable").name == "onnxruntime-portable"


def test_without_the_library_the_portable_path_is_taken(artifact, no_library):
    engine = open_artifact(artifact)
    assert engine.name == "onnxruntime-portable"
    assert engine.generate([3]).shape == (1, 32, 32, 3)
    with pytest.raises(InputError, match="needs the native library, which is not built here"):
        open_artifact(artifact, "onnxruntime")


def test_both_engines_draw_one_image(artifact, library):
    native, portable = (
        open_artifact(artifact, name).generate([0, 5]) for name in ("onnxruntime", "onnxruntime-portable")
    )
    assert np.abs(native.astype(int) - portable).max() <= 1


def test_commands_take_portable(artifact, biggan, library, tmp_path, capsys):
    arguments = [str(artifact), "--ckpt", str(biggan.path), "--config", str(biggan.config), "--seeds", "0"]
    assert verify.main(arguments) == 0
    assert capsys.readouterr().out.endswith("gates passed on onnxruntime\n")
    assert verify.main([*arguments, "--portable"]) == 0
    assert capsys.readouterr().out.endswith("gates passed on onnxruntime-portable\n")
    assert sample.main([str(artifact), "--seeds", "0", "--portable", "--out", str(tmp_path / "a.png")]) == 0


def test_portable_and_an_engine_exclude_each_other(artifact, tmp_path, capsys):
    arguments = [str(artifact), "--out", str(tmp_path / "a.png"), "--portable", "--engine", "onnxruntime"]
    assert sample.main(arguments) == 2
    assert "not allowed with argument --portable" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "message"), [(None, "is not a file"), (b"not a library", "cannot load")])
def test_a_wrong_library_is_one_clear_line(artifact, tmp_path, monkeypatch, capsys, content, message):
    library = tmp_path / "library.so"
    if content is not None:
        library.write_bytes(content)
    monkeypatch.setenv("DDGAN_ORT_LIBRARY", str(library))
    assert sample.main([str(artifact), "--seeds", "0", "--out", str(tmp_path / "a.png")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and str(library) in line and message in line
    assert not (tmp_path / "a.png").exists()
