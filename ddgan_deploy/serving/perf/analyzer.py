"""One run of perf_analyzer: its command line, its files, and what they say.

perf_analyzer's synchronous mode is used: its thread i of n sends the steps i, i+n, i+2n, … of the data file and begins
again at the file's end, so no seed comes twice before all have come. In its asynchronous mode, and after its own
warm-up, seeds come again at once, and the server would have kept their images.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.serving.address import Address

_WINDOWS = 3
"""It calls a result stable after as many windows at least, and reports all of them together."""
_MOST_BYTES = 1 << 30
"""Of the file of requests, which perf_analyzer reads whole."""
_PATIENCE = 120.0
"""Seconds beyond the measurement after which perf_analyzer is taken for stuck."""
_THREAD_ERROR = re.compile(r"^Thread \[\d+\] had error: (?:\[request id: [^\]]*\] )?(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Load:
    """What perf_analyzer is to do.

    Attributes:
        concurrency: requests in flight at all times.
        requests: file of them, as `write_requests` writes it.
    """

    address: Address
    model: str
    concurrency: int
    requests: Path


@dataclass(frozen=True)
class Client:
    """What perf_analyzer measured as the client.

    Attributes:
        requests: that were answered within the measurement.
        images_per_s: of them.
        p50_ms, p90_ms, p95_ms, p99_ms: percentiles of their latency.
    """

    requests: int
    images_per_s: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float


class LoadError(GateError):
    """perf_analyzer could not keep up the load.

    Attributes:
        errors: of its threads, each of which ends at its first error; 0 where it is no request that failed.
    """

    def __init__(self, reason: str, errors: int) -> None:
        super().__init__(reason)
        self.errors = errors


def write_requests(path: Path, seeds: Sequence[int], knobs: Mapping[str, npt.NDArray[Any]]) -> None:
    """A data file for perf_analyzer, one seed a request.

    Args:
        path: of the file.
        seeds: in their order.
        knobs: values [n, ...] of each, by name, at which the requests take turns, each with its own n.

    Raises:
        InputError: the file would be larger than perf_analyzer reads in reasonable time.
    """
    told = {name: [_content(value) for value in values] for name, values in knobs.items()}
    size = sum(len(json.dumps(contents[0])) for contents in told.values())
    if size * len(seeds) > _MOST_BYTES:
        most = _MOST_BYTES // size
        raise InputError(f"--seeds {len(seeds)} with their {', '.join(knobs)} fill a gigabyte: give at most {most}")
    rows = ({name: contents[i % len(contents)] for name, contents in told.items()} for i in range(len(seeds)))
    path.write_text(json.dumps({"data": [{"seed": [seed], **row} for seed, row in zip(seeds, rows, strict=True)]}))


def _content(value: npt.NDArray[Any]) -> object:
    """Of a request's input: numbers as they are, a picture as bytes."""
    if value.dtype == "uint8":
        return {"b64": base64.b64encode(value.tobytes()).decode()}
    return value.ravel().tolist()


def warm_up(program: Sequence[str], load: Load, requests: int) -> None:
    """Sends as many requests, and measures nothing.

    Raises:
        GateError: a request fails.
    """
    try:
        _run([*program, *_arguments(load), "--request-count", str(requests)], _PATIENCE)
    except LoadError as error:
        raise GateError(f"the warm-up over {load.address.protocol} failed: {error}") from None


def measure(program: Sequence[str], load: Load, seconds: float, table: Path, requests: Path) -> Client:
    """Keeps up the load and measures it.

    Args:
        program: the command that runs perf_analyzer.
        seconds: of measurement, in windows of a third.
        table: perf_analyzer's CSV goes there.
        requests: its JSON goes there, every request with its seed and times; without the pixels.

    Raises:
        LoadError: a request fails, or none is answered in time.
    """
    command = [*program, *_arguments(load), "--measurement-interval", str(round(1000 * seconds / _WINDOWS))]
    # Every measurement counts as stable, so that there is one of the length that was asked for.
    command += ["--max-trials", str(_WINDOWS), "--stability-percentage", "1000000", "--verbose-csv"]
    stderr = _run([*command, "-f", str(table), "--profile-export-file", str(requests)], seconds + _PATIENCE)
    # The script that comes with the package exits with 0 whatever its program did.
    if not table.is_file() or not requests.is_file():
        raise failure(stderr)
    return parse(table, drop_pixels(requests))


def parse(table: Path, requests: int) -> Client:
    """The one row of perf_analyzer's CSV, where latencies are in microseconds."""
    with table.open(newline="") as file:
        row = next(csv.DictReader(file))
    return Client(
        requests=requests,
        images_per_s=float(row["Inferences/Second"]),
        p50_ms=float(row["p50 latency"]) / 1000,
        p90_ms=float(row["p90 latency"]) / 1000,
        p95_ms=float(row["p95 latency"]) / 1000,
        p99_ms=float(row["p99 latency"]) / 1000,
    )


def drop_pixels(path: Path) -> int:
    """Takes the answers' tensors out of perf_analyzer's JSON, which they make some hundred times larger.

    Returns:
        How many requests it tells of.
    """

    def without_pixels(item: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in item.items() if name != "response_outputs"}

    # Tensors of bytes are in it as they are, so it is no UTF-8; all that is kept is ASCII.
    content = json.loads(path.read_text(encoding="latin-1"), object_hook=without_pixels)
    path.write_text(json.dumps(content))
    return sum(len(experiment["requests"]) for experiment in content["experiments"])


def failure(stderr: str) -> LoadError:
    """Why perf_analyzer failed, on one line."""
    errors = _THREAD_ERROR.findall(stderr)
    if errors:
        return LoadError(errors[0], len(errors))
    if "No valid requests recorded" in stderr:
        return LoadError("no request was answered within a third of the measurement: give a longer --duration", 0)
    lines = [line for line in stderr.splitlines() if line.strip()]
    return LoadError(lines[0].removeprefix("error:").strip() if lines else "perf_analyzer gave no reason", 0)


def _arguments(load: Load) -> list[str]:
    server = ["-i", load.address.protocol, "-u", load.address.netloc, "-m", load.model]
    return [*server, "--sync", "--concurrency-range", str(load.concurrency), "--input-data", str(load.requests)]


def _run(command: Sequence[str], patience: float) -> str:
    """Runs perf_analyzer to its end; gives what it said on stderr."""
    with subprocess.Popen(
        command,
        # A proxy would be measured instead of the server, or would not reach it at all.
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # A group of its own: it is ended whole, wrapper scripts and all, and not by a Ctrl-C that is meant for us.
        start_new_session=True,
    ) as process:
        try:
            _, stderr = process.communicate(timeout=patience)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise LoadError(f"perf_analyzer did not end within {patience:.0f} s", 0) from None
            raise
    if process.returncode != 0:
        raise failure(stderr)
    return stderr
