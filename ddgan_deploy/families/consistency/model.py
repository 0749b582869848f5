"""Weights, and what is stated of them -> the architecture of a consistency model's UNet."""

from __future__ import annotations

import dataclasses
from typing import Any

from ddgan_deploy.families.adm.architecture import told_by_unet
from ddgan_deploy.families.adm.keys import Shapes
from ddgan_deploy.families.adm.model import (
    Arguments,
    Read,
    check_network,
    found_with,
    heads_of,
    image_size_of,
    label_classes,
)
from ddgan_deploy.families.adm.published import published
from ddgan_deploy.families.consistency.config import ConsistencyConfig
from ddgan_deploy.families.consistency.published import PUBLISHED


def unet_of(shapes: Shapes, stated: Arguments, known: Arguments) -> Read[ConsistencyConfig]:
    """The architecture.

    Args:
        shapes: of its weights.
        stated: published arguments, which must fit the shapes.
        known: fields of `ConsistencyConfig` that hold where nothing is stated.

    Raises:
        InputError: it is no such UNet, contradicts what is stated, or nothing tells its heads or its size.
    """
    told = told_by_unet(shapes)
    classes = label_classes(shapes)
    like = published(told, classes, False, PUBLISHED)
    otherwise = known or (like.known if like else {})
    fields: dict[str, Any] = dataclasses.asdict(told) | heads_of(stated, otherwise)
    model = ConsistencyConfig(**fields, image_size=image_size_of(told, stated, otherwise), num_classes=classes)
    alike = {"class_cond": classes > 0, "num_classes": classes, "learn_sigma": False}
    check_network(model, shapes, stated, alike)
    return found_with(model, like, stated)
