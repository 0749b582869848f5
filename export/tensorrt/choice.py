"""Which runtime builds an artifact's engines, on this machine."""

from __future__ import annotations

from dataclasses import dataclass

from ddgan_deploy.engines.tensorrt.plan import TITLES, Runtime
from ddgan_deploy.engines.tensorrt.runtimes import import_runtime, installed
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.tensorrt.options import EngineChoice, EngineOptions
from ddgan_deploy.gpu import has_gpu
from ddgan_deploy.sampler import Precision


@dataclass(frozen=True)
class Choice:
    """Which runtime builds the engines.

    Attributes:
        runtime: None where none is built.
        reason: why, for the user.
    """

    runtime: Runtime | None
    reason: str

    def __str__(self) -> str:
        return f"{TITLES[self.runtime] if self.runtime else 'none'}: {self.reason}"


def choose_engine(engine: EngineChoice, options: EngineOptions, precision: Precision) -> Choice:
    """Which runtime builds the engines here.

    Raises:
        InputError: the one that was asked for cannot build here, or lacks one of the options.
    """
    choice = _choose(engine, precision)
    if choice.runtime is not None:
        options.check_for(choice.runtime, precision)
    elif engine == "auto" and options.given:
        raise InputError(f"{options.given[0]} is for engines, and --engine auto builds {choice}")
    return choice


def _choose(engine: EngineChoice, precision: Precision) -> Choice:
    if engine == "none":
        return Choice(None, "not asked for")
    if engine == "auto" and precision == "int8":
        # Zero points make int8 better on CPUs, and TensorRT takes none: an artifact is for one of them.
        return Choice(None, "int8 is for CPUs where no engine is asked for")
    if engine == "tensorrt":
        if not has_gpu():
            raise InputError(
                "--engine tensorrt needs an NVIDIA GPU and its driver, and here is none: run it where the engine "
                "shall run, or give --engine tensorrt-rtx, which builds on any machine"
            )
        import_runtime(engine)
        return Choice(engine, "asked for")
    if engine == "tensorrt-rtx":
        import_runtime(engine)
        return Choice(engine, "asked for")
    if not has_gpu():
        # It could not run here, and takes longer to build than all else.
        return Choice(None, "no NVIDIA GPU here; --engine tensorrt-rtx builds one for other machines ahead of time")
    lacking = _lacking("tensorrt")
    if not lacking:
        return Choice("tensorrt", "it is installed and an NVIDIA GPU is here")
    lacking_too = _lacking("tensorrt-rtx")
    return Choice(None, f"{lacking}, and {lacking_too}") if lacking_too else Choice("tensorrt-rtx", lacking)


def _lacking(runtime: Runtime) -> str:
    """Why a runtime cannot be used, or nothing."""
    if not installed(runtime):
        return f"{TITLES[runtime]} is not installed"
    try:
        import_runtime(runtime)
    except InputError as error:
        return str(error).partition(":")[0]
    return ""
