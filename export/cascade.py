"""The model repository of several artifacts, of which each enlarges what the one before it draws."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.reading import read_artifact, read_sampler
from ddgan_deploy.artifact.staging import FolderKind, staged
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.repository.stages import Drawing, drawing
from ddgan_deploy.export.repository.write import CONFIG, write_cascade
from ddgan_deploy.progress import Clock, Progress, no_progress
from ddgan_deploy.serving import CHECKER_MODEL, ENCODER_MODEL, MODEL, PNG_MODEL


def cascade(folders: Sequence[Path], out: Path, overwrite: bool = False, progress: Progress = no_progress) -> Drawing:
    """Makes a model repository that draws with the first artifact, and enlarges with the others in their order.

    It stands alone, with copies of the artifacts' files; each runs on the backend that its own repository has.

    Args:
        folders: of two artifacts or more.
        out: the repository's folder.
        overwrite: whether it may be there already, from such a call.
        progress: told of every stop.

    Raises:
        InputError: a folder is no whole artifact that passed its gates, one does not enlarge what the one before it
            draws, or ``out`` cannot be written.
    """
    clock = Clock(progress)
    with clock.stop("Read the artifacts"):
        way = drawing([_proven(folder) for folder in folders])
        if len(way.stages) < 2:
            raise InputError(f"{folders[0]} alone is no cascade: give an upsampler's artifact after it")
    around = next((folder for folder in folders if folder.resolve() in out.resolve().parents), None)
    if around is not None:
        raise InputError(f"{out} is inside of the artifact {around}, with which it would go: give another --out")
    with staged(out, overwrite, _KIND) as staging, clock.stop("Write the model repository"):
        write_cascade(staging.path, way)
    return way


def _proven(folder: Path) -> Artifact:
    artifact = read_artifact(folder)
    # What the manifest says of the graph is what the repository is made by.
    read_sampler(artifact)
    parity = artifact.manifest.parity
    if parity is not None and not parity.passed:
        raise InputError(f"{folder} failed its gates: export it again, and see its report.html")
    return artifact


def _is_cascade(folder: Path) -> bool:
    """With other models beside ours it is somebody's own repository."""
    wanted = {MODEL, PNG_MODEL, ENCODER_MODEL, CHECKER_MODEL, f"{MODEL}_1", f"{MODEL}_2"}
    there = {path.name for path in folder.iterdir()}
    others = {name for name in there - wanted if not re.fullmatch(rf"{MODEL}_[0-9]+", name)}
    return wanted <= there and not others and (folder / MODEL / CONFIG).is_file()


_KIND = FolderKind("the model repository of a cascade and nothing else", _is_cascade)
