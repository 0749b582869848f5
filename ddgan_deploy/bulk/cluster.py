"""Shards by the processes of a Ray cluster: Ray places and starts them, and carries the files.

Each process is an actor with a GPU, or a share of the CPUs. What ends one of them, a lost machine among other things,
costs the shard that it was at: another one takes its place, and the shard is drawn again.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddgan_deploy.artifact.manifest import ENGINE_SUFFIXES, MANIFEST, Artifact
from ddgan_deploy.bulk.content import Content
from ddgan_deploy.bulk.plan import Shard, Source
from ddgan_deploy.bulk.run import Crew, Hire
from ddgan_deploy.bulk.shard import Written, keep
from ddgan_deploy.bulk.shares import shares, uses_gpu
from ddgan_deploy.bulk.worker import Files, Worker, write_files
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.files import folder_written_whole, written_whole

LOCAL = "local"
"""In place of an address: a cluster of this machine alone, for as long as the run lasts."""
_TRIES = 3
"""Of a shard whose workers end."""
_PATIENCE = 300.0
"""Seconds in which a worker must have begun where none is at work."""
_ANSWER = 10.0
"""Seconds for a cluster to take a connection."""
_HEALTH = 30.0
"""Seconds for it to say that it is well."""
_NO_CLUSTER = "what listens there is no cluster of this version of Ray"
_TOKEN_WANTED = "authentication"
"""What Ray speaks of where a token is missing, or wrong."""
_PARTING = 10.0
"""Seconds for workers to take their files away."""


@dataclass(frozen=True)
class ClusterOptions:
    """How a cluster is used.

    Attributes:
        address: of it, as Ray takes it, "auto" for the one that this machine belongs to, or `LOCAL`.
        workers: processes; None: one for each GPU, or for as many CPUs as it has threads.
        shared: the folder of all shards, where it is the same on every machine and workers write there; None: shards
            come to this process, which writes them.
    """

    address: str
    workers: int | None = None
    shared: Path | None = None


def on_ray(options: ClusterOptions) -> Hire:
    """Who draws on a cluster.

    Raises:
        InputError: Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError('--ray needs Ray: pip install "ddgan-deploy[ray]"')

    @contextlib.contextmanager
    def hire(content: Content, source: Source) -> Iterator[Crew]:
        with _connected(options.address), _Cluster(content, source, options) as cluster:
            yield cluster

    return hire


class _Cluster(contextlib.AbstractContextManager["_Cluster"]):
    """The workers of a run.

    Attributes:
        engine: the runtime's name, which all of them share.
    """

    def __init__(self, content: Content, source: Source, options: ClusterOptions) -> None:
        ray = _ray()
        gpu = uses_gpu(content.artifacts, source.engine, ray.cluster_resources())
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        count, threads, self._share = shares(nodes, gpu, options.workers, source.threads)
        out = options.shared and options.shared.absolute()
        self._orders = (content.plan, source.engine, threads, out)
        self._is_folder = content.format.is_folder
        self._artifacts = [_sent(artifact, gpu) for artifact in content.artifacts]
        self._asked: dict[Any, tuple[Any, Shard | None]] = {}
        self._idle: list[Any] = []
        self._unopened, self._most_unopened = 0, _TRIES * count
        self.engine = ""
        for _ in range(count):
            self._hire()
        # The first that is ready says what all of them draw with.
        while not self.engine:
            self._next()

    def __exit__(self, *_: object) -> None:
        """Lets the idle take their files away, and ends all."""
        ray = _ray()
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get([worker.close.remote() for worker in self._idle], timeout=_PARTING)
        for worker in [*self._idle, *(worker for worker, _ in self._asked.values())]:
            ray.kill(worker)

    def draw(self, shards: Sequence[Shard], folder: Path, tell: Callable[[int], None]) -> Iterator[Written]:
        """As `Crew.draw`."""
        left, lost = deque(shards), Counter[int]()
        while left or any(shard for _, shard in self._asked.values()):
            while left and self._idle:
                worker, shard = self._idle.pop(), left.popleft()
                self._asked[worker.draw.remote(shard)] = (worker, shard)
            at, said = self._next()
            if at is None:
                continue
            if said is None:
                lost[at.number] += 1
                if lost[at.number] == _TRIES:
                    raise GateError(
                        f"shard {at.number} has ended {_TRIES} workers: see Ray's logs, or give less --batch"
                    )
                left.appendleft(at)
                continue
            written, files = said
            if files:
                _write(folder / written.name, files, self._is_folder)
            tell(written.count)
            yield written

    def _hire(self) -> None:
        ray = _ray()
        worker = ray.remote(Worker).options(**self._share).remote(*self._orders)
        self._asked[worker.open.remote(self._artifacts)] = (worker, None)

    def _next(self) -> tuple[Shard | None, Any]:
        """The next answer of a worker: the shard that it was at, and what it says; nothing where it has ended."""
        ray = _ray()
        while not (ready := ray.wait(list(self._asked), timeout=_PATIENCE)[0]):
            if not any(shard for _, shard in self._asked.values()):
                wanted = ", ".join(f"{name} {value:g}" for name, value in self._share.items())
                raise GateError(
                    f"no worker ({wanted}) has begun in {_PATIENCE:.0f} s: see `ray status` for what is free"
                )
        worker, shard = self._asked.pop(ready[0])
        try:
            said = ray.get(ready[0])
        except ray.exceptions.RayTaskError as error:
            raise _ours(error) from None
        except ray.exceptions.RayError as error:
            ray.kill(worker)
            self._replace(shard, error)
            return shard, None
        self._idle.append(worker)
        self._unopened = 0
        if shard is None:
            self._check_engine(said)
        return shard, said

    def _replace(self, shard: Shard | None, error: Exception) -> None:
        self._unopened += shard is None
        if self._unopened == self._most_unopened:
            reason = str(error).strip().splitlines()[0]
            raise GateError(f"workers end before they begin ({reason}): see Ray's logs")
        self._hire()

    def _check_engine(self, name: str) -> None:
        if self.engine and name != self.engine:
            raise InputError(f"machines differ, one draws on {self.engine} and one on {name}: name one in --engine")
        self.engine = name


