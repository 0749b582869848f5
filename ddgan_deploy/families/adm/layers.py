"""The layers of a UNet and of a classifier."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.families.adm import layout
from ddgan_deploy.families.adm.config import GROUPS
from ddgan_deploy.kernels.adagn.spec import adagn

EPSILON = 1e-5
Styles = Iterator[torch.Tensor]
"""What the embedding gives the residual blocks, in running order: scale and shift [N or 1, C] of each, or a bias."""


class Norm(nn.Module):
    """Affine group normalization: an AdaGN whose style is constant."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor, activation: str = "silu") -> torch.Tensor:
        return adagn(x, self.weight[None], self.bias[None], GROUPS, EPSILON, activation)


class AdaGN(nn.Module):
    """Group normalization whose scale and shift follow from the embedding; section 3.1 of Dhariwal & Nichol."""

    def forward(self, x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        return adagn(x, scale, shift, GROUPS, EPSILON, "silu")


class ResBlock(nn.Module):
    """A residual block, which may resample."""

    def __init__(self, layer: layout.Layer, scale_shift: bool) -> None:
        super().__init__()
        inputs, outputs = layer.inputs, layer.outputs
        self.resampling = layer.resampling
        self.in_layers = nn.ModuleDict({"0": Norm(inputs), "2": conv3x3(inputs, outputs)})
        norm = AdaGN() if scale_shift else Norm(outputs)
        self.out_layers = nn.ModuleDict({"0": norm, "3": conv3x3(outputs, outputs)})
        self.skip_connection = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor, styles: Styles) -> torch.Tensor:
        h = self.in_layers["2"](self._resampled(self.in_layers["0"](x)))
        norm = self.out_layers["0"]
        first = next(styles)
        h = norm(h, first, next(styles)) if isinstance(norm, AdaGN) else norm(h + first[:, :, None, None])
        y: torch.Tensor = self.skip_connection(self._resampled(x)) + self.out_layers["3"](h)
        return y

    def _resampled(self, x: torch.Tensor) -> torch.Tensor:
        if self.resampling == "down":
            return F.avg_pool2d(x, 2)
        return _doubled(x) if self.resampling == "up" else x


class Attention(nn.Module):
    """Self-attention over all pixels; its scale is in q."""

    def __init__(self, layer: layout.Layer) -> None:
        super().__init__()
        self.heads, self.channels = layer.heads, layer.inputs
        self.norm = Norm(layer.inputs)
        self.softmax = nn.Softmax(-1)
        self.qkv = nn.Conv2d(layer.inputs, 3 * layer.inputs, 1)
        self.proj_out = nn.Conv2d(layer.inputs, layer.inputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        each = (-1, 3 * self.heads, self.channels // self.heads, height * width)
        q, k, v = self.qkv(self.norm(x, "none")).reshape(each).chunk(3, dim=1)
        scores = self.softmax((q.transpose(2, 3) @ k).float()).to(v.dtype)
        h = (v @ scores.transpose(2, 3)).reshape(-1, self.channels, height, width)
        y: torch.Tensor = x + self.proj_out(h)
        return y


class Down(nn.Module):
    """Half the size, by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.op(x)
        return y


class Up(nn.Module):
    """Double the size, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(_doubled(x))
        return y


def conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    """A convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def block(layers: tuple[layout.Layer, ...], scale_shift: bool) -> nn.ModuleList:
    """The modules of a block."""
    return nn.ModuleList(_module(layer, scale_shift) for layer in layers)


def run(modules: nn.Module, x: torch.Tensor, styles: Styles) -> torch.Tensor:
    """The layers of a `block`, one after another."""
    for module in modules.children():
        x = module(x, styles) if isinstance(module, ResBlock) else module(x)
    return x


def _module(layer: layout.Layer, scale_shift: bool) -> nn.Module:
    if layer.kind == "res":
        return ResBlock(layer, scale_shift)
    if layer.kind == "attention":
        return Attention(layer)
    if layer.kind == "conv":
        return conv3x3(layer.inputs, layer.outputs)
    return Down(layer.inputs) if layer.kind == "down" else Up(layer.inputs)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
