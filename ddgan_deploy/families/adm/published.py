"""The published networks, known by what their keys and shapes tell; what these do not tell is known of them.

Source: the README of the published code (openai/guided-diffusion).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ddgan_deploy.families.adm.config import Told

CLASSES = 1000


@dataclass(frozen=True)
class Published:
    """One of them, or several that are alike.

    Attributes:
        name: of its file.
        told: what its keys and shapes tell.
        classes: whether it may have 1000 of them, and whether it may have none.
        upsampler: whether it is one.
        known: fields of `config.AdmConfig` and of `config.AdmSampling` that they do not tell.
    """

    name: str
    told: Told
    classes: tuple[int, ...]
    known: Mapping[str, Any] = field(default_factory=dict)

    @property
    def upsampler(self) -> bool:
        """Whether it enlarges images."""
        return "small_size" in self.known


def _told(width: int, res_blocks: int, mult: tuple[float, ...], attention: tuple[int, ...]) -> Told:
    return Told(
        num_channels=width,
        num_res_blocks=res_blocks,
        channel_mult=mult,
        attention_levels=attention,
        use_scale_shift_norm=True,
        resblock_updown=True,
    )


_LARGE = (1.0, 1.0, 2.0, 2.0, 4.0, 4.0)
_HEADS_OF_64 = {"num_heads": 4, "num_head_channels": 64, "use_new_attention_order": False, "noise_schedule": "linear"}
_FOUR_HEADS = _HEADS_OF_64 | {"num_head_channels": -1}
PUBLISHED = (
    Published(
        "64x64_diffusion",
        _told(192, 3, (1.0, 2.0, 3.0, 4.0), (1, 2, 3)),
        (CLASSES,),
        _HEADS_OF_64 | {"image_size": 64, "use_new_attention_order": True, "noise_schedule": "cosine"},
    ),
    Published(
        "128x128_diffusion",
        _told(256, 2, (1.0, 1.0, 2.0, 3.0, 4.0), (2, 3, 4)),
        (CLASSES,),
        _FOUR_HEADS | {"image_size": 128},
    ),
    Published(
        "256x256_diffusion or lsun",
        _told(256, 2, _LARGE, (3, 4, 5)),
        (CLASSES, 0),
        _HEADS_OF_64 | {"image_size": 256},
    ),
    Published(
        "512x512_diffusion",
        _told(256, 2, (0.5, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0), (4, 5, 6)),
        (CLASSES,),
        _HEADS_OF_64 | {"image_size": 512},
    ),
    Published(
        "64_256_upsampler",
        _told(192, 2, _LARGE, (3, 4, 5)),
        (CLASSES,),
        _FOUR_HEADS | {"image_size": 256, "small_size": 64},
    ),
    Published(
        "128_512_upsampler",
        _told(192, 2, _LARGE, (4, 5)),
        (CLASSES,),
        _HEADS_OF_64 | {"image_size": 512, "small_size": 128},
    ),
)


def published(told: Told, classes: int, upsampler: bool, among: tuple[Published, ...] = PUBLISHED) -> Published | None:
    """The published network that these are the keys and shapes of."""
    alike = (each for each in among if each.told == told and each.upsampler == upsampler)
    return next((each for each in alike if classes in each.classes), None)
