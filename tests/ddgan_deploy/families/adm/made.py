"""Networks of ADM in every form: how one is made, and random weights under their published names and shapes."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from math import prod, sqrt

import torch

SPATIAL = 2048


@dataclass(frozen=True)
class Made:
    """How a network is made, and its weights under their published names; with a pool it is a classifier."""

    image_size: int = 8
    num_channels: int = 32
    num_res_blocks: int = 1
    channel_mult: tuple[float, ...] = (1, 2)
    attention: tuple[int, ...] = ()
    use_scale_shift_norm: bool = True
    resblock_updown: bool = True
    num_heads: int = 4
    num_head_channels: int = -1
    num_heads_upsample: int = -1
    use_new_attention_order: bool = False
    learn_sigma: bool = True
    num_classes: int = 0
    small_size: int = 0
    pool: str = ""
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def widths(self) -> list[int]:
        return [int(mult * self.num_channels) for mult in self.channel_mult]

    @property
    def arguments(self) -> dict[str, object]:
        """By the names that the published scripts have."""
        shared = {
            "attention_resolutions": ",".join(str(self.image_size >> level) for level in self.attention),
            "use_scale_shift_norm": self.use_scale_shift_norm,
            "resblock_updown": self.resblock_updown,
            "channel_mult": list(self.channel_mult),
            "num_head_channels": self.num_head_channels,
        }
        if self.pool:
            own = {"width": self.num_channels, "depth": self.num_res_blocks, "pool": self.pool}
            return {f"classifier_{name}": value for name, value in {**shared, **own}.items()}
        size = {"large_size": self.image_size, "small_size": self.small_size}
        return {
            **shared,
            **(size if self.small_size else {"image_size": self.image_size}),
            "num_channels": self.num_channels,
            "num_res_blocks": self.num_res_blocks,
            "num_heads": self.num_heads,
            "num_heads_upsample": self.num_heads_upsample,
            "use_new_attention_order": self.use_new_attention_order,
            "learn_sigma": self.learn_sigma,
            "class_cond": self.num_classes > 0,
        }


def made(**options) -> Made:
    """With random weights, each of which counts."""
    it = Made(**options)
    for name, shape in shapes(it).items():
        random = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        values = torch.randn(shape, generator=random)
        if len(shape) > 1:
            values /= 2 if "emb" in name and "layers" not in name else sqrt(prod(shape[1:]))
        else:
            values = values / 5 + float(name.endswith(".weight"))
        it.weights[name] = values
    if it.pool:
        last = {"attention": "out.2.c_proj", "spatial": "out.2"}.get(it.pool, "out.3")
        # Else classes are hardly told apart, and their gradient is all but nothing.
        it.weights[f"{last}.weight"] *= 4
    return it


def shapes(it: Made) -> dict[str, tuple[int, ...]]:
    """Of all its weights, by their published names."""
    return dict(_shapes(it))


def _shapes(it: Made):
    emb, width = 4 * it.num_channels, it.widths[0]
    yield from _both("time_embed.0", emb, it.num_channels)
    yield from _both("time_embed.2", emb, emb)
    if it.num_classes and not it.pool:
        yield "label_emb.weight", (it.num_classes, emb)
    yield from _both("input_blocks.0.0", width, 6 if it.small_size else 3, 3, 3)
    skips, number = [width], 1
    for level, outputs in enumerate(it.widths):
        for _ in range(it.num_res_blocks):
            yield from _block(it, f"input_blocks.{number}", level, width, outputs)
            width, number = outputs, number + 1
            skips.append(width)
        if level < len(it.widths) - 1:
            yield from _resampling(it, f"input_blocks.{number}.0", "op", width)
            number += 1
            skips.append(width)
    yield from _resblock(it, "middle_block.0", width, width)
    yield from _attention_shapes("middle_block.1", width)
    yield from _resblock(it, "middle_block.2", width, width)
    if it.pool:
        yield from _pool_shapes(it, sum(skips) + width, width)
        return
    number = 0
    for level in reversed(range(len(it.widths))):
        outputs = it.widths[level]
        for i in range(it.num_res_blocks + 1):
            name = f"output_blocks.{number}"
            yield from _block(it, name, level, width + skips.pop(), outputs)
            width, number = outputs, number + 1
            if level and i == it.num_res_blocks:
                yield from _resampling(it, f"{name}.{2 if level in it.attention else 1}", "conv", width)
    yield from _both("out.0", width)
    yield from _both("out.2", 6 if it.learn_sigma else 3, width, 3, 3)


def _pool_shapes(it: Made, features: int, width: int):
    if it.pool == "attention":
        side = it.image_size >> len(it.widths) - 1
        yield from _both("out.0", width)
        yield "out.2.positional_embedding", (width, side * side + 1)
        yield from _both("out.2.qkv_proj", 3 * width, width, 1)
        yield from _both("out.2.c_proj", it.num_classes, width, 1)
    elif it.pool == "adaptive":
        yield from _both("out.0", width)
        yield from _both("out.3", it.num_classes, width, 1, 1)
    else:
        yield from _both("out.0", SPATIAL, features)
        if it.pool == "spatial_v2":
            yield from _both("out.1", SPATIAL)
        yield from _both("out.2" if it.pool == "spatial" else "out.3", it.num_classes, SPATIAL)


def _both(name: str, *shape: int):
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _block(it: Made, name: str, level: int, inputs: int, outputs: int):
    yield from _resblock(it, f"{name}.0", inputs, outputs)
    if level in it.attention:
        yield from _attention_shapes(f"{name}.1", outputs)


def _resblock(it: Made, name: str, inputs: int, outputs: int):
    yield from _both(f"{name}.in_layers.0", inputs)
    yield from _both(f"{name}.in_layers.2", outputs, inputs, 3, 3)
    yield from _both(f"{name}.emb_layers.1", outputs * (2 if it.use_scale_shift_norm else 1), 4 * it.num_channels)
    yield from _both(f"{name}.out_layers.0", outputs)
    yield from _both(f"{name}.out_layers.3", outputs, outputs, 3, 3)
    if inputs != outputs:
        yield from _both(f"{name}.skip_connection", outputs, inputs, 1, 1)


def _attention_shapes(name: str, width: int):
    yield from _both(f"{name}.norm", width)
    yield from _both(f"{name}.qkv", 3 * width, width, 1)
    yield from _both(f"{name}.proj_out", width, width, 1)


def _resampling(it: Made, name: str, conv: str, width: int):
    if it.resblock_updown:
        yield from _resblock(it, name, width, width)
    else:
        yield from _both(f"{name}.{conv}", width, width, 3, 3)
