"""What names and shapes of weights tell of an ADM's architecture.

    num_channels     columns of time_embed.0
    num_res_blocks   the first output block that has a second residual block or a convolution above it
    channel_mult     outputs of each level's first residual block over num_channels
    attention        blocks with a ``.1.norm``

A classifier has no output blocks: how many levels its blocks make follows from the positions of its pool, else from
where it halves the size by convolutions, else a config has to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import isqrt
from typing import Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.config import Pool, Told
from ddgan_deploy.families.adm.keys import Shapes

POOLS: dict[str, Pool] = {
    "out.2.positional_embedding": "attention",
    "out.3.bias out.1.weight": "spatial_v2",
    "out.2.weight": "spatial",
    "out.3.weight": "adaptive",
}
"""Keys that only one pool has, in the order in which to look -> the pool."""
_AXES_IN_2D = 4
"""Of the weight of a 2-D convolution."""


def seems_a_network(names: Iterable[str]) -> bool:
    """Whether these are weights of a UNet or of a classifier, perhaps not all of them."""
    return any(name.startswith("input_blocks.") for name in names)


def is_classifier(names: Iterable[str]) -> bool:
    """Whether such a network has no way up."""
    return not any(name.startswith("output_blocks.") for name in names)


def attends_in_2d(contents: Mapping[str, Any]) -> bool:
    """Whether an attention's convolutions are 2-D, as those of openai/consistency_models, and not 1-D, as ADM's."""
    of_attention = (value for name, value in contents.items() if name.endswith((".qkv.weight", ".proj_out.weight")))
    return any(getattr(value, "ndim", 0) == _AXES_IN_2D for value in of_attention)


def told_by_unet(shapes: Shapes) -> Told:
    """Of a UNet.

    Raises:
        InputError: keys are missing that it would have to have.
    """
    outputs = _count(shapes, "output_blocks")
    # Only the last block of a level has something above its attention.
    ends = (i for i in range(outputs) if _resamples(shapes, f"output_blocks.{i}"))
    res_blocks = next(ends, outputs - 1)
    if res_blocks < 1 or outputs % (res_blocks + 1) or _count(shapes, "input_blocks") != outputs:
        raise InputError("its blocks make no levels of equal length: the file is incomplete, or of another network")
    return _told(shapes, res_blocks, outputs // (res_blocks + 1))


def told_by_classifier(shapes: Shapes, image_size: int, depth: int | None) -> Told:
    """Of a classifier.

    Args:
        image_size: pixels along a side of what it sees.
        depth: residual blocks of a level, where that is known.

    Raises:
        InputError: keys are missing that it would have to have, or nothing tells how many levels there are.
    """
    blocks = _count(shapes, "input_blocks")
    convolutions = [i for i in range(blocks) if f"input_blocks.{i}.0.op.weight" in shapes]
    if "out.2.positional_embedding" in shapes:
        side = isqrt(max(shape_of(shapes, "out.2.positional_embedding")[-1] - 1, 1))
        levels = (image_size // side).bit_length() or 1
        res_blocks = blocks // levels - 1 if blocks % levels == 0 else 0
    elif convolutions:
        res_blocks = convolutions[0] - 1
    elif depth is not None:
        res_blocks = depth
    else:
        raise InputError(
            "nothing in it tells how many residual blocks a level has: give --config a JSON file with classifier_depth"
        )
    if res_blocks < 1 or blocks % (res_blocks + 1) or not _are_levels(shapes, blocks, res_blocks + 1):
        raise InputError(
            f"its {blocks} input blocks make no levels at {image_size} pixels: give the classifier that was trained "
            "for this size, and its own classifier_depth if --config has one"
        )
    return _told(shapes, res_blocks, blocks // (res_blocks + 1))


def pool_of(shapes: Shapes) -> Pool:
    """How a classifier makes logits.

    Raises:
        InputError: none of the four ways has these keys.
    """
    for keys, pool in POOLS.items():
        if set(keys.split()) <= set(shapes):
            return pool
    raise InputError(f"its last layers are none of {', '.join(POOLS.values())}: give a published classifier")


def classes_of(shapes: Shapes, pool: Pool) -> int:
    """How many logits a classifier has."""
    last = {"attention": "out.2.c_proj.weight", "spatial": "out.2.weight"}.get(pool, "out.3.weight")
    return shape_of(shapes, last)[0]


def shape_of(shapes: Shapes, name: str) -> tuple[int, ...]:
    """Of a weight that every such network has, of one axis or more.

    Raises:
        InputError: it is not there, or a single number.
    """
    shape = shapes.get(name)
    if not shape:
        raise InputError(f"the key {name!r} is missing, or a single number: the file is incomplete")
    return shape


def _told(shapes: Shapes, res_blocks: int, levels: int) -> Told:
    width = shape_of(shapes, "time_embed.0.weight")[-1]
    firsts = [f"input_blocks.{1 + level * (res_blocks + 1)}" for level in range(levels)]
    outputs = [shape_of(shapes, f"{name}.0.in_layers.2.weight")[0] for name in firsts]
    of_embedding = shape_of(shapes, f"{firsts[0]}.0.emb_layers.1.weight")[0]
    return Told(
        num_channels=width,
        num_res_blocks=res_blocks,
        channel_mult=tuple(each / width for each in outputs),
        attention_levels=tuple(level for level in range(levels) if f"{firsts[level]}.1.norm.weight" in shapes),
        use_scale_shift_norm=of_embedding == 2 * outputs[0],
        resblock_updown=levels == 1 or f"input_blocks.{res_blocks + 1}.0.op.weight" not in shapes,
    )


def _are_levels(shapes: Shapes, blocks: int, of_level: int) -> bool:
    """Whether channels change in the first block of a level alone, and no block attends that halves the size."""
    widening = (i for i in range(blocks) if f"input_blocks.{i}.0.skip_connection.weight" in shapes)
    halving = range(0, blocks, of_level)
    return all(i % of_level == 1 for i in widening) and not any(
        f"input_blocks.{i}.1.norm.weight" in shapes for i in halving
    )


def _count(shapes: Shapes, blocks: str) -> int:
    found = (re.match(rf"{blocks}\.([0-9]{{1,6}})\.", name) for name in shapes)
    return len({match[1] for match in found if match})


def _resamples(shapes: Shapes, name: str) -> bool:
    return any(f"{name}.{i}.{key}.weight" in shapes for i in (1, 2) for key in ("conv", "in_layers.0"))
