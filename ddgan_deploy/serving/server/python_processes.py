"""The processes of the server's python backend, one an instance of a model: whether they live, and whether they run.

Such a process has threads that wake many times a second, whatever it does (`heartbeat`, and one of the server's own),
and the kernel counts how often its threads were given a processor: a sign of life that it need not send, and that
neither a long computation nor an interpreter's lock holds up.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from ddgan_deploy.serving.server.proc import session, stat

_NAME = "triton_python_b"
"""As the kernel cuts it."""
_STILL_POLLS = 4
"""So many polls in a row without a sign of life are a stall; not seconds, since who polls may be stopped as well."""
_LISTED_EVERY = 2
"""Polls after which processes are looked for where new ones may come, since that reads all of /proc."""
_SWITCHES = re.compile(r"^\w*voluntary_ctxt_switches:\s+(\d+)$", re.MULTILINE)


class PythonProcesses:
    """The processes of one server.

    Args:
        server: its process id, or that of a script that has started it; the leader of their session.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self._polls = 0
        self._settled = False
        self._known: set[int] = set()
        self._switches: dict[int, int | None] = {}
        self._still: Counter[int] = Counter()

    def poll(self, settled: bool) -> tuple[list[int], list[int]]:
        """Process ids of those that have died, and of those that stand still.

        Args:
            settled: whether no new ones come; until then one stands still only where a signal has stopped it.
        """
        if not self._settled and (settled or self._polls % _LISTED_EVERY == 0):
            self._known.update(python_processes(self._server))
        self._settled = settled
        self._polls += 1
        states = {pid: _state(pid) for pid in self._known}
        dead = [pid for pid, state in states.items() if not state]
        stalled = [pid for pid, state in states.items() if state == "T" or (state and settled and self._is_still(pid))]
        return dead, stalled

    def _is_still(self, pid: int) -> bool:
        switches = context_switches(pid)
        same = switches is not None and switches == self._switches.get(pid)
        self._still[pid] = self._still[pid] + 1 if same else 0
        self._switches[pid] = switches
        return self._still[pid] >= _STILL_POLLS


def python_processes(server: int) -> list[int]:
    """Process ids of the python backend's processes that live.

    Args:
        server: as of `PythonProcesses`.
    """
    return [pid for pid in session(server) if _state(pid) and _has_arguments(pid)]


def context_switches(pid: int) -> int | None:
    """How often a process's threads have been given a processor; None where the kernel does not tell, as gVisor's."""
    counts: list[str] = []
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            counts += _SWITCHES.findall(path.read_text(errors="replace"))
        except OSError:  # the thread has ended
            continue
    return sum(map(int, counts)) if counts else None


def _has_arguments(pid: int) -> bool:
    """Without, the server only tries whether the program starts."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().count(b"\0") > 1
    except OSError:
        return False


def _state(pid: int) -> str:
    """A letter; "" where a process is none of the python backend's, or dead."""
    name, fields = stat(pid)
    return fields[0] if name == _NAME and fields[0] not in "ZX" else ""
