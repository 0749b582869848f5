"""A snapshot's contents -> a trained FastGAN generator: the moving average ``G_ema``, and nothing beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.artifact.assumptions import Assumed
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.base import Checkpoint, Family, Given
from ddgan_deploy.families.fastgan import published
from ddgan_deploy.families.fastgan.config import SMALLEST, WIDTHS, FastganConfig, FastganSampling
from ddgan_deploy.families.fastgan.stated import check_asked, check_config
from ddgan_deploy.files import sha256
from ddgan_deploy.weight_files.expected import check_shapes
from ddgan_deploy.weight_files.objects import AVERAGED, Saved, parts, state_dict
from ddgan_deploy.weight_files.tensors import as_float32, checked_tensors

if TYPE_CHECKING:
    from ddgan_deploy.families.fastgan.reference import FastganReference

_PARTS = {"init", "feat_8", "to_big"}
"""Of a FastGAN synthesis, whatever its form is."""
_SIZES = ("img_resolution", "img_channels", "z_dim", "c_dim")


@dataclass(frozen=True)
class FastganCheckpoint(Checkpoint[FastganConfig, FastganSampling]):
    """A trained generator; weights are named as in `network.Generator`, with all normalizations folded."""

    @property
    def trained_steps(self) -> int | None:
        """One pass."""
        return 1

    def assumed(self, sampling: FastganSampling) -> tuple[Assumed, ...]:
        """Nothing: a snapshot tells all."""
        return ()

    def choose(self, steps: int | None = None) -> FastganSampling:
        """The one way.

        Raises:
            InputError: it shall have other than one step.
        """
        return FastganSampling() if steps is None else FastganSampling(steps)

    def reference(self, sampling: FastganSampling) -> FastganReference:
        """The reference sampler."""
        from ddgan_deploy.families.fastgan.reference import reference

        return reference(self.model, self.weights)


def seems_a_snapshot(contents: Mapping[str, Any]) -> bool:
    """Whether a file's contents are a snapshot of a FastGAN generator, by the names of its parts."""
    return set(parts(parts(contents.get(AVERAGED)).get("synthesis"))) >= _PARTS


def read_checkpoint(family: Family, contents: dict[str, Any], path: Path, given: Given) -> FastganCheckpoint:
    """As `families.base.Family.read`."""
    from ddgan_deploy.families.fastgan.weights import folded

    if not seems_a_snapshot(contents):
        raise InputError(f"{path} holds no {AVERAGED} of a FastGAN generator: give a network-snapshot.pkl")
    if given.weights == "raw":
        raise InputError(f"{path} is sampled from by its {AVERAGED}: leave out --weights raw")
    check_asked(given.asked, path)
    if given.config is not None:
        check_config(given.config)
    generator = contents[AVERAGED]
    with _named(path):
        state = state_dict(generator)
        model = _model(generator, state)
    unused = published.unused(model)
    tensors = checked_tensors({name: value for name, value in state.items() if name not in unused}, path)
    with _named(path):
        check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, published.needed(model))
    finite = {name: as_float32(tensor, name, path) for name, tensor in tensors.items()}
    with _named(path):
        weights = folded(model, finite)
    return FastganCheckpoint(family, path, sha256(path), model, weights, "ema")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Begins an error within the block by the file's name."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _model(generator: Saved, state: Mapping[str, Any]) -> FastganConfig:
    """Sizes are the generator's own attributes; the rest is told by what is there."""
    sizes: dict[str, int] = {}
    for name in _SIZES:
        size = generator.state.get(name)
        if type(size) is not int:
            raise InputError(f"{AVERAGED} has no whole number {name}: give a snapshot as it was saved")
        sizes[name] = size
    name = f"{published.FIRST}.0.{published.BOUNDED}"
    shape = tuple(getattr(state.get(name), "shape", ()))
    per_ngf = 2 * int(WIDTHS[SMALLEST])
    if len(shape) != 4 or shape[1] % per_ngf:
        raise InputError(f"{name} has shape {list(shape)}, not [z_dim, {per_ngf} ngf, 4, 4]: give a whole snapshot")
    return FastganConfig(
        img_resolution=sizes["img_resolution"],
        img_channels=sizes["img_channels"],
        z_dim=sizes["z_dim"],
        c_dim=sizes["c_dim"],
        ngf=shape[1] // per_ngf,
        cond=published.EMBEDDING in state,
        lite=not any(key.startswith(("synthesis.feat_8.conv2.", "synthesis.feat_8.5.")) for key in state),
    )
