"""How fast the engines were where they were measured, and the order that follows from it.

``ddgan-bench`` keeps what it measured in the user's cache, one file a network and machine: every artifact of that
network, in that precision, is then opened by it. ``ddgan-export --tune`` writes the same into the artifact.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ddgan_deploy.artifact.manifest import Artifact, Manifest
from ddgan_deploy.artifact.records import DamagedRecord, OtherVersion, read_record, write_record
from ddgan_deploy.artifact.results import Speeds
from ddgan_deploy.artifact.serving import CPU_ENGINES
from ddgan_deploy.files import written_whole
from ddgan_deploy.processor import cpu_model, instruction_sets

_VERSION = 1


@dataclass(frozen=True)
class _Record:
    """A file of the cache."""

    format_version: int
    speeds: Speeds = field(default_factory=lambda: Speeds("", {}))


def this_machine() -> str:
    """What an order of engines holds for: a processor and how much of it there is."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpu_model()}, {cores} cores, {' '.join(instruction_sets())}"


class Measured(Protocol):
    """A row of a benchmark."""

    @property
    def engine(self) -> str: ...
    @property
    def artifact(self) -> str | None: ...
    @property
    def batch(self) -> int: ...
    @property
    def median_ms(self) -> float: ...
    @property
    def doubtful(self) -> str | None: ...


def measured_of(rows: Sequence[Measured], artifact: Artifact) -> Speeds:
    """What one run of a benchmark on this machine tells of an artifact's engines of the CPU."""
    times: dict[str, dict[int, float]] = {}
    for row in rows:
        if row.artifact == str(artifact.path) and row.engine in CPU_ENGINES and not row.doubtful:
            times.setdefault(row.engine, {})[row.batch] = row.median_ms
    return Speeds(this_machine(), times)


def remember(artifact: Artifact, speeds: Speeds) -> None:
    """Keeps in the user's cache what was measured of an artifact; logs why where it cannot be kept."""
    path = _path(artifact.manifest, speeds.machine)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            partial.write_bytes(write_record(_Record(_VERSION, speeds)))
    except OSError as error:
        reason = error.strerror or str(error)
        logging.getLogger(__name__).warning("note: the engines' order is not kept in %s: %s", path, reason)


def measured_order(artifact: Artifact) -> tuple[str, ...]:
    """The engines that were measured on this machine, the fastest first.

    The user's cache counts before what the artifact says, since only what was measured here is in it. Without a
    measurement: none. Engines that compute with fewer digits than the artifact promises are left out, but for those
    whose gates have held.
    """
    machine = this_machine()
    tuned = artifact.manifest.tuned
    here = _recalled(artifact.manifest, machine)
    speeds = here or (tuned if tuned is not None and tuned.machine == machine else None)
    if speeds is None:
        return ()
    proven = tuned.proven if tuned is not None else ()
    return tuple(name for name in may_be_taken(speeds, proven) if name in CPU_ENGINES)


def may_be_taken(speeds: Speeds, proven: Sequence[str]) -> list[str]:
    """The engines that were measured, the fastest first, without those of fewer digits whose gates have not held."""
    return [name for name in fastest_first(speeds) if not name.endswith("-bf16") or name in proven]


def fastest_first(speeds: Speeds) -> Sequence[str]:
    """The engines that were measured at every batch size, by the geometric mean of their times."""
    times = speeds.milliseconds
    batches = set().union(*times.values()) if times else set()
    whole = [name for name in times if set(times[name]) == batches]
    return sorted(whole, key=lambda name: sum(math.log(times[name][batch]) for batch in batches))


def _recalled(manifest: Manifest, machine: str) -> Speeds | None:
    path = _path(manifest, machine)
    try:
        speeds = read_record(path.read_bytes(), _Record, _VERSION).speeds
    except (OSError, DamagedRecord, OtherVersion):
        # It is measured again some time.
        return None
    return speeds if speeds.machine == machine else None


def _path(manifest: Manifest, machine: str) -> Path:
    """By what decides over the time: the network and its steps, not its weights."""
    family = manifest.family
    network = [family.name, family.model, family.sampling, manifest.steps, manifest.precision, manifest.looped]
    text = json.dumps([network, machine], sort_keys=True, default=str)
    return _folder() / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _folder() -> Path:
    """As the XDG Base Directory Specification has it, which passes over paths that are not absolute."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    cache = given if given.is_absolute() else Path(os.path.expanduser("~")) / ".cache"
    return cache / "ddgan-deploy" / "speeds"
