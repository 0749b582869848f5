"""A process of the python backend that ends itself where it stood still: its next answer could go to another request.

Triton Inference Server 2.51 hands a batch to such a process and waits for the answer a second at a time. A thread of
the process says every 0.3 seconds that all is well; a second without that (a stopped process, a machine that swaps, a
clock that was set) and the server gives the batch up and goes on to the next. It does not tell the process, and takes
the next answer that comes, which is the one to the batch that it gave up.
"""

from __future__ import annotations

import os
import signal
import threading
import time

LONGEST_PAUSE = 0.6
"""Seconds between two beats; the server gives a batch up after 0.7 at the earliest."""
_BEAT_SECONDS = 0.05


class Heartbeat:
    """Notices that the process stood still, and ends it with SIGKILL before it answers again.

    Before `start`, `beat` does nothing.
    """

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None

    def start(self) -> None:
        """From now on it beats by itself, on a thread of its own.

        That thread needs the interpreter's lock: start it when libraries have been loaded, which may hold it for long.
        """
        self._last = _clocks()
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def beat(self) -> None:
        """Ends the process where the last beat is too long ago; to be called around what must not be late, too."""
        if self._last is None:
            return
        now = _clocks()
        pause = max(there - here for there, here in zip(now, self._last, strict=True))
        if pause > LONGEST_PAUSE:
            # Not through the server's log, whose thread may wait for the server.
            os.write(2, b"process %d of the python backend stood still for %.1f s: it ends\n" % (os.getpid(), pause))
            os.kill(os.getpid(), signal.SIGKILL)
        self._last = now

    def _run(self) -> None:
        while True:
            time.sleep(_BEAT_SECONDS)
            self.beat()


def _clocks() -> tuple[float, float]:
    # The server waits by the second one, which also goes on while a laptop sleeps.
    return time.monotonic(), time.time()
