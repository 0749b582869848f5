"""A worker whose engines do what the environment variable STAND_IN says of each: JSON, engine -> behaviour."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from ddgan_deploy.bench.jobs import Job, PerOpJob, RateJob
from ddgan_deploy.bench.results import Opened
from ddgan_deploy.bench.worker import main as worker
from ddgan_deploy.engines.base import OpTime
from ddgan_deploy.errors import InputError
from ddgan_deploy.processes import serve

BEHAVIOURS = json.loads(os.environ.get("STAND_IN", "{}"))


class StandIn:
    """An engine: a number is how many seconds an image takes, or a run by batch size; words are how it fails."""

    def __init__(self, job: Job) -> None:
        self.job, self.batch = job, 0
        if isinstance(job, RateJob):
            return
        self.behaviour = BEHAVIOURS.get(job.engine, 0.001)
        if self.behaviour == "not here":
            raise InputError("it is not installed: install it")
        if self.behaviour == "breaks":
            raise ValueError("first line\nsecond line")

    def opened(self) -> Opened:
        return Opened(0.5, 1.5)

    def prepare(self, batch: int) -> None:
        self.batch = batch
        if self.behaviour == "refuses batch 2" and batch == 2:
            raise RuntimeError("batch 2 is too large")

    def measure(self) -> object:
        if isinstance(self.job, RateJob):
            return {device: {"float32": 1e11, "copy": 1e10} for device in self.job.wanted}
        if isinstance(self.job, PerOpJob):
            return [OpTime("a node of its own", "Reorder", 2.0)]
        if self.behaviour == "dies":
            print("out of luck", file=sys.stderr, flush=True)
            os.abort()
        if self.behaviour == "hangs":
            time.sleep(1000)
        if self.behaviour == "starts a process":
            return subprocess.Popen(["sleep", "1000"]).pid
        if isinstance(self.behaviour, dict):
            return self.behaviour[str(self.batch)]
        return (0.001 if isinstance(self.behaviour, str) else self.behaviour) * self.batch

    def memory(self) -> tuple[float, None]:
        return 100.0 + self.batch, None


if __name__ == "__main__":
    worker.open_job = StandIn
    serve(worker.Answers())
