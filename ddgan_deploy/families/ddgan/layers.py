"""The layers that hold no conditioning: resampling, pyramids, per-pixel products."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.config import GeneratorConfig

ResampleKind = Literal["none", "down", "up"]


def norm_groups(channels: int) -> int:
    """Groups of a normalization over so many channels.

    Raises:
        InputError: the channels cannot be divided into that many groups.
    """
    groups = min(channels // 4, 32)
    if groups < 1 or channels % groups:
        raise InputError(
            f"a layer of {channels} channels cannot be normalized in {groups} groups: "
            "choose num_channels_dae and ch_mult so that min(channels // 4, 32) divides it"
        )
    return groups


def residual(x: torch.Tensor, h: torch.Tensor, rescale: bool) -> torch.Tensor:
    """x + h, over sqrt(2) where the network keeps its variance (``skip_rescale``)."""
    return (x + h) * math.sqrt(0.5) if rescale else x + h


def time_embedding(t: torch.Tensor, width: int) -> torch.Tensor:
    """Sinusoidal embedding [N, width] of integer times t [N]; Vaswani et al. 2017, section 3.5."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32, device=t.device) * -(math.log(10000) / (half - 1)))
    angles = t.float()[:, None] * frequencies[None, :]
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


def init_uniform(layer: nn.Module, scale: float = 1.0) -> None:
    """Uniform variance scaling over the mean of fan-in and fan-out; biases zero.

    Layers without weights are left alone.
    """
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, torch.Tensor):
        return
    nn.init.xavier_uniform_(weight, gain=math.sqrt(scale))
    bias = getattr(layer, "bias", None)
    if isinstance(bias, torch.Tensor):
        nn.init.zeros_(bias)


def initialized(layer: nn.Module, scale: float = 1.0) -> nn.Module:
    """The layer, after `init_uniform`."""
    init_uniform(layer, scale)
    return layer


class NIN(nn.Module):
    """A linear map of each pixel's channels, [N, in, H, W] -> [N, out, H, W]; its weight is stored [in, out]."""

    def __init__(self, in_channels: int, out_channels: int, scale: float = 0.1) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.empty(in_channels, out_channels))
        self.b = nn.Parameter(torch.zeros(out_channels))
        nn.init.xavier_uniform_(self.W, gain=math.sqrt(scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return map_pixels(x, self.W, self.b)


def map_pixels(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """[N, in, H, W] -> [N, out, H, W] by a weight [in, out] and a bias [out], the same for every pixel."""
    return F.conv2d(x, weight.t()[:, :, None, None], bias)


class Resample(nn.Module):
    """Down or up by two along height and width, [N, C, H, W]; "none" is the identity.

    With ``fir`` a separable 4-tap filter (Karras et al. 2020, StyleGAN2), without
    it the mean of 2x2 or nearest neighbours.
    """

    kernel: torch.Tensor

    def __init__(self, config: GeneratorConfig, channels: int, kind: ResampleKind) -> None:
        super().__init__()
        self.kind, self.fir, self.channels = kind, config.fir, channels
        if self.fir and kind != "none":
            taps = fir_kernel(config) if kind == "down" else 4 * fir_kernel(config).flip(0, 1)
            self.register_buffer("kernel", taps.repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "none":
            return x
        if self.kind == "down":
            if self.fir:
                return F.conv2d(x, self.kernel, stride=2, padding=1, groups=self.channels)
            return F.avg_pool2d(x, 2)
        if self.fir:
            return F.conv_transpose2d(x, self.kernel, stride=2, padding=1, groups=self.channels)
        return F.interpolate(x, scale_factor=2.0, mode="nearest")


class PyramidConv(nn.Module):
    """A 3x3 convolution of the input pyramid that halves it.

    With ``fir`` the filter runs first, at stride 1 with padding 2; without it the
    image is padded by one to the right and the bottom.
    """

    kernel: torch.Tensor

    def __init__(self, config: GeneratorConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.fir, self.in_channels = config.fir, in_channels
        conv = nn.Conv2d(in_channels, out_channels, 3, stride=2)
        init_uniform(conv)
        if self.fir:
            self.Conv2d_0 = conv
            kernel = fir_kernel(config).repeat(in_channels, 1, 1, 1)
            self.register_buffer("kernel", kernel, persistent=False)
        else:
            self.Conv_0 = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fir:
            y: torch.Tensor = self.Conv2d_0(F.conv2d(x, self.kernel, padding=2, groups=self.in_channels))
        else:
            y = self.Conv_0(F.pad(x, (0, 1, 0, 1)))
        return y


def fir_kernel(config: GeneratorConfig) -> torch.Tensor:
    """The normalized 4x4 filter, flipped so that a cross-correlation applies it."""
    taps = torch.tensor(config.fir_kernel, dtype=torch.float32)
    kernel = torch.outer(taps, taps)
    return (kernel / kernel.sum()).flip(0, 1)