@contextlib.contextmanager
def _connected(address: str) -> Iterator[None]:
    """A connection to a cluster.

    Raises:
        InputError: there is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:
        # Else its servers listen on all interfaces. The name is Ray's; on Linux it does the same.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    ray = _ray()
    try:
        _check_answers(address)
        with contextlib.redirect_stderr(io.StringIO()), _own_signals():
            ray.init(
                address,
                include_dashboard=False if address == LOCAL else None,
                logging_level="ERROR",
                log_to_driver=False,
            )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        # Ray raises one from the other.
        if any(_TOKEN_WANTED in f"{type(told).__name__} {told}".lower() for told in (error, error.__cause__)):
            raise InputError(
                f"the Ray cluster at {address} wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a "
                "file with what `ray get-auth-token` says on its head (~/.ray/auth_token where that is unset)"
            ) from None
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"no Ray cluster at {address} ({reason}): start one by `ray start --head`, or give --ray {LOCAL}"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps Ray from taking SIGTERM, after which nobody would tell how to go on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_answers(address: str) -> None:
    """Asks whether a cluster is there, which Ray itself tries for minutes.

    Raises:
        OSError: nobody is.
        ValueError: it is no address, or something else is there.
    """
    if address in ("auto", LOCAL):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError("it is no HOST:PORT")
    with socket.create_connection((host.strip("[]"), int(port)), _ANSWER):
        pass
    if not address.startswith("ray://"):
        command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=_HEALTH, check=True)
        except subprocess.CalledProcessError as error:
            raise ValueError(_TOKEN_WANTED if _TOKEN_WANTED in error.stderr.lower() else _NO_CLUSTER) from None
        except subprocess.TimeoutExpired:
            raise ValueError(_NO_CLUSTER) from None


def _sent(artifact: Artifact, gpu: bool) -> dict[str, Any]:
    """The artifact's files in the cluster's store, which brings each once to a machine."""
    names = [name for name in artifact.manifest.files if gpu or not name.endswith(ENGINE_SUFFIXES)]
    return {name: _ray().put(np.fromfile(artifact.path / name, np.uint8)) for name in [MANIFEST, *names]}


def _ray() -> Any:
    """Ray, whose own types do not know its actors."""
    import ray

    return ray


def _ours(error: Any) -> Exception:
    """What a worker has raised."""
    cause = error.cause
    if isinstance(cause, InputError | GateError):
        return type(cause)(f"on a machine of the cluster: {cause}")
    return GateError(f"a worker failed ({type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else ''})")


def _write(target: Path, files: Files, is_folder: bool) -> None:
    with (folder_written_whole if is_folder else written_whole)(target) as path:
        if is_folder:
            write_files(path, files)
        else:
            path.write_bytes(files[target.name].data)
        keep(path)
