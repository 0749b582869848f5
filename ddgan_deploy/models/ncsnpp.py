"""The reference generator: NCSN++ with adaptive group normalization.

Song et al., "Score-based generative modeling through SDEs" (ICLR 2021), as
changed by Xiao, Kreis & Vahdat, "Tackling the generative learning trilemma with
denoising diffusion GANs" (ICLR 2022). Parameter names equal those of published
checkpoints.

The network is stated in two parts. `Generator.condition` turns (t, z) into every
block's time bias, scale and shift; `Generator.denoise` is the U-Net that uses
them. An unrolled sampler then conditions all its steps at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.kernels.adagn.spec import adagn
from ddgan_deploy.models.config import GeneratorConfig
from ddgan_deploy.models.layers import (
    NIN,
    PyramidConv,
    Resample,
    ResampleKind,
    init_uniform,
    norm_groups,
    residual,
    time_embedding,
)

EPSILON = 1e-6
TINY = 1e-10
"""Initial scale of the last layer of a residual branch, which then starts as the identity."""


BlockCall = Callable[[torch.Tensor], torch.Tensor]


class Style(NamedTuple):
    """Scale and shift of one AdaGN, each [N or 1, C]."""

    scale: torch.Tensor
    shift: torch.Tensor


class Conditioning(NamedTuple):
    """What (t, z) say to the U-Net, in the order in which its blocks run.

    Attributes:
        time_biases: one [N or 1, C, 1, 1] a ResBlock; empty where the network ignores t.
        styles: one a style layer: per ResBlock two ("biggan") or one ("biggan_oneadagn").
    """

    time_biases: list[torch.Tensor]
    styles: list[Style]


class PixelNorm(nn.Module):
    """z / sqrt(mean(z^2) + 1e-8) over the last axis, in float32."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        z = z.float()
        return z / torch.sqrt(torch.mean(z**2, dim=-1, keepdim=True) + 1e-8)


class AdaGN(nn.Module):
    """Adaptive group normalization; its style layer is run by `Generator.styles`."""

    def __init__(self, channels: int, z_emb_dim: int) -> None:
        super().__init__()
        self.groups = norm_groups(channels)
        self.style = nn.Linear(z_emb_dim, 2 * channels)
        init_uniform(self.style)
        with torch.no_grad():
            self.style.bias[:channels] = 1
            self.style.bias[channels:] = 0

    def forward(self, x: torch.Tensor, style: Style, activation: str = "silu") -> torch.Tensor:
        return adagn(x, style.scale, style.shift, self.groups, EPSILON, activation)


