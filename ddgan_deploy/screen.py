"""What commands print: lines, tables, the stops of long work. All of it is plain text, whatever names it holds."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ddgan_deploy.names import printable

if TYPE_CHECKING:
    from rich.console import Console

PATIENCE = 10.0
"""Seconds of work without a terminal of which nothing is said yet, so that a wrong input is one line on stderr."""
INTERVAL = 30.0
"""Seconds from one sign of life of a stop to the next, where there is no terminal."""


def take_any_text() -> None:
    """Has stdout and stderr show as escapes what their encoding lacks: finished work must not fail at its last line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """Prints one line on stdout, at once: what came of the work."""
    _stops.release()
    print(printable(line), flush=True)


def note(line: str) -> None:
    """Prints one line on stderr, at once: a note or an error; nothing where the caller has closed it."""
    if sys.stderr is not None:
        print(printable(line), file=sys.stderr, flush=True)


@dataclass
class Table:
    """A table of a result; its last ``numbers`` columns are flush right."""

    columns: tuple[str, ...]
    numbers: int = 0
    show_header: bool = True
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add_row(self, *cells: str) -> None:
        """One more row, a cell a column."""
        self.rows.append(cells)


def table_of(*columns: str, numbers: int = 0) -> Table:
    """An empty table."""
    return Table(columns, numbers)


def print_table(table: Table) -> None:
    """Prints a table on stdout."""
    from rich import box
    from rich.table import Table as Rendered

    rendered = Rendered(box=box.SIMPLE_HEAD, show_header=table.show_header)
    for place, column in enumerate(table.columns, start=table.numbers - len(table.columns)):
        rendered.add_column(column, overflow="fold", justify="right" if place >= 0 else "left")
    for row in table.rows:
        rendered.add_row(*map(printable, row))
    console = _console()
    if console.is_terminal and os.isatty(1):
        console.print(rendered)
        return
    # A log has no width, and a name in it is found only in one piece.
    console.width = rendered.__rich_measure__(console, console.options.update(max_width=1 << 16)).maximum
    with console.capture() as text:
        console.print(rendered)
    for line in text.get().splitlines():
        print(line.rstrip())


class StepList:
    """The stops of a work with their times, on stderr.

    On a terminal they are ticked off, with a bar. Elsewhere each is a line when it has ended, and a long one says now
    and then that it goes on: after `PATIENCE`, or before the first line on stdout, so that of work that soon fails the
    error is all that is said.
    """

    def __init__(self) -> None:
        self._terminal = _console(stderr=True)
        _stops.begin()

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[float, str], None]]:
        """One stop; what it yields may be told how far the stop is, 0..1, and what it does."""
        start = time.monotonic()
        shown = _bar(self._terminal, name) if self._terminal.is_terminal else _life_signs(name)
        with shown as report:
            yield report
        line = f"{printable(name):<34}{time.monotonic() - start:8.1f} s"
        if self._terminal.is_terminal:
            from rich.text import Text

            self._terminal.print(Text.assemble(("✓", "green"), f" {line}"))
        else:
            _stops.add(line)


def _console(stderr: bool = False) -> Console:
    """The one place where rich is told that text is no markup."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


@contextlib.contextmanager
def _bar(console: Console, name: str) -> Iterator[Callable[[float, str], None]]:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    title, what_is_done = (TextColumn(text, markup=False) for text in ("{task.description} ...", "{task.fields[what]}"))
    with Progress(SpinnerColumn(), title, BarColumn(), what_is_done, console=console, transient=True) as bar:
        task = bar.add_task(printable(name), total=None, what="")
        yield lambda share, what: bar.update(task, total=1.0, completed=share, what=printable(what))


@contextlib.contextmanager
def _life_signs(name: str) -> Iterator[Callable[[float, str], None]]:
    start, ended = time.monotonic(), threading.Event()
    known: list[str] = []

    def report(share: float, what: str) -> None:
        known[:] = [f"{share:.0%} done", what] if what else [f"{share:.0%} done"]

    def tell() -> None:
        pause = PATIENCE
        while not ended.wait(pause):
            _stops.add(", ".join((f"{name} ... {time.monotonic() - start:.0f} s so far", *known)))
            _stops.release()
            pause = INTERVAL

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield report
    finally:
        ended.set()
        teller.join()


class _Stops:
    """Lines of the stops that are over: held back at first, and let go by time or by what is said of success."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Forgets the lines of an earlier work."""
        with self._lock:
            self._since = time.monotonic()
            self._held: list[str] = []

    def add(self, line: str) -> None:
        with self._lock:
            self._held.append(line)
        if time.monotonic() - self._since >= PATIENCE:
            self.release()

    def release(self) -> None:
        """Prints the lines; where nobody takes them the work goes on."""
        with self._lock, contextlib.suppress(OSError):
            held, self._held = self._held, []
            for line in held:
                note(line)


_stops = _Stops()
