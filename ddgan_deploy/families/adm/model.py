"""Weights, and what is stated of them -> the architecture of a UNet or of a classifier.

Heads and the layout of attention leave no trace in shapes, and wrong ones load and draw garbage: they must be stated,
unless the network is recognisably a published one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.architecture import classes_of, pool_of, shape_of, told_by_classifier, told_by_unet
from ddgan_deploy.families.adm.config import CLASSIFIER_HEADS, GROUPS, AdmConfig, ClassifierConfig, Told
from ddgan_deploy.families.adm.keys import Shapes, expected_shapes
from ddgan_deploy.families.adm.layout import Layer, Network, all_layers
from ddgan_deploy.families.adm.published import Published, published
from ddgan_deploy.names import shown
from ddgan_deploy.weight_files.expected import check_shapes

Arguments = Mapping[str, Any]
C = TypeVar("C", bound=AdmConfig)
_MOST_SIZE = 4096
_HEADS = ("num_heads", "num_head_channels", "num_heads_upsample")
_FIX = "correct --config, or give the checkpoint that it belongs to"


@dataclass(frozen=True)
class Read(Generic[C]):
    """An architecture, and where it is from.

    Attributes:
        model: the architecture, without a classifier.
        recognised: the published network that tells what neither weights nor a config do; None where none is needed
            or this is none.
        taken: fields that it told.
    """

    model: C
    recognised: Published | None
    taken: tuple[str, ...]


def unet_of(shapes: Shapes, stated: Arguments, known: Arguments) -> Read[AdmConfig]:
    """The architecture of a UNet.

    Args:
        shapes: of its weights.
        stated: published arguments, which must fit the shapes.
        known: fields of `AdmConfig` that hold where nothing is stated.

    Raises:
        InputError: it is no UNet, contradicts what is stated, or nothing tells its heads or its size.
    """
    told = told_by_unet(shapes)
    classes = label_classes(shapes)
    upsampler = shape_of(shapes, "input_blocks.0.0.weight")[1:2] == (6,)
    like = published(told, classes, upsampler)
    otherwise = known or (like.known if like else {})
    fields = {
        **dataclasses.asdict(told),
        "num_classes": classes,
        "learn_sigma": shape_of(shapes, "out.2.weight")[0] == 6,
    }
    fields["image_size"] = image_size_of(told, stated, otherwise)
    if upsampler:
        fields["small_size"] = _small_size(fields["image_size"], stated, otherwise)
    fields |= heads_of(stated, otherwise, ", and use_new_attention_order")
    model = AdmConfig(**fields)
    several = any(layer.heads > 1 for layer in all_layers(model) if layer.kind == "attention")
    # The published upsampler's script has the older alone.
    older = {} if several and not (upsampler and set(stated) & set(_HEADS)) else {"use_new_attention_order": False}
    newer = _first("use_new_attention_order", stated, {**older, **otherwise})
    model = dataclasses.replace(model, use_new_attention_order=newer)
    alike: dict[str, Any] = {
        "class_cond": classes > 0,
        "small_size": model.small_size,
        "learn_sigma": model.learn_sigma,
    }
    if classes:
        # Else they are the classifier's.
        alike["num_classes"] = classes
    check_network(model, shapes, stated, alike)
    return found_with(model, like, stated)


def classifier_of(shapes: Shapes, stated: Arguments, known: Arguments, image_size: int) -> ClassifierConfig:
    """The architecture of a classifier.

    Args:
        shapes: of its weights.
        stated: published arguments; those of the classifier must fit the shapes.
        known: fields of `ClassifierConfig` that hold where nothing is stated.
        image_size: of the UNet that it guides.

    Raises:
        InputError: it is no classifier, or contradicts what is stated.
    """
    own = {name.removeprefix("classifier_"): value for name, value in stated.items() if name.startswith("classifier_")}
    told = told_by_classifier(shapes, image_size, own.get("depth", known.get("num_res_blocks")))
    pool = pool_of(shapes)
    model = ClassifierConfig(
        **dataclasses.asdict(told),
        image_size=image_size,
        pool=pool,
        num_classes=classes_of(shapes, pool),
        num_head_channels={"num_head_channels": CLASSIFIER_HEADS, **known, **own}["num_head_channels"],
    )
    alike = {"width": model.num_channels, "depth": model.num_res_blocks, "pool": pool}
    check_network(model, shapes, own, alike, "classifier_")
    return model


def found_with(model: C, like: Published | None, stated: Arguments) -> Read[C]:
    """The architecture, with what a published network of its shapes told of it."""
    # The size has two names more.
    said = {*stated, *(["image_size"] if {"large_size", "attention_resolutions"} & set(stated) else [])}
    taken = tuple(name for name in (like.known if like else ()) if name not in said)
    return Read(model, like if taken else None, taken)


def label_classes(shapes: Shapes) -> int:
    """How many classes a UNet embeds; 0: none."""
    return shape_of(shapes, "label_emb.weight")[0] if "label_emb.weight" in shapes else 0


def image_size_of(told: Told, stated: Arguments, otherwise: Arguments) -> int:
    """Pixels along a side: no weight has them, but attention at a stated resolution sits at a level of its own.

    Raises:
        InputError: two names of it contradict each other, it is out of range, or nothing tells it.
    """
    levels = told.attention_levels
    sizes: list[int] = [stated[name] for name in ("large_size", "image_size") if name in stated]
    if len(set(sizes)) > 1:
        raise InputError(
            f"large_size {sizes[0]} contradicts image_size {sizes[1]}, the same in other words: leave one out"
        )
    if not sizes and stated.get("attention_resolutions") and levels:
        sizes = [int(max(stated["attention_resolutions"])) << min(levels)]
    if not sizes:
        sizes = [_first("image_size", stated, otherwise)]
    if not 0 < sizes[0] <= _MOST_SIZE:
        raise InputError(f"image_size {shown(sizes[0])} is out of range: give 1..{_MOST_SIZE}")
    return sizes[0]


def _small_size(image_size: int, stated: Arguments, otherwise: Arguments) -> int:
    """Pixels along a side of what an upsampler enlarges."""
    size: int = _first("small_size", stated, otherwise)
    if not 0 < size <= image_size:
        raise InputError(f"small_size {size} is out of range: give 1..{image_size}, the size that it is enlarged to")
    return size


def heads_of(stated: Arguments, otherwise: Arguments, and_besides: str = "") -> dict[str, int]:
    """As stated, with the published defaults of what is left out; else as known.

    Args:
        and_besides: what a config has to state where it has to state heads.

    Raises:
        InputError: nothing tells them.
    """
    if {"num_heads", "num_head_channels"} & set(stated):
        source: Arguments = {"num_heads": 4, **stated}
    elif {"num_heads", "num_head_channels"} & set(otherwise):
        source = {**otherwise, **stated}
    else:
        raise InputError(
            "nothing tells how many heads its attention has, and it is none of the published networks: give --config a "
            f"JSON file with num_heads or num_head_channels{and_besides}"
        )
    return {name: source[name] for name in _HEADS if name in source}


def _first(name: str, stated: Arguments, otherwise: Arguments) -> Any:
    for source in (stated, otherwise):
        if name in source:
            return source[name]
    raise InputError(
        f"nothing tells its {name}, and it is none of the published networks: give --config a JSON file with {name}"
    )


def check_network(model: Network, shapes: Shapes, stated: Arguments, alike: Arguments, prefix: str = "") -> None:
    """Refuses what cannot be computed, what is stated otherwise, and weights of another network.

    Args:
        stated: arguments, without the prefix.
        alike: what weights tell besides, which must then be stated the same.
        prefix: of arguments, for an error.

    Raises:
        InputError: it is one of these.
    """
    for width in model.widths:
        if width % GROUPS:
            raise InputError(
                f"a layer of {width} channels cannot be normalized in {GROUPS} groups, as all are: give a checkpoint "
                "of the published network"
            )
    if model.image_size % (1 << (len(model.channel_mult) - 1)):
        raise InputError(f"image_size {model.image_size} cannot be halved {len(model.channel_mult) - 1} times: {_FIX}")
    for layer in all_layers(model):
        if layer.kind == "attention":
            _check_heads(model, layer, prefix)
    for name, own in {**_alike(model, stated), **alike}.items():
        if name in stated and stated[name] != own:
            raise InputError(
                f"{prefix}{name} is stated as {shown(stated[name])}, and the weights have {shown(own)}: {_FIX}"
            )
    check_shapes(shapes, expected_shapes(model))


def _check_heads(model: Network, layer: Layer, prefix: str) -> None:
    """Refuses heads of unequal width."""
    name, number = "num_head_channels", model.num_head_channels
    if number == -1:
        up = isinstance(model, AdmConfig) and model.num_heads_upsample != -1 and layer.name.startswith("output_blocks.")
        name, number = "num_heads_upsample" if up else "num_heads", layer.heads
    if layer.inputs % number:
        raise InputError(
            f"{prefix}{name} {number} does not divide the {layer.inputs} channels of {layer.name}: give --config a "
            f"JSON file with the {prefix}{name} that it was trained with"
        )


def _alike(model: Network, stated: Arguments) -> Arguments:
    """What weights tell, as far as they contradict what is stated in other words."""
    found: dict[str, Any] = {
        "num_channels": model.num_channels,
        "num_res_blocks": model.num_res_blocks,
        "use_scale_shift_norm": model.use_scale_shift_norm,
    }
    if len(model.channel_mult) > 1:
        # Else nothing is resampled.
        found["resblock_updown"] = model.resblock_updown
    mult = stated.get("channel_mult")
    if mult and tuple(int(each * model.num_channels) for each in mult) != model.widths:
        found["channel_mult"] = model.channel_mult
    attending = {model.sizes[level] for level in model.attention_levels}
    # Sizes that no level has change nothing.
    if set(stated.get("attention_resolutions", attending)) & set(model.sizes) != attending:
        found["attention_resolutions"] = tuple(sorted(attending, reverse=True))
    return found
