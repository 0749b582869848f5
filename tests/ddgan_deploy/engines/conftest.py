"""An artifact that engines open, and stand-ins for TensorRT and its GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import Golden
from tests.ddgan_deploy.engines.tensorrt.fake_tensorrt import HostDevice, fake_module
from tests.exports import Exports


@pytest.fixture(scope="session")
def exported(biggan: Golden, exports: Exports) -> Path:
    """An artifact that nobody changes."""
    return exports.golden(biggan).path


@pytest.fixture
def device() -> HostDevice:
    return HostDevice()


@pytest.fixture
def trt(device: HostDevice, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The stand-in in the place of both runtimes' modules."""
    module, rtx = fake_module(device), fake_module(device, rtx=True)
    rtx.api = module.api
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", rtx)
    return module


@pytest.fixture
def gpu(device: HostDevice, trt: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in in the place of the machine's GPU."""
    monkeypatch.setattr("ddgan_deploy.gpu.has_gpu", lambda: True)
    monkeypatch.setattr("ddgan_deploy.engines.has_gpu", lambda: True)
    monkeypatch.setattr("ddgan_deploy.engines.tensorrt.engine.open_device", lambda engine: device)
