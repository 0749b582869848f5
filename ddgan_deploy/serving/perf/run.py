"""Load on a running server: perf_analyzer at one level of concurrency after the other, a seed for every request."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.files import folder_written_whole
from ddgan_deploy.inputs import Array, Knobs, served_knobs
from ddgan_deploy.sampler import Knob
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.address import Address
from ddgan_deploy.serving.client.statistics import ServerStatistics
from ddgan_deploy.serving.installed import find_perf_analyzer
from ddgan_deploy.serving.perf.analyzer import Load, LoadError, measure, warm_up, write_requests
from ddgan_deploy.serving.perf.result import Level, PerfResult, summary

RESULT = "perf.json"
PLOT = "perf.png"
MAX_CONCURRENCY = 1024
MAX_SEEDS = 10_000_000
_REQUESTS = "requests.json"
_END_OF_SEEDS = 2**63

Report = Callable[[float, str], None]
Progress = Callable[[str], contextlib.AbstractContextManager[Report]]
"""Wraps a stop: called with its name, entered when it begins, left when it ends."""


def no_progress(name: str) -> contextlib.AbstractContextManager[Report]:
    """A `Progress` that nobody sees."""
    return contextlib.nullcontext(lambda share, what: None)


@dataclass(frozen=True)
class PerfOptions:
    """What to measure.

    Attributes:
        addresses: of one server, at most one a protocol.
        out: folder of the results.
        concurrency: levels, in their order: so many requests are in flight at all times.
        model: that is asked.
        seconds: of measurement a level.
        seeds: distinct seeds a level; more requests than that begin again, and the server may have kept their images.
        first_seed: seeds count up from here over all levels; None: from anywhere, so that a second run does not find
            what the server keeps of the first.
        warm_up: requests before the first level of an address, which are not measured.
        overwrite: replace the results of an earlier run.
        knobs: where others than the model's defaults are wanted; at several values of one the requests take turns.
    """

    addresses: tuple[Address, ...]
    out: Path
    concurrency: tuple[int, ...] = (1, 2, 4, 8, 16)
    model: str = MODEL
    seconds: float = 5.0
    seeds: int = 65_536
    first_seed: int | None = None
    warm_up: int = 32
    overwrite: bool = False
    knobs: Knobs = field(default_factory=dict)


def run(options: PerfOptions, progress: Progress = no_progress) -> PerfResult:
    """Measures every level, and writes perf.json, perf.png, and perf_analyzer's CSV and JSON of each.

    Raises:
        InputError: the options are wrong, the results are there already, perf_analyzer or a package is missing, nobody
            answers, or the model is not there. Nothing is written.
        GateError: the server went away, or no level could be measured. Nothing is written.
    """
    _check(options)
    first_seed = _first_seed(options)
    program = find_perf_analyzer()
    # Before the minutes of measurement: it wants a package that may be missing.
    from ddgan_deploy.serving.perf.plot import plot

    with contextlib.ExitStack() as clients:
        servers = {address: clients.enter_context(ServerStatistics(address)) for address in options.addresses}
        names = [server.check(options.model) for server in servers.values()]
        known = [server.knobs(options.model) for server in servers.values()]
        if known[0] != known[-1]:
            raise InputError(f"model {options.model} has other knobs at each --url: give the addresses of one server")
        knobs = _turns(known[0], options.knobs)
        with folder_written_whole(options.out) as folder:
            levels = tuple(_levels(options, first_seed, knobs, program, servers, folder, progress))
            if not any(level.client for level in levels):
                raise GateError(_what_failed(levels[0]))
            result = PerfResult(
                server=names[0],
                urls={address.protocol: address.netloc for address in options.addresses},
                model=options.model,
                statistics_of=next(iter(servers.values())).drawn_by(options.model)[0],
                seconds=options.seconds,
                seeds=options.seeds,
                first_seed=first_seed,
                knobs={name: _told(value) for name, value in knobs.items()},
                levels=levels,
            )
            (folder / RESULT).write_text(json.dumps(dataclasses.asdict(result), indent=2) + "\n")
            plot(result, folder / PLOT)
    return result


def _levels(
    options: PerfOptions,
    first_seed: int,
    knobs: Mapping[str, Array],
    program: tuple[str, ...],
    servers: dict[Address, ServerStatistics],
    folder: Path,
    progress: Progress,
) -> Iterator[Level]:
    requests = folder / _REQUESTS
    blocks = itertools.count(first_seed, options.seeds)

    def write() -> None:
        start = next(blocks)
        write_requests(requests, range(start, start + options.seeds), knobs)

    for address, server in servers.items():
        if options.warm_up:
            write()
            with progress(f"Warm up over {address.protocol}"):
                warm_up(program, Load(address, options.model, 1, requests), options.warm_up)
        for concurrency in options.concurrency:
            write()
            with progress(f"{address.protocol} at concurrency {concurrency}"):
                yield _level(
                    program, Load(address, options.model, concurrency, requests), options.seconds, server, folder
                )
    requests.unlink()


def _level(program: tuple[str, ...], load: Load, seconds: float, server: ServerStatistics, folder: Path) -> Level:
    stem = f"{load.address.protocol}-{load.concurrency}"
    model, places = server.drawn_by(load.model)
    before = server.read(model)
    try:
        client = measure(program, load, seconds, folder / f"{stem}.csv", folder / f"{stem}.json")
    except LoadError as error:
        # A server that has gone is no matter of one level.
        server.read(model)
        return Level(load.address.protocol, load.concurrency, None, None, max(error.errors, 1), str(error))
    counted = summary(server.read(model) - before, places)
    return Level(load.address.protocol, load.concurrency, client, counted)


def _turns(known: Sequence[Knob], given: Knobs) -> dict[str, Array]:
    """Values [n, ...] of each knob, at which requests take turns.

    Raises:
        InputError: a knob is unknown, must be given and is not, has no value, or one out of its range.
    """
    for name in given.keys() - {knob.name for knob in known}:
        served_knobs(known, 1, {name: given[name]})
    turns: dict[str, Array] = {}
    for knob in known:
        said = {knob.name: given[knob.name]} if knob.name in given else {}
        turns |= served_knobs([knob], _count(knob, *said.values()), said)
    return turns


def _count(knob: Knob, value: npt.ArrayLike = 0) -> int:
    """How many values there are of a knob."""
    if not isinstance(value, Sized) or np.shape(value) == knob.shape:
        return 1
    if not len(value):
        raise InputError(f"{knob.name} holds no value: give one, or leave it out")
    return len(value)


def _told(values: Array) -> object:
    """What perf.json says of a knob's values."""
    if values.dtype == "uint8":
        return f"{len(values)} pictures, uint8 {list(values.shape[1:])}"
    return np.unique(values).tolist()


