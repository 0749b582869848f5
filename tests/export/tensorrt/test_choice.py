"""Which runtime builds the engines on a machine, and why."""

from __future__ import annotations

import re
import types

import pytest

from ddgan_deploy.engines.tensorrt.plan import BatchProfile
from ddgan_deploy.engines.tensorrt.runtimes import import_runtime
from ddgan_deploy.errors import InputError, NotInstalled
from ddgan_deploy.export.tensorrt import choice as engine_choice
from ddgan_deploy.export.tensorrt.choice import choose_engine
from ddgan_deploy.export.tensorrt.options import EngineOptions


@pytest.fixture
def machine(monkeypatch):
    """Makes a machine with a GPU or without, and with some runtimes."""

    def make(gpu: bool, *runtimes: str) -> None:
        def load(runtime):
            return types.ModuleType(runtime) if runtime in runtimes else import_runtime("tensorrt")

        monkeypatch.setattr(engine_choice, "has_gpu", lambda: gpu)
        monkeypatch.setattr(engine_choice, "installed", lambda runtime: runtime in runtimes)
        monkeypatch.setattr(engine_choice, "import_runtime", load)

    return make


BOTH = ("tensorrt", "tensorrt-rtx")
NO_GPU = "none: no NVIDIA GPU here; --engine tensorrt-rtx builds one for other machines ahead of time"


@pytest.mark.parametrize(
    ("gpu", "runtimes", "runtime", "text"),
    [
        (True, BOTH, "tensorrt", "TensorRT: it is installed and an NVIDIA GPU is here"),
        (True, ("tensorrt",), "tensorrt", "TensorRT: it is installed and an NVIDIA GPU is here"),
        (True, ("tensorrt-rtx",), "tensorrt-rtx", "TensorRT-RTX: TensorRT is not installed"),
        (True, (), None, "none: TensorRT is not installed, and TensorRT-RTX is not installed"),
        (False, BOTH, None, NO_GPU),
        (False, ("tensorrt",), None, NO_GPU),
        (False, ("tensorrt-rtx",), None, NO_GPU),
        (False, (), None, NO_GPU),
    ],
)
def test_auto(machine, gpu, runtimes, runtime, text):
    machine(gpu, *runtimes)
    choice = choose_engine("auto", EngineOptions(), "fp16")
    assert choice.runtime == runtime
    assert str(choice) == text


def test_none_is_none_wherever(machine):
    machine(True, *BOTH)
    choice = choose_engine("none", EngineOptions(refittable=True, targets=("8.9",)), "fp16")
    assert choice.runtime is None and str(choice) == "none: not asked for"


def test_an_engine_for_other_machines_is_one_flag(machine):
    machine(False, "tensorrt-rtx")
    options = EngineOptions(targets=("8.6", "8.9"))
    assert str(choose_engine("tensorrt-rtx", options, "fp16")) == "TensorRT-RTX: asked for"


@pytest.mark.parametrize("runtime", BOTH)
def test_what_was_asked_for(machine, runtime):
    machine(True, *BOTH)
    choice = choose_engine(runtime, EngineOptions(), "fp16")
    assert choice.runtime == runtime and choice.reason == "asked for"


def test_tensorrt_without_a_gpu(machine):
    machine(False, *BOTH)
    with pytest.raises(InputError, match=r"--engine tensorrt needs an NVIDIA GPU.*give --engine tensorrt-rtx"):
        choose_engine("tensorrt", EngineOptions(), "fp16")


def test_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(engine_choice, "has_gpu", lambda: True)
    modules = {"tensorrt": "no_such_tensorrt", "tensorrt-rtx": "no_such_rtx"}
    monkeypatch.setattr("ddgan_deploy.engines.tensorrt.runtimes.MODULES", modules)
    for runtime, extra in (("tensorrt", "gpu"), ("tensorrt-rtx", "tensorrt-rtx")):
        with pytest.raises(NotInstalled, match=rf"engine {runtime} needs .*pip install 'ddgan-deploy\[{extra}\]'"):
            choose_engine(runtime, EngineOptions(), "fp16")
    assert choose_engine("auto", EngineOptions(), "fp16").runtime is None


@pytest.mark.parametrize(
    ("gpu", "runtimes", "options", "says"),
    [
        (True, BOTH, EngineOptions(targets=("8.9",)), "--target is for TensorRT-RTX"),
        (True, ("tensorrt-rtx",), EngineOptions(kernels="fused"), "--kernels fused is not for TensorRT-RTX"),
        (True, ("tensorrt-rtx",), EngineOptions(refittable=True), "--refittable is not for TensorRT-RTX"),
    ],
)
def test_options_that_the_chosen_one_lacks(machine, runtimes, gpu, options, says):
    machine(gpu, *runtimes)
    with pytest.raises(InputError, match=says):
        choose_engine("auto", options, "fp16")


@pytest.mark.parametrize(
    ("options", "precision", "says"),
    [
        (
            EngineOptions(profile=BatchProfile(1, 2, 4)),
            "fp16",
            f"--batch is for engines, and --engine auto builds {NO_GPU}",
        ),
        (EngineOptions(targets=("8.9",)), "fp32", f"--target is for engines, and --engine auto builds {NO_GPU}"),
        (EngineOptions(hardware_compatibility="ampere_plus"), "fp16", "--hardware-compatible is for engines"),
        (
            EngineOptions(opt_level=3),
            "int8",
            "--opt-level is for engines, and --engine auto builds none: int8 is for CPUs",
        ),
    ],
)
def test_options_of_an_engine_that_nobody_builds(machine, options, precision, says):
    machine(False, *BOTH)
    with pytest.raises(InputError, match=f"^{re.escape(says)}"):
        choose_engine("auto", options, precision)
