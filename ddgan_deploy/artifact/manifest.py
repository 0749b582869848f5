"""The exported folder: its manifest, its integrity, and how it comes to be."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ddgan_deploy.artifact.checks import check_consistent, misfit
from ddgan_deploy.artifact.results import KeptLayer, ParityResult
from ddgan_deploy.artifact.serving import DEFAULT_SERVING, Serving
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.assumptions import Assumed
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.files import replace_folder, sha256, temporary_folder
from ddgan_deploy.weight_files.kinds import Kind

if TYPE_CHECKING:
    import onnx
    from pydantic import ValidationError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SAMPLER = "sampler.onnx"
SERVED = "ddgan.onnx"
WEIGHTS = "weights.bin"
ENGINE_SUFFIXES = (".plan", ".plan.json", ".plan.log")
"""Of engine files and what lies beside them."""

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a graph; "batch" stands for the dynamic first size."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphInfo:
    """The signature of a graph, and its size."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    nodes: int


@dataclass(frozen=True)
class FileInfo:
    """Size and SHA-256 of a file of the artifact."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class CheckpointInfo:
    """Where the weights came from."""

    file: str
    sha256: str
    weights: Kind
    parameters: int


@dataclass(frozen=True)
class Manifest:
    """What an artifact is: all that running, serving or checking it needs to know.

    ``parity``, of stock ONNX Runtime, is None where the export ran with ``--no-verify``; ``serving`` is what was asked
    of the model repository, and ``cpu_parity`` the gates of the CPU engine that it names, None where it names none.
    ``assumed`` is what neither the checkpoint nor a config told, so that no gate has seen it.
    """

    format_version: int
    created: str
    checkpoint: CheckpointInfo
    generator: GeneratorConfig
    schedule: Schedule
    steps: int
    precision: Precision
    kept_fp32: tuple[KeptLayer, ...]
    graphs: Mapping[str, GraphInfo]
    versions: Mapping[str, str]
    parity: ParityResult | None
    files: Mapping[str, FileInfo] = field(default_factory=dict)
    serving: Serving = DEFAULT_SERVING
    cpu_parity: ParityResult | None = None
    assumed: tuple[Assumed, ...] = ()


@dataclass(frozen=True)
class Versioned:
    """What our JSON files of all formats share."""

    format_version: int


@dataclass(frozen=True)
class Artifact:
    """An artifact folder that was read and found whole."""

    path: Path
    manifest: Manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes ``manifest.json``, as the last file of an artifact."""
    from pydantic import TypeAdapter

    (folder / MANIFEST).write_bytes(TypeAdapter(Manifest).dump_json(manifest, indent=2) + b"\n")


def read_artifact(path: str | Path, check_files: bool = True) -> Artifact:
    """Reads an artifact's manifest and checks its files.

    Args:
        path: the exported folder.
        check_files: compare every file's hash, not only its size.

    Raises:
        InputError: the folder is no artifact, is of another format, or its manifest or a file is damaged.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
    # An engine's files are checked by what runs it; the graphs need none of them.
    needed = {name: info for name, info in manifest.files.items() if not name.endswith(ENGINE_SUFFIXES)}
    damage = damaged_files(folder, needed, check_files)
    if damage:
        raise InputError(f"{folder / damage[0]} is missing or changed since the export: export again")
    return Artifact(folder, manifest)


def read_sampler(artifact: Artifact) -> onnx.ModelProto:
    """The sampler's graph, without its weights.

    Raises:
        InputError: the file is missing or damaged, or the manifest does not fit it.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = artifact.path / SAMPLER
    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError):
        raise InputError(f"{path} is missing or damaged: export again") from None
    check_fits(artifact, SAMPLER, {entry.key: entry.value for entry in model.metadata_props})
    return model


def check_fits(artifact: Artifact, name: str, metadata: Mapping[str, str]) -> None:
    """Refuses to run a graph of which the manifest says something else than the file itself.

    Args:
        artifact: whose manifest it is.
        name: of the graph's file.
        metadata: of the file, as whoever opens it finds it there.

    Raises:
        InputError: they differ.
    """
    if difference := misfit(artifact.manifest, metadata):
        raise InputError(f"{artifact.path / MANIFEST} does not fit {name} ({difference}): export again")


def read_damaged(path: str | Path) -> tuple[Artifact, list[str]]:
    """As `read_artifact`, but lists the files that are changed instead of refusing them."""
    folder = Path(path)
    manifest = _read_manifest(folder)
    for name in manifest.files:
        if not (folder / name).is_file() and not name.endswith(ENGINE_SUFFIXES):
            raise InputError(f"{folder / name} is missing: export again")
    return Artifact(folder, manifest), damaged_files(folder, manifest.files, check_hashes=True)


