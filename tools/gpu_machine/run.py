"""Runs the tests or the benchmarks of a GPU machine, one command after the other, and keeps what each said.

    python3 tools/gpu_machine/run.py test|measure [--results DIR] [--minutes N] [--only NAME ...]

Needs no installation: `tools/gpu_machine.sh` sets the places of packages. In the folder of results every command has
NAME.log, benchmarks NAME.json too; run.json tells, after each command, what ran, how it ended and on what GPU.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from inventory import said_by
from jobs import ROOT, Job, measure_jobs, missing, test_jobs

from ddgan_deploy import command
from ddgan_deploy.command import Parser
from ddgan_deploy.errors import InputError

RUN = "run.json"
_QUERY = (
    *("name", "driver_version", "compute_cap", "memory.total", "power.limit", "temperature.gpu"),
    *("clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem"),
)
_SUMMARY = re.compile(r"=+ (.*\b(?:passed|failed|skipped|error|errors|deselected)\b.*) =+")
_ALL_SKIPPED = re.compile(r"\d+ skipped(, \d+ deselected)?( in .*)?")
_GRACE = 10.0
"""Seconds that a command has to end when it is told to."""


def gpu() -> dict[str, str]:
    """What the driver says of the first GPU, its clocks at this moment too; empty where there is none."""
    # Drivers differ in what else they tell.
    return _asked(_QUERY) or _asked(_QUERY[:2])


def _asked(query: Sequence[str]) -> dict[str, str]:
    lines = said_by("nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader").strip().splitlines()
    return dict(zip(query, lines[0].split(", "), strict=False)) if lines else {}


def run(job: Job, results: Path, minutes: float) -> dict[str, Any]:
    """Runs one command to its end or its limit.

    Args:
        minutes: that are left, at most what the job has.

    Returns:
        What run.json keeps of it; ``outcome`` is "done", "failed", "skipped" (all its tests), "cut off",
        "interrupted" or "not run".
    """
    log = results / f"{job.name}.log"
    kept: dict[str, Any] = {"name": job.name, "command": list(job.command), "log": log.name}
    if reason := missing(job):
        return kept | {"outcome": "not run", "said": reason, "seconds": 0.0}
    start = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            job.command,
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **dict(job.environment)},
            start_new_session=True,
        )
        with _ended(process):
            try:
                outcome = "failed" if process.wait(60 * minutes) else "done"
            except subprocess.TimeoutExpired:
                outcome = "cut off"
            except KeyboardInterrupt:
                outcome = "interrupted"
    seconds, said = round(time.monotonic() - start, 1), _last_word(log)
    if outcome == "done" and _ALL_SKIPPED.fullmatch(said):
        outcome = "skipped"
    return kept | {"outcome": outcome, "said": said, "exit_code": process.returncode, "seconds": seconds}


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """At the end of the block the command and all that it started are gone."""
    try:
        yield
    finally:
        for number, wait in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            try:
                process.wait(wait)
            except subprocess.TimeoutExpired:
                continue


def _last_word(log: Path) -> str:
    """pytest's count, or the last line that says something."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    counts = [found[1] for line in lines if (found := _SUMMARY.fullmatch(line))]
    return (counts or lines or [""])[-1][:300]


def run_all(jobs: Sequence[Job], results: Path, minutes: float) -> list[dict[str, Any]]:
    """Runs every job that there is time for, the first first; run.json is written anew after each.

    Raises:
        InputError: the folder cannot be written, or its run.json cannot be read.
        KeyboardInterrupt: a signal ended a job.
    """
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise InputError(f"{results} cannot be written ({error.strerror}): give another folder to --results") from None
    end, done, before = time.monotonic() + 60 * minutes, [], earlier(results)
    for job in jobs:
        left = min(job.minutes, (end - time.monotonic()) / 60)
        print(f"{job.name}: {shlex.join(job.command)}", flush=True)
        here = {"gpu": gpu(), "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")}
        if left <= 0:
            last: dict[str, Any] = {"name": job.name, "outcome": "not run", "said": "no time was left", "seconds": 0.0}
        else:
            last = run(job, results, left) | {"gpu_after": gpu()}
        done.append(last | here)
        print(f"  {last['outcome']} in {last['seconds']:.0f} s: {last['said']}", flush=True)
        _write(results, before, done)
        if last["outcome"] == "interrupted":
            raise KeyboardInterrupt("interrupted: what ran before is kept")
    return done


def earlier(results: Path) -> list[dict[str, Any]]:
    """What earlier calls left.

    Raises:
        InputError: it cannot be read.
    """
    path = results / RUN
    try:
        return [dict(job) for job in json.loads(path.read_text(encoding="utf-8"))["jobs"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} cannot be read: move it away, or give another folder to --results") from None


def _write(results: Path, before: Sequence[dict[str, Any]], done: Sequence[dict[str, Any]]) -> None:
    """What did not run takes nothing away that did."""
    path, ran = results / RUN, {job["name"] for job in before}
    new = [job for job in done if job["outcome"] != "not run" or job["name"] not in ran]
    names = {job["name"] for job in new}
    partial = path.with_suffix(".partial")
    kept = [*(job for job in before if job["name"] not in names), *new]
    partial.write_text(json.dumps({"jobs": kept}, indent=1) + "\n")
    partial.replace(path)


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is out of range: give more than 0")
    return minutes


def main(argv: Sequence[str] | None = None) -> int:
    """0 where all was done, 1 where something failed, was cut off, did not run or had all its tests skipped.

    Raises:
        InputError: an argument is wrong, or the folder of results cannot be used.
        KeyboardInterrupt: a signal ended the job that ran, which has been noted.
    """
    parser = Parser(prog="gpu_machine.sh", description="Runs what needs an NVIDIA GPU.")
    parser.add_argument("what", choices=("test", "measure"))
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="(default: results)")
    parser.add_argument("--minutes", type=_minutes, default=60.0, metavar="N", help="for all together (default: 60)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these alone")
    parser.add_argument("--list", action="store_true", help="name them, and run nothing")
    args = parser.parse_args(argv)
    here, results = gpu(), args.results.absolute()
    jobs = test_jobs() if args.what == "test" else measure_jobs(results, gpu=bool(here))
    names = [job.name for job in jobs]
    if unknown := set(args.only or ()) - set(names):
        raise InputError(f"--only {' '.join(sorted(unknown))} is unknown: choose from {', '.join(names)}")
    if args.list:
        for job in jobs:
            print(f"{job.name}  {job.minutes:g} min  {shlex.join(job.command)}")
        return 0
    print(f"{here['name']}, driver {here['driver_version']}" if here else "there is no NVIDIA GPU", flush=True)
    done = run_all([job for job in jobs if not args.only or job.name in args.only], results, args.minutes)
    return 0 if all(job["outcome"] == "done" for job in done) else 1


if __name__ == "__main__":
    sys.exit(command.run(main))
