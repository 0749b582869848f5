"""An artifact's folder, read and found whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.artifact.checks import check_consistent, misfit
from ddgan_deploy.artifact.format1 import upgraded
from ddgan_deploy.artifact.manifest import (
    ENGINE_SUFFIXES,
    FORMAT_VERSION,
    MANIFEST,
    SAMPLER,
    SERVED,
    WEIGHTS,
    Artifact,
    FileInfo,
    Manifest,
)
from ddgan_deploy.artifact.records import DamagedRecord, OtherVersion, read_record
from ddgan_deploy.errors import InputError
from ddgan_deploy.files import sha256
from ddgan_deploy.kernels.older import modernize

if TYPE_CHECKING:
    import onnx


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
    """The sampler's graph, without its weights; that of a file of before has the ops of today.

    Raises:
        InputError: the file is missing or damaged, or the manifest does not fit it.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = artifact.path / SAMPLER
    try:
        model = onnx.load(path, load_external_data=False)
        modernize(model)
    except (OSError, DecodeError, KeyError):
        raise InputError(f"{path} is missing or damaged: export again") from None
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    check_fits(artifact, SAMPLER, metadata, [entry.name for entry in model.graph.input])
    return model


def check_fits(artifact: Artifact, name: str, metadata: Mapping[str, str], inputs: Collection[str]) -> None:
    """Refuses to run a graph of which the manifest says something else than the file itself.

    Args:
        artifact: whose manifest it is.
        name: of the graph's file.
        metadata, inputs: of the file, as whoever opens it finds them there; of the inputs their names.

    Raises:
        InputError: they differ.
    """
    sampler = artifact.manifest.sampler
    known = sampler.served_inputs() if name == SERVED else sampler.inputs()
    difference = misfit(artifact.manifest, metadata)
    if not difference and set(inputs) != set(known):
        difference = f"inputs {', '.join(sorted(known))}, not {', '.join(sorted(inputs))}"
    if difference:
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
    try:
        if not folder.exists():
            raise InputError(f"{folder} does not exist: give a folder that ddgan-export wrote")
        text = (folder / MANIFEST).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{folder} has no readable {MANIFEST}: give a folder that ddgan-export wrote") from None
    try:
        manifest = read_record(text, Manifest, FORMAT_VERSION, {1: upgraded})
        for listed in (manifest.graphs, manifest.files):
            absent = {SAMPLER, SERVED, *([WEIGHTS] if listed is manifest.files else [])} - listed.keys()
            if absent:
                raise InputError(f"it lists no {min(absent)}")
        check_consistent(manifest, manifest.graphs[SAMPLER], manifest.graphs[SERVED])
    except OtherVersion as error:
        raise InputError(
            f"{folder} has {error}, this ddgan-deploy reads 1 and {FORMAT_VERSION}: export again"
        ) from None
    except (DamagedRecord, InputError) as error:
        raise InputError(f"{folder / MANIFEST} is damaged ({error}): export again") from None
    return manifest


def file_infos(folder: Path, names: list[str]) -> dict[str, FileInfo]:
    """Size and hash of each file."""
    return {name: FileInfo((folder / name).stat().st_size, sha256(folder / name)) for name in names}
