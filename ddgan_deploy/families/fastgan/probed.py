"""Where the gates look in a FastGAN generator."""

from __future__ import annotations

from ddgan_deploy.families.fastgan.config import SMALLEST, FastganConfig

_MOST = 1 << 20
"""Numbers of an image's features that are looked at: those at the largest resolutions are megabytes, and the image
follows."""


def probed_resolutions(config: FastganConfig) -> tuple[int, ...]:
    """Resolutions of the blocks whose features are compared, from the first on."""
    every = (SMALLEST, *config.block_resolutions)
    sizes = [config.channels(resolution) * resolution**2 for resolution in every]
    count = next((i for i, size in enumerate(sizes) if size > _MOST), len(sizes))
    return every[:count]


def block_node(config: FastganConfig, resolution: int) -> tuple[str, str]:
    """A block's published name, and the node whose output its features are; see `network`."""
    if resolution == SMALLEST:
        return "init", "init.glu/Mul"
    block = f"feat_{resolution}"
    if config.gated_by(resolution) is not None:
        return block, f"se_{resolution}"
    return block, f"{block}.{'first' if config.lite else 'second'}.glu/Mul"