def damaged_files(folder: Path, files: Mapping[str, FileInfo], check_hashes: bool) -> list[str]:
    """Names of the files that are missing or not as they were exported."""

    def whole(name: str, info: FileInfo) -> bool:
        file = folder / name
        if not file.is_file() or file.stat().st_size != info.bytes:
            return False
        return not check_hashes or sha256(file) == info.sha256

    return [name for name, info in files.items() if not whole(name, info)]


def _read_manifest(folder: Path) -> Manifest:
    from pydantic import TypeAdapter, ValidationError

    try:
        if not folder.exists():
            raise InputError(f"{folder} does not exist: give a folder that ddgan-export wrote")
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{folder} has no readable {MANIFEST}: give a folder that ddgan-export wrote") from None
    try:
        # First the version alone: another one may have other fields.
        version = TypeAdapter(Versioned).validate_json(text).format_version
        if version != FORMAT_VERSION:
            raise InputError(
                f"{folder} has format version {version}, this ddgan-deploy reads {FORMAT_VERSION}: export again"
            )
        manifest = TypeAdapter(Manifest).validate_json(text)
    except ValidationError as error:
        raise InputError(f"{folder / MANIFEST} is damaged ({first_problem(error)}): export again") from None
    for listed in (manifest.graphs, manifest.files):
        absent = {SAMPLER, SERVED, *([WEIGHTS] if listed is manifest.files else [])} - listed.keys()
        if absent:
            raise InputError(f"{folder / MANIFEST} is damaged (it lists no {min(absent)}): export again")
    try:
        check_consistent(manifest, manifest.graphs[SAMPLER], manifest.graphs[SERVED])
    except InputError as error:
        raise InputError(f"{folder / MANIFEST} is damaged ({error}): export again") from None
    return manifest


def first_problem(error: ValidationError) -> str:
    """What is wrong with a JSON file first, and where in it."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'content'}: {first['msg']}"


def file_infos(folder: Path, names: list[str]) -> dict[str, FileInfo]:
    """Size and hash of each file."""
    return {name: FileInfo((folder / name).stat().st_size, sha256(folder / name)) for name in names}


class Staging:
    """A folder in the making; see `staged`."""

    def __init__(self, path: Path, target: Path, overwrite: bool) -> None:
        self.path = path
        self.target = target
        self.overwrite = overwrite

    def keep_as(self, target: Path) -> None:
        """Puts the folder under another name than it was meant for, in place of an older artifact."""
        self.target = target
        self.overwrite = True


@contextlib.contextmanager
def staged(target: Path, overwrite: bool) -> Iterator[Staging]:
    """A temporary folder that becomes ``target`` when the block ends without an error.

    The target exists whole or not at all; with an error nothing is left behind and
    an older target stays as it was.

    Raises:
        InputError: the target exists and may not be replaced, or cannot be written.
    """
    if target.name in ("", ".."):
        # A folder cannot be renamed by these names.
        target = Path(os.path.abspath(target))
    check_target(target, overwrite)
    try:
        with temporary_folder(target) as temporary:
            staging = Staging(temporary, target, overwrite)
            yield staging
            # Once more, since the target may have come to be meanwhile.
            check_target(staging.target, staging.overwrite)
            replace_folder(temporary, staging.target)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written ({error.strerror or error}): free space or choose another --out"
        ) from None


def check_target(target: Path, overwrite: bool) -> None:
    """Refuses a target folder that may not be written, before any work is done.

    Raises:
        InputError: it exists and ``overwrite`` is not given, or is no artifact.
    """
    try:
        if not target.exists() and not target.is_symlink():
            return
        replaceable = target.is_dir() and (_is_artifact(target) or not any(target.iterdir()))
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}): choose another --out") from None
    if not overwrite:
        raise InputError(f"{target} exists already: give --overwrite to replace it, or another --out")
    if not replaceable:
        raise InputError(f"{target} is not an artifact, so --overwrite will not replace it: give another --out")
    if target.is_symlink():
        raise InputError(f"{target} is a symbolic link: give the folder it points to")


def _is_artifact(folder: Path) -> bool:
    """Whether ddgan-export wrote the folder, damaged as it may be since; others write a manifest.json too."""
    return (folder / MANIFEST).is_file() and any((folder / name).exists() for name in (SAMPLER, SERVED, WEIGHTS))
