"""Graphs as ONNX Runtime has optimized them, in a folder that the user names: they open fast, and processes share them.

    $DDGAN_PREPARED/                     nobody else may write into it
        <SHA-256 of an `Origin`>/
            prepared.json                the origin; size and SHA-256 of the other two
            ddgan.onnx, weights.bin      the optimized graph, whose weights every process maps

What is found there is used if it is whole, and what is missing is made. It is proven before: from the same seeds the
images are, bit for bit, those of the graph that it was made of. Files come whole and are never written into, only
unlinked, so that whoever maps one may go on. Nothing here keeps an artifact from being opened, but for a folder that
others may write into: whoever can change the weights decides over the images.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnxruntime

from ddgan_deploy import kernels
from ddgan_deploy.artifact.manifest import SERVED, WEIGHTS, Artifact, FileInfo
from ddgan_deploy.artifact.reading import check_fits, damaged_files, file_infos
from ddgan_deploy.artifact.records import DamagedRecord, OtherVersion, read_record, write_record
from ddgan_deploy.engines.onnxruntime.session import give_back_memory, optimized_session
from ddgan_deploy.errors import InputError
from ddgan_deploy.files import sha256
from ddgan_deploy.inputs import examples, rows, served_inputs
from ddgan_deploy.processor import cpu_model, instruction_sets
from ddgan_deploy.sampler import Sampler
from ddgan_deploy.scratch import scratch_folder, set_aside

if sys.platform != "win32":
    import fcntl

VARIABLE = "DDGAN_PREPARED"
"""In the environment: the folder."""
_RECORD = "prepared.json"
_VERSION = 1
_OTHERS = 0o022
"""Of a folder's mode: its group and everybody may write."""

Session: TypeAlias = onnxruntime.InferenceSession
Direct = Callable[[Path | None], Session]
"""Makes a session of the artifact's own file; a folder gets the graph as the session has optimized it."""


@dataclass(frozen=True)
class Origin:
    """All that a prepared graph depends on.

    Attributes:
        graph, weights: SHA-256 of the artifact's files.
        engine: its name.
        processor: and the instruction set that was chosen by hand.
        versions: of what rewrites and optimizes it.
    """

    graph: str
    weights: str
    engine: str
    processor: str
    versions: Mapping[str, str]

    @property
    def name(self) -> str:
        """Of its folder."""
        return hashlib.sha256(write_record(self)).hexdigest()


@dataclass(frozen=True)
class _Record:
    """What `prepared.json` says."""

    format_version: int
    origin: Origin
    files: Mapping[str, FileInfo]


