"""Serve an artifact with Triton Inference Server, and talk to such a server."""

from __future__ import annotations

MODEL = "ddgan"
"""What clients ask for pixels, and what draws: ``seed`` -> ``image``, with dynamic batching and a cache."""
PNG_MODEL = "ddgan_png"
"""What clients ask for PNG files: ``seed`` -> ``png``."""
ENCODER_MODEL = "ddgan_encoder"
"""What encodes: ``image`` -> ``png``."""
CHECKER_MODEL = "ddgan_checker"
"""In a cascade's repository, what looks whether the images are those that were asked for: ``image`` -> ``image``."""
CACHE_VARIABLE = "DDGAN_CACHE_MIB"
"""In the environment of the server's processes: the size of the cache; ddgan-serve sets it."""
DEFAULT_CACHE_MIB = 64
