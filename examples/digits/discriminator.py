"""The time-dependent discriminator D(x_{t-1}, x_t, t) (Xiao et al. 2022, appendix C)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.families.ddgan.layers import init_uniform, time_embedding

SLOPE = 0.2
"""Of the leaky ReLU."""
STD_GROUP = 4
"""Images that share one minibatch standard deviation."""


class Block(nn.Module):
    """A residual block of two 3x3 convolutions that halves the image and hears the time."""

    def __init__(self, in_channels: int, out_channels: int, embedding: int, down: bool = True) -> None:
        super().__init__()
        self.down = down
        self.conv_0 = nn.Conv2d(in_channels, in_channels, 3, padding=1)
        self.time = nn.Linear(embedding, in_channels)
        self.conv_1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        h = self.conv_0(F.leaky_relu(x, SLOPE)) + self.time(embedding)[:, :, None, None]
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        h = self.conv_1(F.leaky_relu(h, SLOPE))
        return (h + self.shortcut(x)) * math.sqrt(0.5)


class Discriminator(nn.Module):
    """One logit for each pair of neighbouring states: high where x_{t-1} looks real given x_t.

    Args:
        image_channels: channels of one image.
        width: channels at full resolution; doubled at each of the two halvings.
        embedding: width of the time embedding.
    """

    def __init__(self, image_channels: int, width: int = 32, embedding: int = 64) -> None:
        super().__init__()
        self.embedding = nn.Sequential(
            nn.Linear(embedding, embedding), nn.LeakyReLU(SLOPE), nn.Linear(embedding, embedding)
        )
        self.start = nn.Conv2d(2 * image_channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            [
                Block(width, 2 * width, embedding),
                Block(2 * width, 4 * width, embedding),
                Block(4 * width, 4 * width, embedding, down=False),
            ]
        )
        self.last = nn.Conv2d(4 * width + 1, 4 * width, 3, padding=1)
        self.logit = nn.Linear(4 * width, 1)
        for module in self.modules():
            init_uniform(module)

    def forward(self, x_prev: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Logits [N] of pairs x_{t-1}, x_t, both [N, C, H, W], at the generator's integer t, [N]."""
        width = self.embedding[0].in_features
        embedding = F.leaky_relu(self.embedding(time_embedding(t, width)), SLOPE)
        h = self.start(torch.cat([x_prev, x], dim=1))
        for block in self.blocks:
            h = block(h, embedding)
        h = F.leaky_relu(self.last(with_minibatch_std(h)), SLOPE)
        logits: torch.Tensor = self.logit(h.sum(dim=(2, 3)))[:, 0]
        return logits


def with_minibatch_std(x: torch.Tensor) -> torch.Tensor:
    """x [N, C, H, W] with one channel more: how much its group of images varies (Karras et al. 2018).

    Image n belongs to group n mod (N / group size); a batch that four does not
    divide is one group.
    """
    n, channels, height, width = x.shape
    group = STD_GROUP if n % STD_GROUP == 0 else n
    grouped = x.reshape(group, n // group, channels, height, width)
    variance = (grouped - grouped.mean(dim=0)).square().mean(dim=0)
    std = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))
    return torch.cat([x, std.repeat(group)[:, None, None, None].expand(n, 1, height, width)], dim=1)
