"""int8: which layers are rounded to 8-bit integers, how, and which are left out for what they would cost."""

from __future__ import annotations

from ddgan_deploy.export.precision.int8.quantize import Calibration, to_int8

__all__ = ["Calibration", "to_int8"]