def prepared_folder() -> Path | None:
    """The folder that the environment names, made if need be; None where there is none, or it cannot be made.

    Raises:
        InputError: it is none, or others may write into it.
    """
    named = os.environ.get(VARIABLE)
    # There what is mapped cannot be unlinked.
    if not named or sys.platform == "win32":
        return None
    fix = f"name a folder of your own, or unset {VARIABLE}"
    try:
        folder = Path(os.path.realpath(named))
        folder.mkdir(0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{VARIABLE} is {named}, which is no folder: {fix}") from None
    except OSError as error:
        _note(f"there is no {named} ({error.strerror or error}), which {VARIABLE} names")
        return None
    if status.st_uid != os.geteuid():
        raise InputError(f"{VARIABLE} is {named}, a folder of another user, who decides over the images then: {fix}")
    if status.st_mode & _OTHERS:
        raise InputError(f"{VARIABLE} is {named}, which others may write into: chmod go-w it; or {fix}")
    return folder


class PreparedGraph:
    """The served graph of an artifact for one engine.

    Args:
        folder: as of `prepared_folder`.
        artifact: whose graph it is.
        engine: its name.
        threads: of a session's own pool; None: all cores.
        library: the native library of fused ops, where the engine has it.
    """

    def __init__(self, folder: Path, artifact: Artifact, engine: str, threads: int | None, library: Path | None):
        self._folder = folder
        self._artifact = artifact
        self._threads = threads
        self._library = library
        files = artifact.manifest.files
        processor = f"{cpu_model()}, {' '.join(instruction_sets())}, {os.environ.get('DDGAN_ISA', '')}"
        self._origin = Origin(files[SERVED].sha256, files[WEIGHTS].sha256, engine, processor, _versions(library))
        self._place = folder / self._origin.name

    def session(self, direct: Direct) -> Session:
        """Of the prepared graph, which is made if it is not there; where it cannot be, of the artifact's own file.

        Of several processes one makes it, and the others wait.

        Raises:
            InputError: the artifact's own file cannot be opened.
        """
        if (session := self._found()) is not None:
            return session
        try:
            with _locked(self._folder):
                # It may have come meanwhile.
                if (session := self._found()) is not None:
                    return session
                with scratch_folder(".prepared-", self._folder) as work:
                    return self._made(work, direct)
        except OSError as error:
            _note(f"{self._folder} cannot be used ({error.strerror or error})")
            return direct(None)

    def _found(self) -> Session | None:
        """Of what is there, if it is whole."""
        try:
            # Put there by somebody else while the folder was open to others.
            if self._place.lstat().st_uid != os.geteuid():
                return None
            record = read_record((self._place / _RECORD).read_bytes(), _Record, _VERSION)
            if record.origin != self._origin or damaged_files(self._place, record.files, check_hashes=True):
                return None
            return self._opened(self._place)
        except (OSError, DamagedRecord, OtherVersion, InputError):
            return None

    def _opened(self, folder: Path) -> Session:
        session = optimized_session(folder / SERVED, self._threads, self._library)
        check_fits(
            self._artifact,
            SERVED,
            session.get_modelmeta().custom_metadata_map,
            [each.name for each in session.get_inputs()],
        )
        return session

    def _made(self, work: Path, direct: Direct) -> Session:
        """Makes, proves and publishes it; the session of the artifact's own file where one of them fails.

        Args:
            work: an empty folder beside its place.
            direct: as of `session`.
        """
        try:
            session = direct(work)
        except InputError:
            # Of the writing, or else of the graph: then it is raised again.
            session = direct(None)
            _note(f"the graph cannot be written to {self._folder}: free space, or unset {VARIABLE}")
            return session
        try:
            prepared = self._opened(work)
        except InputError as error:
            _note(f"what was prepared is not used, since it does not open ({error})")
            return session
        if not draw_alike(self._artifact.manifest.sampler, session, prepared):
            _note("what was prepared is not used, since it does not draw the same images")
            return session
        # The session has read them after they were checked.
        own = {name: self._artifact.manifest.files[name] for name in (SERVED, WEIGHTS)}
        if damaged_files(self._artifact.path, own, check_hashes=True):
            _note(f"what was prepared is not used, since {self._artifact.path} has changed meanwhile")
            return session
        self._publish(work)
        del session
        give_back_memory()
        return prepared

    def _publish(self, work: Path) -> None:
        """Gives it its place, in which there may be something damaged, and removes those of other versions."""
        record = _Record(_VERSION, self._origin, file_infos(work, sorted(file.name for file in work.iterdir())))
        (work / _RECORD).write_bytes(write_record(record))
        work.chmod(0o700)
        if os.path.lexists(self._place):
            set_aside(work, self._place)
        work.rename(self._place)
        for other in self._folder.iterdir():
            if other != self._place and self._outdated(other):
                shutil.rmtree(other, ignore_errors=True)

    def _outdated(self, folder: Path) -> bool:
        """Whether a folder holds the same for the same engine and processor, made by other versions."""
        try:
            origin = read_record((folder / _RECORD).read_bytes(), _Record, _VERSION).origin
        except (OSError, DamagedRecord, OtherVersion):
            return False
        ours, others = (vars(each) | {"versions": None} for each in (self._origin, origin))
        return folder.name == origin.name and ours == others


def draw_alike(sampler: Sampler, one: Session, other: Session) -> bool:
    """Whether two sessions of the served graph draw, and the same images, bit for bit: one alone, then two together.

    Knobs go from their defaults through the values that a family wants to be tried.
    """
    seeds = range(3)
    values = {
        knob.name: np.resize([knob.default, *knob.tried], len(seeds))
        for knob in sampler.knobs
        if knob.default is not None
    }
    inputs = served_inputs(sampler, seeds, examples(sampler.knobs, seeds) | values)
    for part in (slice(0, 1), slice(1, 3)):
        fed = rows(inputs, part)
        try:
            images = [session.run(None, fed)[0] for session in (one, other)]
        except Exception:  # ONNX Runtime's own errors share no base class
            return False
        if not np.array_equal(*images):
            return False
    return True


def _versions(library: Path | None) -> dict[str, str]:
    """Of our own code its content: an installation out of a clone has one version for many."""
    folders = (Path(__file__).parent, *map(Path, kernels.__path__))
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return {
        "our code": hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest(),
        "native library": sha256(library) if library else "",
        "onnxruntime": f"{onnxruntime.__version__}, {onnxruntime.get_build_info()}",
        "onnx": importlib.metadata.version("onnx"),
    }


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other processes out of the block; who ends, however, lets go of the lock.

    Raises:
        OSError: its file system has no locks.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _note(text: str) -> None:
    logging.getLogger(__name__).warning("note: %s", text)
