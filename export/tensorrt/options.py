"""How a TensorRT engine is to be built, and what of it can be refused before any work."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ddgan_deploy.artifact.engine_files import TITLES, BatchProfile, Compatibility, Kernels, Runtime
from ddgan_deploy.cli.arguments import option_name
from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    from ddgan_deploy.sampler import Precision

EngineChoice = Literal["auto", "none", "tensorrt", "tensorrt-rtx"]
KernelChoice = Literal["auto", "fused", "portable"]

TARGETS = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""Compute capabilities that TensorRT-RTX builds for."""
TURING = "7.5"
DEFAULT_TARGETS = ("8.0", "8.6", "8.9", "12.0")
"""Turing apart: an engine that also serves it is slower on the others (TensorRT-RTX support matrix)."""
DEFAULT_PROFILE = BatchProfile(1, 8, 32)
MOST_WORKSPACE = 2**24
MOST_BATCH = 65535
"""The kernels count samples along one side of a grid."""


def parse_batch(text: str) -> BatchProfile:
    """MIN:OPT:MAX, or one size for all three.

    Raises:
        InputError: the text is neither.
    """
    if not re.fullmatch(r"\d{1,6}(:\d{1,6}:\d{1,6})?", text):
        raise InputError(f"--batch {text} is not MIN:OPT:MAX: give such as 1:8:32")
    sizes = [int(part) for part in text.split(":")]
    return BatchProfile(*(sizes if len(sizes) == 3 else sizes * 3))


def parse_target(text: str) -> str:
    """A compute capability as "8.9", from "8.9", "89" or "sm89"; what is none of these stays as it is."""
    match = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", text.lower())
    return f"{match[1]}.{match[2]}" if match else text


def parse_targets(texts: Sequence[str]) -> tuple[str, ...]:
    """Compute capabilities from texts of one or several with commas between, each once."""
    return tuple(dict.fromkeys(parse_target(target) for text in texts for target in text.split(",")))


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is built.

    Attributes:
        profile: batch sizes of its one optimization profile.
        targets: compute capabilities such as "8.9" (TensorRT-RTX); empty: `DEFAULT_TARGETS`.
        kernels: which kernels run the fused ops (TensorRT); "auto": both are built and the faster is kept.
        workspace: MiB that the builder may use for scratch memory; None: all that the GPU has.
        opt_level: the builder's optimization level, 0..5; None: TensorRT's own default.
        version_compatible: later TensorRT versions shall run it too.
        hardware_compatibility: other GPUs that shall run it too.
        refittable: `ddgan-export --refit` shall be able to give it new weights.
    """

    profile: BatchProfile = field(
        default=DEFAULT_PROFILE,
        metadata={
            "help": "batch sizes (default: {default})",
            "metavar": "MIN:OPT:MAX",
            "flag": "--batch",
            "type": str,
            "read": parse_batch,
        },
    )
    targets: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": f"TensorRT-RTX: compute capabilities such as 8.6 or 86, of {', '.join(TARGETS)} "
            f"(default: {', '.join(DEFAULT_TARGETS)})",
            "metavar": "SM",
            "flag": "--target",
            "nargs": "+",
            "read": parse_targets,
        },
    )
    kernels: KernelChoice = field(
        default="auto",
        metadata={
            "help": "TensorRT: fused, our kernels inside; portable, TensorRT's own; auto, the faster here "
            "(default: {default})"
        },
    )
    workspace: int | None = field(
        default=None, metadata={"help": "most scratch memory of the builder's kernels", "metavar": "MIB"}
    )
    opt_level: int | None = field(
        default=None, metadata={"help": "the builder's optimization level", "metavar": "0..5"}
    )
    version_compatible: bool = field(default=False, metadata={"help": "TensorRT: engines that later versions run too"})
    hardware_compatibility: Compatibility = field(
        default="none",
        metadata={
            "help": "TensorRT: engines that other GPUs run too (ampere_plus where no value is given)",
            "flag": "--hardware-compatible",
            "nargs": "?",
            "const": "ampere_plus",
            "choices": ("ampere_plus", "same_compute_capability"),
        },
    )
    refittable: bool = field(default=False, metadata={"help": "TensorRT: engines that --refit can give new weights"})

    @property
    def given(self) -> tuple[str, ...]:
        """The options whose values are not the defaults, as on the command line."""
        return tuple(option_name(each) for each in dataclasses.fields(self) if getattr(self, each.name) != each.default)

    def check(self) -> None:
        """Refuses values out of range.

        Raises:
            InputError: names the value and what it may be.
        """
        least, best, most = self.profile.least, self.profile.best, self.profile.most
        if not 1 <= least <= best <= most <= MOST_BATCH:
            raise InputError(
                f"--batch {self.profile} is not 1 <= MIN <= OPT <= MAX <= {MOST_BATCH}: give such as 1:8:32"
            )
        for target in self.targets:
            if target not in TARGETS:
                raise InputError(f"--target {target!r} is unknown: give some of {', '.join(TARGETS)}")
        if self.workspace is not None and not 1 <= self.workspace <= MOST_WORKSPACE:
            raise InputError(f"--workspace {self.workspace} must be 1..{MOST_WORKSPACE} MiB")
        if self.opt_level is not None and not 0 <= self.opt_level <= 5:
            raise InputError(f"--opt-level {self.opt_level} must be 0..5")

    def check_for(self, runtime: Runtime, precision: Precision) -> None:
        """Refuses what the runtime does not have for graphs of a precision.

        Raises:
            InputError: names the option, and what to give instead.
        """
        title = TITLES[runtime]
        if runtime == "tensorrt" and self.targets:
            raise InputError(
                f"--target is for TensorRT-RTX: {title} builds for the GPU it runs on, leave --target out "
                "or see --hardware-compatible"
            )
        if self.refittable and self.version_compatible:
            raise InputError(
                "--refittable does not go with --version-compatible, whose engines no refitter takes: leave one out"
            )
        if self.refittable and precision == "int8":
            raise InputError(
                "--refittable does not go with --int8, whose scales no refitter was seen to take: leave it out"
            )
        if runtime == "tensorrt-rtx":
            if TURING in self.targets and precision != "fp16":
                raise InputError(
                    f"--target {TURING} is for fp16 alone: {title} has no fp32 products on Turing, give --fp16"
                )
            for given, option, instead in (
                (self.kernels == "fused", "--kernels fused", "it takes no plugins, leave it out"),
                (self.hardware_compatibility != "none", "--hardware-compatible", "give its targets by --target"),
                (self.version_compatible, "--version-compatible", "each of its versions needs an engine of its own"),
                (self.refittable, "--refittable", "its engines are built anew, on any machine"),
            ):
                if given:
                    raise InputError(f"{option} is not for {title}: {instead}")


def builds(kernels: KernelChoice, runtime: Runtime) -> tuple[Kernels, ...]:
    """The kernels to build an engine with; of several the fastest is kept."""
    if runtime == "tensorrt-rtx":
        return ("portable",)
    return ("fused", "portable") if kernels == "auto" else (kernels,)
