"""ddgan-serve as a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from tests.ddgan_deploy.serving.traffic import children


@contextlib.contextmanager
def command(repository: Path, log: Path, *options: str) -> Iterator[SimpleNamespace]:
    """The command on free ports, with its log in a file: its ``process``, and the addresses that it prints."""
    ports = [option for name in ("http", "grpc", "metrics") for option in (f"--{name}-port", "0")]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "ddgan_deploy.cli.serve", "--repository", str(repository), *ports, *options],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    said = "".join(itertools.takewhile(lambda line: not line.startswith("try:"), process.stdout))
    addresses = {name.lower(): address for name, address in re.findall(r"(\w+) +\w+://([\d.:]+)", said)}
    try:
        yield SimpleNamespace(process=process, **addresses)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def server_of(served: SimpleNamespace) -> int | None:
    """The process id of the server that a command has started; None while there is none."""
    servers = [pid for pid, program in children(served.process.pid).items() if "--model-repository" in program]
    return servers[0] if servers else None