def _what_failed(level: Level) -> str:
    return f"{level.protocol} at concurrency {level.concurrency} failed: {level.reason}"


def _first_seed(options: PerfOptions) -> int:
    # Every level and every warm-up has seeds of its own.
    needed = options.seeds * len(options.addresses) * (len(options.concurrency) + 1)
    if options.first_seed is None:
        return secrets.randbelow(_END_OF_SEEDS - needed)
    if not 0 <= options.first_seed <= _END_OF_SEEDS - needed:
        raise InputError(
            f"--first-seed {options.first_seed} leaves no room for {needed} seeds: give 0..{_END_OF_SEEDS - needed}"
        )
    return options.first_seed


def _check(options: PerfOptions) -> None:
    protocols = [address.protocol for address in options.addresses]
    if not protocols or len(set(protocols)) != len(protocols):
        raise InputError(f"{len(protocols)} URLs for {len(set(protocols))} protocols: give one --url for each protocol")
    for address in options.addresses:
        if address.tls:
            raise InputError(f"{address} is encrypted: ddgan-perf measures the server itself, give its own port")
    if not options.concurrency or not all(1 <= level <= MAX_CONCURRENCY for level in options.concurrency):
        raise InputError(f"--concurrency must be 1..{MAX_CONCURRENCY}")
    if len(set(options.concurrency)) != len(options.concurrency):
        raise InputError("--concurrency names a level twice: give each once")
    if options.seeds > MAX_SEEDS:
        raise InputError(f"--seeds {options.seeds} are more than perf_analyzer can read: give at most {MAX_SEEDS}")
    if options.seeds < max(options.concurrency):
        raise InputError(
            f"--seeds {options.seeds} is less than the concurrency: give a seed for each request in flight"
        )
    if options.warm_up < 0 or not 0.1 <= options.seconds <= 3600:
        raise InputError("--warmup must be 0 or more requests, --duration 0.1..3600 seconds")
    if options.out.is_symlink():
        raise InputError(f"{options.out} is a symbolic link: give the folder it points to, or another --out")
    if options.out.exists():
        ours = options.out.is_dir() and ((options.out / RESULT).is_file() or not any(options.out.iterdir()))
        if not options.overwrite:
            raise InputError(f"{options.out} exists already: give --overwrite to replace it, or another --out")
        if not ours:
            raise InputError(f"{options.out} is no folder of ddgan-perf, so it is not replaced: give another --out")
