"""What ddgan-bench is asked to do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.engines import MAX_THREADS
from ddgan_deploy.errors import InputError

MAX_BATCH, MAX_RUNS = 65_536, 100_000
PLOT_SUFFIXES = (".png", ".svg")


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

    artifacts: tuple[Path, ...]
    batches: tuple[int, ...] = (1, 4, 16, 64)
    threads: int | None = None
    runs: int = 10
    seconds: float = 30.0
    engines: tuple[str, ...] | None = None
    checkpoint: Path | None = None
    per_op: str | None = None
    json: Path | None = None
    plot: Path | None = None
    overwrite: bool = False
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
        from ddgan_deploy.bench.names import FROM_WEIGHTS, check_engines, device_of

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
