"""What a machine's packages are said to be."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path

import pytest

from ddgan_deploy import __version__
from ddgan_deploy.bench.environment import versions


@pytest.fixture
def gpu_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ONNX Runtime's build for GPUs in a folder before all others, as on a machine that pip is not used on."""
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    (tmp_path / "onnxruntime_gpu-99.1.dist-info").mkdir()
    (tmp_path / "onnxruntime_gpu-99.1.dist-info" / "METADATA").write_text("Name: onnxruntime-gpu\nVersion: 99.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    # A module that was imported is found where it lies.
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    return tmp_path


def test_ours_is_told_without_an_installation_of_it(monkeypatch):
    def none(name: str):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", none)
    assert versions() == {"ddgan-deploy": __version__}


def test_of_two_onnx_runtimes_the_hidden_one_is_not_told(gpu_build):
    told = versions()
    assert told["onnxruntime-gpu"] == "99.1" and "onnxruntime" not in told


def test_the_one_that_is_imported_is_told():
    told = versions()
    assert told["onnxruntime"] == importlib.metadata.version("onnxruntime") and "onnxruntime-gpu" not in told
