"""The published names and shapes of a FastGAN generator's weights: ``pg_modules.networks_fastgan`` of Projected GAN.

synthesis.init.init            transposed convolution, BN, GLU
synthesis.feat_<r>             twice the size, convolution, noise, BN, GLU, convolution, noise, BN, GLU
  ... lite                     twice the size, convolution, BN, GLU
synthesis.se_<r>.main          mean to 4x4, convolution, SiLU, convolution, sigmoid
synthesis.embed                of a conditional network, whose BN is an affine map of its rows
synthesis.to_big               convolution
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ddgan_deploy.families.fastgan.config import ALWAYS_SAVED, MAX_CLASSES, FastganConfig

Shape = tuple[int, ...]
FIRST = "synthesis.init.init"
LAST = "synthesis.to_big"
EMBEDDING = "synthesis.embed.weight"
BOUNDED = "weight_orig"
"""Of a layer with spectral normalization: its weight before that. Beside it are ``weight_u`` and ``weight_v``, and in
some files a stale ``weight``, which is not to be used."""
COUNTED = "num_batches_tracked"
_KERNEL = 3
_MEAN = 4
"""Pixels along a side of what gates are made of."""


@dataclass(frozen=True)
class PublishedLayer:
    """A convolution with noise and a normalization after it, by the published names of its parts.

    Attributes:
        noise: None where there is none; two layers of a conditional block share one.
    """

    conv: str
    noise: str | None
    norm: str


def layers(config: FastganConfig, resolution: int) -> tuple[PublishedLayer, ...]:
    """Of the block that ends at a resolution, in running order."""
    block = f"synthesis.feat_{resolution}."
    if config.cond and config.lite:
        return (PublishedLayer(f"{block}conv", None, f"{block}bn"),)
    if config.cond:
        return tuple(PublishedLayer(f"{block}conv{i}", f"{block}noise", f"{block}bn{i}") for i in (1, 2))
    if config.lite:
        return (PublishedLayer(f"{block}1", None, f"{block}2"),)
    return tuple(PublishedLayer(f"{block}{i}", f"{block}{i + 1}", f"{block}{i + 2}") for i in (1, 5))


def gate(resolution: int) -> tuple[str, str]:
    """The two convolutions that make the gates of a resolution's features."""
    return f"synthesis.se_{resolution}.main.1", f"synthesis.se_{resolution}.main.3"


def needed(config: FastganConfig) -> dict[str, Shape]:
    """Published name -> shape, of all that an image depends on."""
    width = 2 * config.channels(4)
    found = {
        **_bounded(FIRST + ".0", (config.z_dim, width, 4, 4), rows_at=1),
        **_norm(FIRST + ".1", width),
        **_bounded(LAST, (config.img_channels, config.channels(config.img_resolution), _KERNEL, _KERNEL)),
        f"{LAST}.bias": (config.img_channels,),
    }
    for resolution in config.block_resolutions:
        found |= dict(_block(config, resolution))
    return found


def unused(config: FastganConfig) -> set[str]:
    """Published names of what may be in a file beside, and what no image depends on."""
    saved = replace(config, img_resolution=max(config.img_resolution, ALWAYS_SAVED))
    every = {name for resolution in saved.block_resolutions for name, _ in _block(saved, resolution)} | {
        *needed(config)
    }
    stale = {name.removesuffix(BOUNDED) + "weight" for name in every if name.endswith(f".{BOUNDED}")}
    counts = {name.removesuffix("running_var") + COUNTED for name in every if name.endswith(".running_var")}
    return (every | stale | counts) - {*needed(config)}


def _block(config: FastganConfig, resolution: int) -> Iterator[tuple[str, Shape]]:
    inside, outside = config.channels(resolution // 2), config.channels(resolution)
    for layer in layers(config, resolution):
        yield from _bounded(layer.conv, (2 * outside, inside, _KERNEL, _KERNEL)).items()
        norm = _class_norm(layer.norm, 2 * outside, config.z_dim) if config.cond else _norm(layer.norm, 2 * outside)
        yield from norm.items()
        if layer.noise is not None:
            yield f"{layer.noise}.weight", (1,)
        inside = outside
    if config.cond:
        yield EMBEDDING, (MAX_CLASSES, config.z_dim)
    source = config.gated_by(resolution)
    if source is not None:
        first, second = gate(resolution)
        yield from _bounded(first, (outside, config.channels(source), _MEAN, _MEAN)).items()
        yield from _bounded(second, (outside, outside, 1, 1)).items()


def _bounded(name: str, shape: Shape, rows_at: int = 0) -> dict[str, Shape]:
    """With spectral normalization, of the matrix whose rows are along an axis of the weight."""
    size = 1
    for length in shape:
        size *= length
    rows = shape[rows_at]
    return {f"{name}.{BOUNDED}": shape, f"{name}.weight_u": (rows,), f"{name}.weight_v": (size // rows,)}


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def _class_norm(name: str, width: int, z_dim: int) -> dict[str, Shape]:
    found: dict[str, Shape] = {f"{name}.{part}": (width,) for part in ("stored_mean", "stored_var")}
    for part in ("gain", "bias"):
        found |= _bounded(f"{name}.{part}", (width, z_dim)) | {f"{name}.{part}.bias": (width,)}
    return found
