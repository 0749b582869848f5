"""Small networks of ADM, and what is to be stated of them."""

from __future__ import annotations

from tests.ddgan_deploy.families.adm.made import made

UNET = made(attention=(1,), num_classes=3)
CLASSIFIER = made(pool="attention", num_classes=3, num_head_channels=16)
UPSAMPLER = made(small_size=4)
NETWORKS = {"unet": UNET, "classifier": CLASSIFIER, "upsampler": UPSAMPLER}
ARGUMENTS = {**UNET.arguments, **CLASSIFIER.arguments}
LONGEST = 500
"""Characters of a message."""


def one_line(message: str) -> str:
    """What an error says, which is short and prints as it is."""
    assert message.isprintable() and len(message) < LONGEST
    return message
