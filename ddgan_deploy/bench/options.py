"""What ddgan-bench is asked to do."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ddgan_deploy.errors import InputError

MAX_BATCH, MAX_RUNS = 65_536, 100_000
PLOT_SUFFIXES = (".png", ".svg")


def _numbers(text: str) -> tuple[int, ...]:
    """Whole numbers from "1,4,16"."""
    if not re.fullmatch(r"\d+(,\d+)*", text):
        # Not an InputError: argparse would take that for a ValueError of its own.
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers, give such as 1,4,16")
    return tuple(int(number) for number in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


@dataclass(frozen=True)
class BenchOptions:
    """What to measure.

    Attributes:
        artifacts: exported folders of one checkpoint, such as one a precision.
        batches: images a run.
        threads: of every engine on the CPU; None: all cores that the process may use.
        runs: of every engine at every batch size.
        seconds: a row is measured no longer than this, but in 3 runs at least.
        engines: names in the order of the table; None: all that there are.
        checkpoint: weights of the PyTorch rows; None: random ones, which take the same time.
        per_op: an engine whose time is told by op; None: none is.
        json, plot: files to write.
        overwrite: replace them.
        timeout: seconds after which an engine that does not answer is given up.
    """

    artifacts: tuple[Path, ...] = field(
        metadata={
            "help": "folder that ddgan-export wrote; several of one checkpoint, such as one a precision",
            "metavar": "DIR",
            "flag": "artifacts",
            "nargs": "+",
            "type": Path,
            "read": tuple,
        }
    )
    batches: tuple[int, ...] = field(
        default=(1, 4, 16, 64),
        metadata={
            "help": "sizes, a list (default: {default})",
            "metavar": "N",
            "flag": "--batch",
            "type": _numbers,
        },
    )
    threads: int | None = field(
        default=None, metadata={"help": "of every engine on the CPU (default: all cores)", "metavar": "N"}
    )
    runs: int = field(default=10, metadata={"help": "of every row (default: {default})", "metavar": "N"})
    seconds: float = field(
        default=30.0, metadata={"help": "a row ends then, after 3 runs or more (default: {default})", "metavar": "S"}
    )
    engines: tuple[str, ...] | None = field(
        default=None,
        metadata={
            "help": "a list such as pytorch-eager,onnxruntime (default: all; a wrong name lists them)",
            "metavar": "NAMES",
            "read": _names,
        },
    )
    checkpoint: Path | None = field(
        default=None,
        metadata={
            "help": "weights of the PyTorch rows (default: random ones, as fast)",
            "metavar": "FILE",
            "flag": "--ckpt",
        },
    )
    per_op: str | None = field(
        default=None,
        metadata={"help": "tell where this engine's time goes, at the smallest batch", "metavar": "ENGINE"},
    )
    json: Path | None = field(default=None, metadata={"help": "write all figures and the machine's", "metavar": "FILE"})
    plot: Path | None = field(
        default=None, metadata={"help": "draw images/s over batch, .png or .svg", "metavar": "FILE"}
    )
    overwrite: bool = field(default=False, metadata={"help": "replace existing files"})
    timeout: float = 1800.0

    @property
    def cores(self) -> int:
        """Threads of every engine."""
        return self.threads or len(os.sched_getaffinity(0))

    def check(self) -> None:
        """Refuses what cannot be measured or written, before anything is.

        Raises:
            InputError: an option is out of range, an engine unknown, or a file cannot be written.
        """
        # Here, not where --help needs the options.
        from ddgan_deploy.bench.names import FROM_WEIGHTS, check_engines, device_of
        from ddgan_deploy.engines import MAX_THREADS

        if not self.artifacts:
            raise InputError("no artifact is given: give a folder that ddgan-export wrote")
        _check_range("--batch", self.batches, MAX_BATCH)
        _check_range("--runs", (self.runs,), MAX_RUNS)
        if self.threads is not None:
            _check_range("--threads", (self.threads,), MAX_THREADS)
        if len(set(self.batches)) != len(self.batches):
            raise InputError("--batch names a size twice: give each once")
        if not 0 < self.seconds <= 86_400:
            raise InputError(f"--seconds {self.seconds:g} is out of range: give more than 0, up to 86400")
        if self.engines is not None and not self.engines:
            raise InputError("--engines names none: leave it out for all")
        check_engines([*(self.engines or ())])
        if self.per_op:
            check_engines([self.per_op])
            if self.per_op in FROM_WEIGHTS or device_of(self.per_op) != "cpu":
                raise InputError(f"--per-op {self.per_op} runs no artifact on the CPU: choose such as onnxruntime")
        if self.json and self.plot and self.json.absolute() == self.plot.absolute():
            raise InputError(f"--json and --plot are both {self.json}: give two names")
        for path in filter(None, (self.json, self.plot)):
            _check_writable(path, self.overwrite)
        if self.plot:
            _check_plot(self.plot)


def _check_range(name: str, values: Sequence[int], most: int) -> None:
    if not values or not all(1 <= value <= most for value in values):
        raise InputError(f"{name} {','.join(map(str, values))} is out of range: give 1..{most}")


def _check_plot(path: Path) -> None:
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise InputError(f"--plot {path} is neither PNG nor SVG: give a name that ends in {' or '.join(PLOT_SUFFIXES)}")
    # It wants a package that may be missing; told before the minutes of measurement.
    from ddgan_deploy.bench import plot as plot


def _check_writable(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a file name")
    if (path.exists() or path.is_symlink()) and not overwrite:
        raise InputError(f"{path} exists already: give --overwrite to replace it, or another name")
    nearest = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): choose another place") from None
