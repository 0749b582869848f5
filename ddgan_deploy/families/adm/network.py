"""The UNet (Dhariwal & Nichol 2021, section 3) and the classifier (section 4), each in two parts.

``styles(embedding)`` is all that time and class say, and ``forward(x, styles)`` the network itself: a graph of many
steps calls the first where something in it changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.families.adm.config import SPATIAL_WIDTH, AdmConfig, ClassifierConfig
from ddgan_deploy.families.adm.keys import pooled_channels
from ddgan_deploy.families.adm.layers import Norm, block, conv3x3, run
from ddgan_deploy.families.adm.layout import Network, all_layers, down_blocks, middle_block, up_blocks


class Encoder(nn.Module):
    """The way down and the middle, and the embedding of time."""

    def __init__(self, config: Network) -> None:
        super().__init__()
        width, embedding = config.num_channels, config.embedding
        self.time_width = width
        self.time_embed = nn.Sequential(nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        of_one = 2 if config.use_scale_shift_norm else 1
        self.style_widths = tuple(
            layer.outputs for layer in all_layers(config) if layer.kind == "res" for _ in range(of_one)
        )
        self.style = nn.Linear(embedding, sum(self.style_widths))
        scale_shift = config.use_scale_shift_norm
        self.input_blocks = nn.ModuleList(block(each.layers, scale_shift) for each in down_blocks(config))
        self.middle_block = block(middle_block(config).layers, scale_shift)

    def halve(self) -> None:
        """Puts the convolutions of all blocks into float16, as the published code does, and nothing else."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d) and name.startswith(("input_blocks", "middle_block", "output_blocks")):
                module.half()

    @property
    def dtype(self) -> torch.dtype:
        """Of the blocks' convolutions."""
        return next(self.middle_block.parameters()).dtype

    def embed_time(self, t: torch.Tensor) -> torch.Tensor:
        """Of times [N], as the network is given them: [N, embedding]."""
        half = self.time_width // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
        angles = t.float()[:, None] * rates[None]
        waves = torch.cat([angles.cos(), angles.sin()], dim=1)
        embedding: torch.Tensor = self.time_embed(F.pad(waves, (0, self.time_width % 2)))
        return embedding

    def styles(self, embedding: torch.Tensor) -> list[torch.Tensor]:
        """What an embedding [N, embedding] says to the residual blocks, each [N, width of style_widths]."""
        return list(self.style(F.silu(embedding)).split(self.style_widths, dim=1))