class GroupNorm(nn.Module):
    """Affine group normalization: an AdaGN whose style is constant."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.groups = norm_groups(channels)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor, activation: str = "none") -> torch.Tensor:
        return adagn(x, self.weight[None], self.bias[None], self.groups, EPSILON, activation)


class ResBlock(nn.Module):
    """The BigGAN residual block, optionally resampling by two."""

    def __init__(
        self, config: GeneratorConfig, in_channels: int, out_channels: int, resample: ResampleKind = "none"
    ) -> None:
        super().__init__()
        self.skip_rescale = config.skip_rescale
        self.one_adagn = config.resblock_type == "biggan_oneadagn"
        self.GroupNorm_0 = AdaGN(in_channels, config.z_emb_dim)
        self.Conv_0 = _initialized(nn.Conv2d(in_channels, out_channels, 3, padding=1))
        self.Dense_0 = nn.Linear(4 * config.num_channels_dae, out_channels)
        self.GroupNorm_1: AdaGN | GroupNorm = (
            GroupNorm(out_channels) if self.one_adagn else AdaGN(out_channels, config.z_emb_dim)
        )
        self.Conv_1 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        has_shortcut = in_channels != out_channels or resample != "none"
        self.Conv_2: nn.Module = nn.Conv2d(in_channels, out_channels, 1) if has_shortcut else nn.Identity()
        self.resample = Resample(config, in_channels, resample)
        for layer in (self.Conv_0, self.Dense_0, self.Conv_2):
            init_uniform(layer)
        init_uniform(self.Conv_1, TINY)

    def time_bias(self, temb: torch.Tensor) -> torch.Tensor:
        """[N, out_channels, 1, 1] from the embedding of t, [N, 4 nf]."""
        bias: torch.Tensor = self.Dense_0(F.silu(temb))
        return bias[:, :, None, None]

    def forward(self, x: torch.Tensor, time_bias: torch.Tensor | None, styles: Iterator[Style]) -> torch.Tensor:
        h = self.resample(self.GroupNorm_0(x, next(styles)))
        h = self.Conv_0(h)
        if time_bias is not None:
            h = h + time_bias
        norm = self.GroupNorm_1
        h = norm(h, next(styles)) if isinstance(norm, AdaGN) else norm(h, "silu")
        h = self.Conv_1(h)
        return residual(self.Conv_2(self.resample(x)), h, self.skip_rescale)


class Attention(nn.Module):
    """Self-attention with one head over all pixels."""

    def __init__(self, config: GeneratorConfig, channels: int) -> None:
        super().__init__()
        self.skip_rescale = config.skip_rescale
        self.scale = channels**-0.5
        self.GroupNorm_0 = GroupNorm(channels)
        self.NIN_0 = NIN(channels, channels)
        self.NIN_1 = NIN(channels, channels)
        self.NIN_2 = NIN(channels, channels)
        self.NIN_3 = NIN(channels, channels, TINY)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        pixels = self.GroupNorm_0(x).reshape(-1, x.shape[1], height * width).transpose(1, 2)
        # The scale goes to q before the product, which could leave fp16's range otherwise.
        q, k, v = self.NIN_0(pixels) * self.scale, self.NIN_1(pixels), self.NIN_2(pixels)
        weights = torch.softmax(q @ k.transpose(1, 2), dim=-1)
        h = self.NIN_3(weights @ v).transpose(1, 2).reshape(-1, *x.shape[1:])
        return residual(x, h, self.skip_rescale)


class Combine(nn.Module):
    """The image's pyramid through a 1x1 convolution, then summed with h or set before it."""

    def __init__(self, config: GeneratorConfig, channels: int) -> None:
        super().__init__()
        self.concatenates = config.progressive_combine == "cat"
        self.Conv_0 = nn.Conv2d(config.num_channels, channels, 1)
        init_uniform(self.Conv_0)

    def forward(self, pyramid: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        pyramid = self.Conv_0(pyramid)
        return torch.cat([pyramid, h], dim=1) if self.concatenates else pyramid + h


class Generator(nn.Module):
    """G(x_t, t, z) -> x_0, with the parameter names of published checkpoints.

    Attributes:
        config: the architecture.
        squash: the last activation, "tanh" or "none"; `denoise` leaves it out.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.squash = "none" if config.not_use_tanh else "tanh"
        self.all_modules = nn.ModuleList(_modules(config))
        mapping: list[nn.Module] = [PixelNorm(), nn.Linear(config.nz, config.z_emb_dim), nn.SiLU()]
        for _ in range(config.n_mlp):
            mapping += [nn.Linear(config.z_emb_dim, config.z_emb_dim), nn.SiLU()]
        self.z_transform = nn.Sequential(*mapping)
        for layer in mapping:
            init_uniform(layer)
        self.image_down = Resample(config, config.num_channels, "down")
        self.image_up = Resample(config, config.num_channels, "up")

    @property
    def blocks(self) -> list[ResBlock]:
        """The ResBlocks in the order in which they run."""
        return [module for module in self.all_modules if isinstance(module, ResBlock)]

    @property
    def style_layers(self) -> list[nn.Linear]:
        """The layers that turn the mapped z into scales and shifts, in the order of use."""
        norms = itertools.chain.from_iterable((b.GroupNorm_0, b.GroupNorm_1) for b in self.blocks)
        return [norm.style for norm in norms if isinstance(norm, AdaGN)]

    def time_biases(self, t: torch.Tensor) -> list[torch.Tensor]:
        """Each ResBlock's bias [N, C, 1, 1] from integer times t [N]; empty where the network ignores t."""
        if not self.config.conditional:
            return []
        temb = time_embedding(t, self.config.num_channels_dae)
        temb = self.all_modules[1](F.silu(self.all_modules[0](temb)))
        return [block.time_bias(temb) for block in self.blocks]

    def styles(self, z: torch.Tensor) -> list[Style]:
        """Each AdaGN's scale and shift [N, C] from latents z [N, nz]."""
        w = self.z_transform(z)
        return [Style(*layer(w).chunk(2, dim=1)) for layer in self.style_layers]

    def condition(self, t: torch.Tensor, z: torch.Tensor) -> Conditioning:
        """The conditioning of one step from t, integer [N], and z, [N, nz]."""
        return Conditioning(self.time_biases(t), self.styles(z))

    def denoise(self, x: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        """The U-Net: x_t [N, C, H, W] -> x_0 before the last activation, of the same shape."""
        time_biases = iter(conditioning.time_biases)
        styles = iter(conditioning.styles)
        modules = iter(self.all_modules[2:] if self.config.conditional else self.all_modules)

        def block(h: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = next(modules)(h, next(time_biases, None), styles)
            return out

        if not self.config.centered:
            x = 2 * x - 1
        h, skips = self._down(x, modules, block)
        h = block(h)
        h = next(modules)(h)
        h = block(h)
        return self._up(h, skips, modules, block)

    def _down(
        self, x: torch.Tensor, modules: Iterator[nn.Module], block: BlockCall
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        config = self.config
        pyramid = x
        h = next(modules)(x)
        skips = [h]
        for level in range(config.levels):
            for _ in range(config.num_res_blocks):
                h = block(h)
                if config.has_attention(level):
                    h = next(modules)(h)
                skips.append(h)
            if level == config.levels - 1:
                break
            h = block(h)
            if config.progressive_input == "input_skip":
                pyramid = self.image_down(pyramid)
                h = next(modules)(pyramid, h)
            elif config.progressive_input == "residual":
                h = pyramid = residual(next(modules)(pyramid), h, config.skip_rescale)
            skips.append(h)
        return h, skips

    def _up(
        self, h: torch.Tensor, skips: list[torch.Tensor], modules: Iterator[nn.Module], block: BlockCall
    ) -> torch.Tensor:
        config = self.config
        pyramid: torch.Tensor | None = None
        for level in reversed(range(config.levels)):
            for _ in range(config.num_res_blocks + 1):
                h = block(torch.cat([h, skips.pop()], dim=1))
            if config.has_attention(level):
                h = next(modules)(h)
            if config.progressive == "output_skip":
                image = _image(h, modules)
                pyramid = image if pyramid is None else self.image_up(pyramid) + image
            if level > 0:
                h = block(h)
        if pyramid is not None:
            return pyramid
        return _image(h, modules)

    def forward(self, x: torch.Tensor, t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """x_0 [N, C, H, W] from x_t, integer times t [N] and latents z [N, nz]."""
        raw = self.denoise(x, self.condition(t, z))
        return torch.tanh(raw) if self.squash == "tanh" else raw


def _modules(config: GeneratorConfig) -> Iterator[nn.Module]:
    """``all_modules`` in the published order."""
    nf, image_channels = config.num_channels_dae, config.num_channels
    if config.conditional:
        for width in (nf, 4 * nf):
            yield _initialized(nn.Linear(width, 4 * nf))
    yield _initialized(nn.Conv2d(image_channels, nf, 3, padding=1))
    skip_channels = [nf]
    channels, pyramid_channels = nf, image_channels
    for level in range(config.levels):
        for _ in range(config.num_res_blocks):
            yield ResBlock(config, channels, nf * config.ch_mult[level])
            channels = nf * config.ch_mult[level]
            if config.has_attention(level):
                yield Attention(config, channels)
            skip_channels.append(channels)
        if level == config.levels - 1:
            break
        yield ResBlock(config, channels, channels, "down")
        if config.progressive_input == "input_skip":
            yield Combine(config, channels)
            channels *= 2 if config.progressive_combine == "cat" else 1
        elif config.progressive_input == "residual":
            yield PyramidConv(config, pyramid_channels, channels)
            pyramid_channels = channels
        skip_channels.append(channels)
    yield ResBlock(config, channels, channels)
    yield Attention(config, channels)
    yield ResBlock(config, channels, channels)
    for level in reversed(range(config.levels)):
        for _ in range(config.num_res_blocks + 1):
            yield ResBlock(config, channels + skip_channels.pop(), nf * config.ch_mult[level])
            channels = nf * config.ch_mult[level]
        if config.has_attention(level):
            yield Attention(config, channels)
        if config.progressive == "output_skip":
            yield from _to_image(channels, image_channels)
        if level > 0:
            yield ResBlock(config, channels, channels, "up")
    if config.progressive == "none":
        yield from _to_image(channels, image_channels)


def _image(h: torch.Tensor, modules: Iterator[nn.Module]) -> torch.Tensor:
    norm, conv = next(modules), next(modules)
    image: torch.Tensor = conv(norm(h, "silu"))
    return image


def _to_image(channels: int, image_channels: int) -> Iterator[nn.Module]:
    yield GroupNorm(channels)
    yield _initialized(nn.Conv2d(channels, image_channels, 3, padding=1), TINY)


def _initialized(layer: nn.Module, scale: float = 1.0) -> nn.Module:
    init_uniform(layer, scale)
    return layer
