"""The published networks, known by what their keys and shapes tell; what these do not tell is known of them.

Source: ``scripts/launch.sh`` of the published code (openai/consistency_models).
"""

from __future__ import annotations

from ddgan_deploy.families.adm.config import Told
from ddgan_deploy.families.adm.published import CLASSES, Published

PUBLISHED = (
    Published(
        "cd_imagenet64 or ct_imagenet64",
        Told(
            num_channels=192,
            num_res_blocks=3,
            channel_mult=(1.0, 2.0, 3.0, 4.0),
            attention_levels=(1, 2, 3),
            use_scale_shift_norm=True,
            resblock_updown=True,
        ),
        (CLASSES,),
        {"image_size": 64, "num_head_channels": 64},
    ),
    Published(
        "bedroom256 or cat256",
        Told(
            num_channels=256,
            num_res_blocks=2,
            channel_mult=(1.0, 1.0, 2.0, 2.0, 4.0, 4.0),
            attention_levels=(3, 4, 5),
            use_scale_shift_norm=False,
            resblock_updown=True,
        ),
        (0,),
        {"image_size": 256, "num_head_channels": 64},
    ),
)
