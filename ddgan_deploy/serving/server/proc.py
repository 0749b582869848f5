"""What Linux tells of processes (proc(5))."""

from __future__ import annotations

from pathlib import Path


def session(leader: int) -> list[int]:
    """Process ids of a session, its leader's among them."""
    pids = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if int(stat(pid)[1][3]) == leader]


def stat(pid: int) -> tuple[str, list[str]]:
    """Name of a process, and its fields from the state on (proc_pid_stat(5)); those of a dead one where it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        text = ""
    start, _, fields = text.rpartition(")")
    return start.partition("(")[2], fields.split() or ["X", *["0"] * 12]
