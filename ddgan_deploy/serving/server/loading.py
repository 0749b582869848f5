"""Whether a server that loads gets on, by what its processes do.

Triton Inference Server 2.51 can stand still for ever while it starts a process of its python backend: it says nothing
more, and the threads by which its processes show that they live go on. Loading computes, reads, starts processes or
says something.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving.server.proc import session, stat

POLL_SECONDS = 0.1
STILL_POLLS = 1200
"""So many polls without progress are a stand-still; not seconds, since who polls may be stopped as well."""
_LOOKED_EVERY = 10
"""Polls, since a look reads all of /proc."""
_ALIVE = 0.01
"""Of a processor: below it a process only shows that it lives (0.12 % measured)."""
_PROGRAM = "tritonserver"
_IO = "/proc/{pid}/io"
_TICK = 1 / os.sysconf("SC_CLK_TCK")


class StandsStill(InputError):
    """A server stands still while it loads."""


class Loading:
    """What a server has done since it last got on; one that a script has started elsewhere, as in a container, is not
    judged.

    Args:
        server: its process id, or that of a script that has started it; the leader of their session.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self._polls = 0
        self._last = 0
        self._said = -1
        self._work: dict[int, _Work] = {}

    def poll(self, said: int) -> None:
        """To be called every `POLL_SECONDS`.

        Args:
            said: how many lines it has said so far.

        Raises:
            StandsStill: it has done nothing for `STILL_POLLS`.
        """
        self._polls += 1
        if self._polls % _LOOKED_EVERY:
            return
        work = {pid: _Work.of(pid) for pid in session(self._server)}
        if said != self._said or self._gets_on(work):
            self._said, self._work, self._last = said, work, self._polls
        if self._polls - self._last >= STILL_POLLS:
            seconds = STILL_POLLS * POLL_SECONDS
            raise StandsStill(f"the server has stood still for {seconds:g} s while it loaded: start it again")

    def _gets_on(self, work: Mapping[int, _Work]) -> bool:
        if work.keys() != self._work.keys() or not any(each.program == _PROGRAM for each in work.values()):
            return True
        return any(each.since(self._work[pid]) for pid, each in work.items())


@dataclass(frozen=True)
class _Work:
    """What a process has done since it began.

    Attributes:
        program: the name of the file that it runs, of a script its interpreter's; "" where it is gone.
        seconds: of a processor.
        read: bytes, from files, pipes and sockets; None where the kernel does not tell.
    """

    program: str
    seconds: float
    read: int | None

    @classmethod
    def of(cls, pid: int) -> _Work:
        fields = stat(pid)[1]
        try:
            program = Path(f"/proc/{pid}/exe").readlink().name
        except OSError:
            program = ""
        try:
            first = Path(_IO.format(pid=pid)).read_text().splitlines()[0]
        except (OSError, IndexError):
            first = ""
        read = int(first.removeprefix("rchar: ")) if first.startswith("rchar: ") else None
        return cls(program, (int(fields[11]) + int(fields[12])) * _TICK, read)

    def since(self, before: _Work) -> bool:
        """Whether it may have done something since."""
        if self.read is None or self.read != before.read:
            return True
        return self.seconds - before.seconds > _ALIVE * STILL_POLLS * POLL_SECONDS
