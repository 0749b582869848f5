"""What an export is asked to do, and what can be refused before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from ddgan_deploy.artifact.engine_files import TITLES
from ddgan_deploy.artifact.serving import DEFAULT_SERVING, Serving, check_serving
from ddgan_deploy.artifact.staging import check_target
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.export.repository.cpu_engine import check_cpu_engine
from ddgan_deploy.export.tensorrt.options import EngineChoice, EngineOptions
from ddgan_deploy.sampler import Precision
from ddgan_deploy.weight_files.kinds import Weights

_DEFAULT_ENGINE_OPTIONS = EngineOptions()


@dataclass(frozen=True)
class ExportOptions:
    """What to export, and how.

    Attributes:
        checkpoint: a netG_<epoch>.pth, content.pth or .safetensors file.
        steps: T, as far as its family takes it; None: as many as the checkpoint or the config tells.
        fp16: half precision where it holds.
        config: JSON of the training script's arguments, or a ``content.pth`` that has them.
        out: the artifact's folder; None: ``<checkpoint stem>-T<steps>[-fp16|-int8]`` in the current one.
        weights: of a training state, "ema" or "raw".
        overwrite: replace an existing artifact.
        verify: run the parity gates.
        engine: TensorRT engine to build besides; "auto": what can build one here.
        engine_options: how to build it.
        serving: how the model repository is to be.
        int8: 8-bit integers in the layers where they hold; not with ``fp16``.
        loop: all steps as one ONNX Loop in place of T copies; "auto": where these would make a graph of thousands of
            nodes, which takes minutes to open. Not with ``int8``, which has copies.
        tune: measure the engines of the CPU, so that the artifact is opened on this machine by the fastest.
        web: the npm package of onnxruntime-web, as a folder or as `npm pack` leaves it, for a page that draws in
            a browser; None: no page.
        asked: of the checkpoint's family alone; see `families.registry.FLAGS`.
    """

    checkpoint: Path
    steps: int | None = None
    fp16: bool = False
    config: Path | None = None
    out: Path | None = None
    weights: Weights = "ema"
    overwrite: bool = False
    verify: bool = True
    engine: EngineChoice = "auto"
    engine_options: EngineOptions = _DEFAULT_ENGINE_OPTIONS
    serving: Serving = DEFAULT_SERVING
    int8: bool = False
    loop: LoopChoice = "auto"
    tune: bool = False
    web: Path | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> Path:
        """The artifact's folder; ``steps`` or ``out`` must be known."""
        assert self.steps is not None or self.out is not None
        suffix = "" if self.precision == "fp32" else f"-{self.precision}"
        return self.out or Path(f"{self.checkpoint.stem}-T{self.steps}{suffix}")

    @property
    def precision(self) -> Precision:
        """The artifact's precision."""
        return "int8" if self.int8 else "fp16" if self.fp16 else "fp32"

    @property
    def symmetric(self) -> bool:
        """Whether int8's zero points must be zero: where TensorRT is asked for, which knows no others."""
        return self.engine in TITLES

    def __post_init__(self) -> None:
        for name in ("checkpoint", "config", "out", "web"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))

    def check(self) -> None:
        """Refuses what is wrong whatever the checkpoint holds.

        Raises:
            InputError: two precisions, steps out of range, no such checkpoint file, or a target that may not be
                written.
        """
        if self.fp16 and self.int8:
            raise InputError("--int8 does not go with --fp16: give one of them")
        if self.loop not in get_args(LoopChoice):
            raise InputError(f"loop {self.loop!r} is unknown: give one of {', '.join(get_args(LoopChoice))}")
        if self.int8 and self.loop == "always":
            raise InputError(
                "--int8 does not go with --loop always, since it has scales for each step: leave one of them out"
            )
        if self.engine not in get_args(EngineChoice):
            raise InputError(f"engine {self.engine!r} is unknown: give one of {', '.join(get_args(EngineChoice))}")
        self.engine_options.check()
        check_serving(self.serving)
        check_cpu_engine(self.serving, self.precision, self.verify)
        if self.engine_options.refittable and not self.verify:
            # "Enabling BuilderFlag::kREFIT may produce incorrect numerical output" (TensorRT 11.3, known issues).
            raise InputError(
                "--refittable needs the gates, since it can change what TensorRT computes: leave --no-verify out"
            )
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps {self.steps} is out of range: give 1 or more")
        for path in (self.checkpoint, self.config):
            if path is not None and not path.exists():
                raise InputError(f"{path} does not exist: give the path of an existing file")
        if self.steps is not None or self.out is not None:
            check_target(self.target, self.overwrite)