class UNet(Encoder):
    """The noise, or x_0, from x_t; beside it what the variance is made of, where that is learned."""

    def __init__(self, config: AdmConfig) -> None:
        super().__init__(config)
        self.config = config
        scale_shift = config.use_scale_shift_norm
        self.output_blocks = nn.ModuleList(block(each.layers, scale_shift) for each in up_blocks(config))
        width = config.widths[0]
        self.out = nn.ModuleDict({"0": Norm(width), "2": conv3x3(width, 6 if config.learn_sigma else 3)})
        if config.num_classes:
            self.label_emb = nn.Embedding(config.num_classes, config.embedding)
        if config.small_size:
            self.input_blocks[0] = nn.ModuleList([conv3x3(3, width)])
            self.first_of_low_res = nn.Conv2d(3, width, 3, padding=1, bias=False)

    def embed(self, t: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        """Of times [N or 1] and classes [N, 1]: [N or 1, embedding]."""
        embedding = self.embed_time(t)
        if label is None or not self.config.num_classes:
            return embedding
        of_class: torch.Tensor = self.label_emb(label[:, 0])
        return embedding + of_class

    def see_low_res(self, low_res: torch.Tensor) -> torch.Tensor:
        """What the first convolution sees of the image [N, 3, h, w] in [-1, 1] that is to be enlarged, [N, C, H, W]."""
        size = (self.config.image_size,) * 2
        seen: torch.Tensor = self.first_of_low_res(F.interpolate(low_res, size, mode="bilinear"))
        return seen

    def forward(
        self, x: torch.Tensor, styles: Sequence[torch.Tensor], seen: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The output [N, 3 or 6, H, W].

        Args:
            x: the state [N, 3, H, W].
            styles: as `styles` gives them, each [N or 1, C].
            seen: as `see_low_res` gives it, of an upsampler.
        """
        pieces = iter(styles)
        h = x.to(self.dtype)
        skips = []
        for i, modules in enumerate(self.input_blocks):
            h = run(modules, h, pieces)
            if i == 0 and seen is not None:
                h = h + seen.to(h.dtype)
            skips.append(h)
        h = run(self.middle_block, h, pieces)
        for modules in self.output_blocks:
            h = run(modules, torch.cat([h, skips.pop()], dim=1), pieces)
        out: torch.Tensor = self.out["2"](self.out["0"](h.to(x.dtype)))
        return out


class Classifier(Encoder):
    """The logits of the classes from x_t."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        self.config = config
        width, classes = config.widths[-1], config.num_classes
        self.out: nn.ModuleDict
        if config.pool == "attention":
            self.out = nn.ModuleDict({"0": Norm(width), "2": AttentionPool(config)})
        elif config.pool == "adaptive":
            self.out = nn.ModuleDict({"0": Norm(width), "3": nn.Linear(width, classes)})
        else:
            hidden = nn.Linear(pooled_channels(config), SPATIAL_WIDTH)
            last = nn.Linear(SPATIAL_WIDTH, classes)
            newer = {"0": hidden, "1": Norm(SPATIAL_WIDTH), "3": last}
            self.out = nn.ModuleDict({"0": hidden, "2": last} if config.pool == "spatial" else newer)

    def forward(self, x: torch.Tensor, styles: Sequence[torch.Tensor]) -> torch.Tensor:
        """The logits [N, classes].

        Args:
            x: the state [N, 3, H, W].
            styles: as `styles` gives them, each [N or 1, C].
        """
        pieces = iter(styles)
        features = []
        dtype, x = x.dtype, x.to(self.dtype)
        for modules in (*self.input_blocks, self.middle_block):
            x = run(modules, x, pieces)
            features.append(x.to(dtype))
        return self._pooled(features)

    def _pooled(self, features: list[torch.Tensor]) -> torch.Tensor:
        """The logits from what every block gives."""
        logits: torch.Tensor
        if self.config.pool == "attention":
            logits = self.out["2"](self.out["0"](features[-1]))
        elif self.config.pool == "adaptive":
            logits = self.out["3"](self.out["0"](features[-1]).mean((2, 3)))
        else:
            hidden = self.out["0"](torch.cat([each.mean((2, 3)) for each in features], dim=1))
            if self.config.pool == "spatial":
                logits = self.out["2"](F.relu(hidden))
            else:
                logits = self.out["3"](self.out["1"](hidden[:, :, None, None])[:, :, 0, 0])
        return logits


class AttentionPool(nn.Module):
    """An attention whose one query is the mean of all pixels (as CLIP's, Radford et al. 2021)."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        width = config.widths[-1]
        self.heads = config.heads(width)
        self.positional_embedding = nn.Parameter(torch.zeros(width, config.sizes[-1] ** 2 + 1))
        self.query = nn.Linear(width, width)
        self.key_value = nn.Conv1d(width, 2 * width, 1)
        self.c_proj = nn.Linear(width, config.num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixels = x.flatten(2)
        tokens = torch.cat([pixels.mean(2, keepdim=True), pixels], dim=2) + self.positional_embedding
        channels, count = tokens.shape[1:]
        q = self.query(tokens[:, :, 0]).reshape(-1, self.heads, 1, channels // self.heads)
        k, v = self.key_value(tokens).reshape(-1, 2 * self.heads, channels // self.heads, count).chunk(2, dim=1)
        scores = (q @ k).softmax(-1)
        logits: torch.Tensor = self.c_proj((v @ scores.transpose(2, 3)).reshape(-1, channels))
        return logits
