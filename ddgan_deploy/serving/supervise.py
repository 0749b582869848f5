"""Keep a server running: end it at a signal, and start it anew when a process of its python backend has died.

Triton Inference Server 2.51 goes on without such a process: it says that it is ready, fails every request, and does not
answer the one that was under way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import FrameType

from ddgan_deploy.errors import InputError
from ddgan_deploy.serving.launch import RunningServer, started
from ddgan_deploy.serving.options import ServerOptions

_STUB = "triton_python_b"
"""Name of the python backend's processes, as the kernel cuts it."""
_WATCH_SECONDS = 0.25
_LAST_ANSWERS = 2.0
"""Seconds for what other processes are still computing when one has died."""


class Supervisor:
    """Runs a server until it ends by itself or is told to.

    Args:
        options: what to serve, and where.
        log: takes a line.
        ready: told once where the server listens.
    """

    def __init__(
        self, options: ServerOptions, log: Callable[[str], None], ready: Callable[[ServerOptions], None]
    ) -> None:
        self._options = options
        self._log = log
        self._ready = ready
        self._server: RunningServer | None = None
        self._ending = False
        self._told = False

    def run(self) -> int:
        """The exit code of the server.

        Raises:
            InputError: the server cannot be started.
        """
        while not self._ending:
            with started(self._options, self._log) as self._server:
                code = self._run_once(self._server)
            if code is not None:
                return code
        return 0

    def forward(self, number: int, frame: FrameType | None = None) -> None:
        """A signal handler: tells the server to end."""
        self._ending = True
        if self._server is not None:
            # Not SIGINT, which it does not hear for a moment while it starts.
            self._server.process.terminate()

    def _run_once(self, server: RunningServer) -> int | None:
        """The server's exit code, or None where it has to be started anew."""
        if self._ending:
            # A signal came before there was a server to pass it on to.
            server.process.terminate()
        try:
            server.wait_ready()
        except InputError:
            if not self._ending:
                raise
            # Nothing was under way, so this end is as good as any, though a server that loads may not have heard.
            return 0
        # Started anew, it listens on the same ports.
        self._options = server.options
        if not self._told:
            self._ready(server.options)
            self._told = True
        # With model control on, they also end when a model is loaded anew.
        controlled = any(option.startswith("--model-control-mode") for option in server.options.extra)
        stubs = [] if controlled else python_processes(server.process.pid)
        while (code := server.poll(_WATCH_SECONDS)) is None:
            dead = [pid for pid in stubs if not _runs(pid)]
            if dead and not self._ending:
                self._log(f"process {dead[0]} of the python backend has died: the server is started anew\n")
                server.stop(_LAST_ANSWERS)
                return None
        return code


def python_processes(server: int) -> list[int]:
    """Processes of the python backend, one an instance of a model.

    Args:
        server: process id of the server.
    """
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        name, state = _stat(stat)
        if name == _STUB and int(state[1]) == server:
            found.append(int(stat.parent.name))
    return found


def _runs(pid: int) -> bool:
    name, state = _stat(Path(f"/proc/{pid}/stat"))
    return name == _STUB and state[0] not in "ZX"


def _stat(path: Path) -> tuple[str, list[str]]:
    """Name of a process, and its fields from the state on; "" and zeros where it is gone (proc_pid_stat(5))."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return "", ["X", "0"]
    start, _, fields = text.rpartition(")")
    return start.partition("(")[2], fields.split()
