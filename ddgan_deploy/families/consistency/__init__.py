"""Consistency models (Song et al. 2023) over ADM's UNet, which map noise of any level to an image in one step."""
