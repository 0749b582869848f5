"""A sampler's output -> pixels -> pictures that a person looks at: image grids, PNG files."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddgan_deploy.errors import InputError
from ddgan_deploy.files import written_whole

if TYPE_CHECKING:
    from PIL.Image import Image

CHANNELS = (1, 3, 4)
"""Grey, RGB and RGBA: what a PNG file can hold."""
SMALL = 64
"""Images with a longer side below this many pixels are enlarged."""
ENLARGED = 128
"""To this many pixels, at least."""
_BACKGROUND = 255


def to_pixels(x_0: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """floor(clip((x + 1) / 2 * 255 + 0.5, 0, 255)): [N, C, H, W] in [-1, 1] -> uint8 [N, H, W, C]."""
    scaled = (x_0.astype(np.float32) + np.float32(1)) / np.float32(2) * np.float32(255) + np.float32(0.5)
    pixels: npt.NDArray[np.uint8] = np.floor(np.clip(np.nan_to_num(scaled), 0, 255)).astype(np.uint8)
    return pixels.transpose(0, 2, 3, 1)


def grid(images: npt.NDArray[np.uint8], columns: int | None = None, gap: int = 2, scale: int | None = None) -> Image:
    """All images in one, row by row, on white.

    Args:
        images: uint8 [N, H, W, C], C = 1, 3 or 4.
        columns: images in a row; None: about as many as there are rows, with few places left empty.
        gap: pixels between neighbours.
        scale: whole factor of enlargement; None: 1, and for images below 64 pixels
            the least factor that gives 128.

    Returns:
        An image of mode L, RGB or RGBA.

    Raises:
        InputError: the array is no such batch of images, or a number is out of range.
    """

    _check_images(images)
    columns = tidy_columns(len(images)) if columns is None else columns
    scale = enlargement(*images.shape[1:3]) if scale is None else scale
    for name, value, least in (("columns", columns, 1), ("gap", gap, 0), ("scale", scale, 1)):
        if value < least:
            raise InputError(f"{name} {value} is out of range: give {least} or more")
    enlarged = images.repeat(scale, axis=1).repeat(scale, axis=2)
    return as_image(_arrange(enlarged, columns, gap))


def as_image(pixels: npt.NDArray[np.uint8]) -> Image:
    """Pixels uint8 [H, W, C], C = 1, 3 or 4, as an image of mode L, RGB or RGBA."""
    from PIL import Image

    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def enlargement(height: int, width: int) -> int:
    """The whole factor by which an image is shown: 1, or of one below 64 pixels the least that gives 128."""
    side = max(height, width)
    return math.ceil(ENLARGED / side) if side < SMALL else 1


def tidy_columns(count: int) -> int:
    """The number of columns, from a square's to twice as many, that leaves the fewest places empty."""
    square = max(1, math.ceil(math.sqrt(count)))
    return min(range(square, 2 * square + 1), key=lambda columns: (-count % columns, columns))


def png(image: Image, optimize: bool = True) -> bytes:
    """The image as the content of a PNG file; equal images give equal bytes.

    Args:
        image: of any mode that PNG knows.
        optimize: the smallest file, in about twice the time.
    """
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=optimize)
    return buffer.getvalue()


COMMENT_BYTES = 20
"""What `with_comment` adds to a PNG file beside the comment."""
_END_CHUNK = 12


def with_comment(file: bytes, comment: bytes) -> bytes:
    """The content of a PNG file with a comment, which viewers do not show (PNG specification, tEXt)."""
    from PIL.PngImagePlugin import putchunk

    chunk = io.BytesIO()
    putchunk(chunk, b"tEXt", b"Comment\0" + comment)
    return file[:-_END_CHUNK] + chunk.getvalue() + file[-_END_CHUNK:]


def save_png(image: Image, path: str | Path) -> None:
    """Writes a PNG file, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    content = png(image)
    with written_whole(Path(path)) as file:
        file.write_bytes(content)


def _check_images(images: npt.NDArray[np.uint8]) -> None:
    if images.ndim != 4 or images.dtype != np.uint8:
        found = f"{images.dtype} {list(images.shape)}"
        raise InputError(f"images of {found} cannot be drawn: give uint8 [N, H, W, C]")
    if images.size == 0:
        raise InputError(f"there is nothing to draw in images {list(images.shape)}: give at least one seed")
    if images.shape[3] not in CHANNELS:
        raise InputError(
            f"images with {images.shape[3]} channels cannot be drawn, only 1 (grey), 3 (RGB) or 4 (RGBA): "
            "take the raw array instead"
        )


def _arrange(images: npt.NDArray[np.uint8], columns: int, gap: int) -> npt.NDArray[np.uint8]:
    count, height, width, channels = images.shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
    canvas = np.full(shape, _BACKGROUND, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas
