"""An engine built in a process of its own.

TensorRT holds the interpreter for minutes, writes to the screen past its logger, keeps gigabytes, and where
it crashes it takes its process along. Here an interruption ends it at once, and a crash is one line.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ddgan_deploy.errors import GateError
from ddgan_deploy.export.tensorrt import build as tensorrt_engine
from ddgan_deploy.export.tensorrt.job import EngineJob, log_path
from ddgan_deploy.processes import Worker, WorkerEnded, serve
from ddgan_deploy.progress import Report, silent

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
        with Worker(_COMMAND, output, environment) as worker:
            seconds: float = worker.ask(job, report)
            # The engine is written; TensorRT would take seconds to take itself apart.
            worker.close(patience=0)
        with log_path(job.plan).open("ab") as log:
            log.write(output.read_bytes())
        return seconds
    except WorkerEnded as ended:
        raise GateError(f"{job.title} ended {ended.how} while it built {job.onnx.name}{ended.last}") from None
    except GateError as error:
        raise GateError(f"{error}{_callback_error(output)}") from None
    finally:
        output.unlink(missing_ok=True)


def _callback_error(output: Path) -> str:
    """What a plugin raised, which TensorRT prints and does not log."""
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    said = next((line.partition(_CALLBACK)[2].strip(" :") for line in lines if _CALLBACK in line), "")
    return f"; a plugin failed ({said})" if said else ""


if __name__ == "__main__":
    serve(tensorrt_engine.build_engine)
