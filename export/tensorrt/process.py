"""An engine built in a process of its own.

TensorRT holds the interpreter for minutes, writes to the screen past its logger, keeps gigabytes, and where
it crashes it takes its process along. Here an interruption ends it at once, and a crash is one line.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.export.tensorrt import build as tensorrt_engine
from ddgan_deploy.export.tensorrt.job import EngineJob, log_path
from ddgan_deploy.progress import Report, silent

_PR_SET_PDEATHSIG = 1
_CALLBACK = "Exception caught in"
_COMMAND = (sys.executable, "-P", "-m", "ddgan_deploy.export.tensorrt.process")


def build_engine(job: EngineJob, report: Report = silent) -> float:
    """As `tensorrt_engine.build_engine`; what the builder writes to the screen goes to the log.

    Raises:
        InputError: the runtime is not installed.
        GateError: it cannot build the engine, or crashes.
    """
    output = job.plan.with_name(job.plan.name + ".output")
    # Kernels are compiled there, not interpreted.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    try:
        with output.open("wb") as file:
            process = subprocess.Popen(
                _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, env=environment
            )
        try:
            seconds = _result(process, job, report)
        except EOFError:
            raise GateError(_crash(job, process.wait(), output)) from None
        except GateError as error:
            raise GateError(f"{error}{_callback_error(output)}") from None
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        with log_path(job.plan).open("ab") as log:
            log.write(output.read_bytes())
        return seconds
    finally:
        output.unlink(missing_ok=True)


def _result(process: subprocess.Popen[bytes], job: EngineJob, report: Report) -> float:
    """Hands over the job, and reads messages until the last.

    Raises:
        EOFError: the process ended without one.
    """
    assert process.stdin is not None and process.stdout is not None
    try:
        with process.stdin as stdin:
            pickle.dump(job, stdin)
    except BrokenPipeError:
        raise EOFError from None
    while True:
        message = pickle.load(process.stdout)
        if isinstance(message, Exception):
            raise message
        if isinstance(message, float):
            return message
        report(*message)


def _callback_error(output: Path) -> str:
    """What a plugin raised, which TensorRT prints and does not log."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    said = next((line.partition(_CALLBACK)[2].strip(" :") for line in lines if _CALLBACK in line), "")
    return f"; a plugin failed ({said})" if said else ""


def _crash(job: EngineJob, code: int, output: Path) -> str:
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    lines = output.read_text(encoding="utf-8", errors="replace").split("\n")
    last = next((f": {line.strip()}" for line in reversed(lines) if line.strip()), "")
    return f"{job.title} ended {how} while it built {job.onnx.name}{last}"


def _main() -> None:
    # Ctrl-C reaches all processes of a terminal; the one that waits for this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # And where that one is killed, this one ends too.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with os.fdopen(os.dup(1), "wb") as channel:
        # What libraries print must not come between the messages.
        os.dup2(2, 1)
        _send(channel, _outcome(pickle.load(sys.stdin.buffer), channel))


def _outcome(job: EngineJob, channel: BinaryIO) -> float | Exception:
    try:
        return tensorrt_engine.build_engine(job, lambda share, what: _send(channel, (share, what)))
    except (InputError, GateError, OSError) as error:
        return error


def _send(channel: BinaryIO, message: object) -> None:
    pickle.dump(message, channel)
    channel.flush()


if __name__ == "__main__":
    _main()
