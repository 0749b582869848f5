"""Contrast of colours, as the Web Content Accessibility Guidelines 2.2 define it."""

from __future__ import annotations

from collections.abc import Sequence


def contrast(one: Sequence[float], other: Sequence[float]) -> float:
    """From 1 (equal) to 21 (black and white); text needs 4.5, a shape that tells something 3.

    Args:
        one, other: red, green and blue of sRGB in 0..1.
    """
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def of_hex(colour: str) -> tuple[float, ...]:
    """Red, green and blue in 0..1 of "#rgb" or "#rrggbb"."""
    digits = colour.removeprefix("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    return tuple(int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))


def _luminance(colour: Sequence[float]) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
