"""Artifacts in a row as one: each enlarges what the one before it draws.

As the published scripts do (`image_sample`, then `super_res_sample`), and as in "Cascaded Diffusion Models for High
Fidelity Image Generation" (Ho et al., JMLR 2022), what is handed on is an image of bytes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.engines import open_engine
from ddgan_deploy.engines.arithmetic import name_and_type
from ddgan_deploy.engines.base import Engine
from ddgan_deploy.errors import InputError
from ddgan_deploy.inputs import at_stage, served_knobs
from ddgan_deploy.sampler import Knob


class Cascade(contextlib.AbstractContextManager["Cascade"]):
    """Opened artifacts in a row; as a context manager it closes them.

    Each knob goes to all of them that take it, so that a label is one class throughout. Of one seed each draws noise of
    its own; see `inputs.at_stage`.

    Args:
        engines: one or more; each after the first takes what the one before it draws.

    Attributes:
        name: of the runtimes, with what they multiply in where that is not the artifact's own type.
        knobs: of all of them, but for the pictures that one gets from another.
        artifacts: in the order of drawing.

    Raises:
        InputError: as `cascade_knobs`.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.artifacts = tuple(engine.artifact for engine in engines)
        self.knobs = cascade_knobs(self.artifacts)
        self.name = " and ".join(dict.fromkeys(name_and_type(engine) for engine in engines))
        self._first = engines[0]
        self._others = [(engine, enlarged(engine.artifact).name) for engine in engines[1:]]

    def generate(self, seeds: Sequence[int], **knobs: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Images [N, H, W, C] of the last artifact; arguments and errors as of `Engine.generate`."""
        served_knobs(self.knobs, len(seeds), knobs)
        images = self._first.generate(seeds, **_taken(self._first.artifact.manifest.sampler.knobs, knobs))
        for stage, (engine, picture) in enumerate(self._others, 1):
            known = engine.artifact.manifest.sampler.knobs
            own_seeds, own_knobs = at_stage(known, stage, seeds, {**_taken(known, knobs), picture: images})
            images = engine.generate(own_seeds, **own_knobs)
        return images

    def close(self) -> None:
        """Closes all engines."""
        for engine in (self._first, *(engine for engine, _ in self._others)):
            engine.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def open_cascade(paths: Iterable[str | Path], engine: str = "auto", threads: int | None = None) -> Cascade:
    """Opens artifacts as one.

    Args:
        paths: their folders, in the order of drawing.
        engine, threads: of each, as of `open_artifact`.

    Raises:
        InputError: as `open_artifact` and `cascade_knobs`.
    """
    return cascade_of([read_artifact(path) for path in paths], engine, threads)


def cascade_of(artifacts: Iterable[Artifact], engine: str = "auto", threads: int | None = None) -> Cascade:
    """As `open_cascade`, for artifacts that were read already."""
    with contextlib.ExitStack() as opened:
        cascade = Cascade([opened.enter_context(open_engine(artifact, engine, threads)) for artifact in artifacts])
        opened.pop_all()
    return cascade


def cascade_knobs(artifacts: Sequence[Artifact]) -> tuple[Knob, ...]:
    """What artifacts in a row take together, beside the seed.

    Args:
        artifacts: one or more, in the order of drawing.

    Raises:
        InputError: one takes no picture, or of another size than the one before it draws, or two mean different things
            by a knob.
    """
    knobs: dict[str, Knob] = {}
    for index, artifact in enumerate(artifacts):
        own = list(artifact.manifest.sampler.knobs)
        if index:
            own.remove(_fitting(artifact, artifacts[index - 1]))
        for knob in own:
            if _meaning(knobs.setdefault(knob.name, knob)) != _meaning(knob):
                raise InputError(
                    f"{artifact.path} takes {_range(knob)}, and those before it {_range(knobs[knob.name])}: "
                    "give artifacts that mean the same by it"
                )
    return tuple(knobs.values())


def enlarged(artifact: Artifact) -> Knob:
    """The picture that an artifact enlarges.

    Raises:
        InputError: it takes none, or several.
    """
    pictures = [knob for knob in artifact.manifest.sampler.knobs if knob.is_image and knob.default is None]
    if len(pictures) != 1:
        raise InputError(f"{artifact.path} takes no picture to enlarge: give an upsampler's artifact")
    return pictures[0]


def _fitting(artifact: Artifact, before: Artifact) -> Knob:
    picture = enlarged(artifact)
    channels, height, width = before.manifest.sampler.image
    if picture.shape != (height, width, channels):
        raise InputError(
            f"{artifact.path} enlarges pictures {list(picture.shape)}, and {before.path} draws "
            f"{[height, width, channels]}: give an upsampler of that size"
        )
    return picture


def _taken(known: Sequence[Knob], knobs: Mapping[str, npt.ArrayLike]) -> dict[str, npt.ArrayLike]:
    names = {knob.name for knob in known}
    return {name: value for name, value in knobs.items() if name in names}


def _meaning(knob: Knob) -> Knob:
    """All but what is for a proof and a report."""
    return replace(knob, tried=(), swept=(), help="")


def _range(knob: Knob) -> str:
    default = "" if knob.default is None else f", {knob.default:g} unless given"
    return f"{knob.name} {knob.least:g}..{knob.most:g}{default}"
