"""Serve an artifact with Triton Inference Server, and talk to such a server."""

from __future__ import annotations

MODEL = "ddgan"
"""What clients ask: ``seed`` -> ``image``, ``png``."""
ENGINE_MODEL = "ddgan_engine"
"""What draws: ``seed`` -> ``image``, with dynamic batching and the response cache."""
PNG_MODEL = "ddgan_png"
"""What encodes: ``image`` -> ``png``."""
