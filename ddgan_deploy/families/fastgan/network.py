"""A FastGAN generator whose normalizations are folded into its convolutions; nodes are named after its modules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.families.fastgan.config import SMALLEST, FastganConfig

EPSILON = 1e-8


class UnitMeanSquare(nn.Module):
    """z / sqrt(mean(z^2) + 1e-8) of latents [N, 1, z_dim] -> [N, z_dim], in float32."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        z = z.float().flatten(1)
        return z / torch.sqrt(torch.mean(z**2, dim=-1, keepdim=True) + EPSILON)


class Classes(nn.Module):
    """The embeddings [N, E] of classes, int64 [N, 1]."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, width))

    def forward(self, label: torch.Tensor) -> torch.Tensor:
        return F.embedding(label, self.weight).flatten(1)


class Silu(nn.Module):
    """x times its sigmoid."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(x)


class Glu(nn.Module):
    """The first half of the channels times the sigmoid of the second, [N, 2C, H, W] -> [N, C, H, W]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = _halves(x)
        return value * torch.sigmoid(gate)


class First(nn.Module):
    """The latent [N, z_dim] -> features [N, C, 4, 4]: on one pixel a transposed convolution is a product."""

    def __init__(self, config: FastganConfig) -> None:
        super().__init__()
        self.shape = (2 * config.channels(SMALLEST), SMALLEST, SMALLEST)
        self.linear = nn.Linear(config.z_dim, self.shape[0] * SMALLEST * SMALLEST)
        self.glu = Glu()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.glu(self.linear(z).reshape(-1, *self.shape))
        return x


class Noise(nn.Module):
    """Adds noise [N, 1, H, W], times a weight [1, C or 1, 1, 1]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        return x + noise.to(x.dtype) * self.weight


class Style(nn.Module):
    """The normalization of a class: x [N, C, H, W] times a scale plus a shift, both affine in its embedding [N, E]."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * channels)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        scale, shift = _halves(self.linear(embedding).reshape(-1, 2 * x.shape[1], 1, 1))
        return x * scale + shift


class Layer(nn.Module):
    """A 3x3 convolution, noise, the normalization and a GLU; the normalization is in the convolution but for classes'.

    Args:
        inside, outside: channels before and after.
    """

    def __init__(self, config: FastganConfig, inside: int, outside: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, 2 * outside, 3, padding=1, bias=not config.cond)
        self.noise = None if config.lite else Noise(1 if config.cond else 2 * outside)
        self.style = Style(config.z_dim, 2 * outside) if config.cond else None
        self.glu = Glu()

    def forward(self, x: torch.Tensor, noises: Iterator[torch.Tensor], embedding: torch.Tensor | None) -> torch.Tensor:
        x = self.conv(x)
        if self.noise is not None:
            x = self.noise(x, next(noises))
        if self.style is not None:
            x = self.style(x, embedding)
        x = self.glu(x)
        return x


class Block(nn.Module):
    """Twice the size by nearest neighbours, then one layer (lite) or two."""

    def __init__(self, config: FastganConfig, resolution: int) -> None:
        super().__init__()
        outside = config.channels(resolution)
        self.first = Layer(config, config.channels(resolution // 2), outside)
        self.second = None if config.lite else Layer(config, outside, outside)

    def forward(self, x: torch.Tensor, noises: Iterator[torch.Tensor], embedding: torch.Tensor | None) -> torch.Tensor:
        x = self.first(F.interpolate(x, scale_factor=2.0, mode="nearest"), noises, embedding)
        return x if self.second is None else self.second(x, noises, embedding)


class Excitation(nn.Module):
    """Skip-layer excitation: features times one gate a channel, made of the means of earlier features.

    Args:
        source: resolution of those.
    """

    def __init__(self, config: FastganConfig, resolution: int, source: int) -> None:
        super().__init__()
        channels = config.channels(resolution)
        self.mean = nn.AvgPool2d(source // SMALLEST) if source > SMALLEST else nn.Identity()
        self.squeeze = nn.Conv2d(config.channels(source), channels, SMALLEST, bias=False)
        self.silu = Silu()
        self.excite = nn.Conv2d(channels, channels, 1, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        gates: torch.Tensor = self.sigmoid(self.excite(self.silu(self.squeeze(self.mean(source)))))
        return x * gates


class Generator(nn.Module):
    """Latent, noise and class -> features and an image."""

    def __init__(self, config: FastganConfig) -> None:
        super().__init__()
        self.config = config
        self.normalize = UnitMeanSquare()
        self.embed = Classes(config.classes, config.z_dim) if config.cond else None
        self.init = First(config)
        for resolution in config.block_resolutions:
            self.add_module(f"feat_{resolution}", Block(config, resolution))
            source = config.gated_by(resolution)
            if source is not None:
                self.add_module(f"se_{resolution}", Excitation(config, resolution, source))
        self.to_big = nn.Conv2d(config.channels(config.img_resolution), config.img_channels, 3, padding=1)

    def forward(
        self, z: torch.Tensor, noises: Sequence[torch.Tensor] = (), label: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """The features after every block, from 4x4 on, and the image [N, C, H, W], which is not bounded.

        Args:
            z: latents [N, 1, z_dim].
            noises: one [N, 1, r, r] for each of the config's ``noise_resolutions``.
            label: of a conditional network, int64 [N, 1] in 0..c_dim-1.
        """
        remaining = iter(noises)
        embedding = None if self.embed is None else self.embed(label)
        x = self.init(self.normalize(z).to(self.to_big.weight.dtype))
        features = {SMALLEST: x}
        for resolution in self.config.block_resolutions:
            x = self.get_submodule(f"feat_{resolution}")(x, remaining, embedding)
            source = self.config.gated_by(resolution)
            if source is not None:
                x = self.get_submodule(f"se_{resolution}")(x, features[source])
            features[resolution] = x
        return (*features.values(), self.to_big(x))


def _halves(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The first half of the channels, and the second."""
    # Not chunk, whose node the exporter makes without the name of its module.
    half = x.shape[1] // 2
    return x.narrow(1, 0, half), x.narrow(1, half, half)
