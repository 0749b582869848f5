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

import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.families.ddgan.blocks import (
    TINY,
    AdaGN,
    Attention,
    Combine,
    Conditioning,
    GroupNorm,
    PixelNorm,
    ResBlock,
    Style,
)
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.layers import (
    PyramidConv,
    Resample,
    init_uniform,
    initialized,
    residual,
    time_embedding,
)

BlockCall = Callable[[torch.Tensor], torch.Tensor]


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
            yield initialized(nn.Linear(width, 4 * nf))
    yield initialized(nn.Conv2d(image_channels, nf, 3, padding=1))
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
    yield initialized(nn.Conv2d(channels, image_channels, 3, padding=1), TINY)
