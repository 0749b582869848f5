"""Image grids and PNG files, pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ddgan_deploy.errors import InputError
from ddgan_deploy.images import grid, png, save_png, tidy_columns


def numbered(count: int, height: int, width: int, channels: int) -> npt.NDArray[np.uint8]:
    """Images [N, H, W, C], each of one colour: 10, 20, ..."""
    colours = (np.arange(1, count + 1) * 10).astype(np.uint8)
    return np.broadcast_to(colours[:, None, None, None], (count, height, width, channels)).copy()


def test_grid_places_images_row_by_row_with_white_gaps() -> None:
    canvas = np.asarray(grid(numbered(5, 64, 80, 3), columns=3, gap=2))
    assert canvas.shape == (2 * 64 + 2, 3 * 80 + 2 * 2, 3)
    for index, (row, column) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]):
        top, left = row * 66, column * 82
        assert (canvas[top : top + 64, left : left + 80] == (index + 1) * 10).all()
    assert (canvas[64:66] == 255).all()
    assert (canvas[:, 80:82] == 255).all()
    assert (canvas[66:, 164:] == 255).all()


def test_grid_keeps_rows_columns_and_channels_in_place() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(grid(image)), image[0])


@pytest.mark.parametrize(
    ("height", "width", "factor"),
    [(8, 8, 16), (28, 28, 5), (32, 32, 4), (16, 64, 1), (63, 63, 3), (64, 64, 1), (256, 256, 1)],
)
def test_small_images_are_enlarged_by_nearest_neighbour(height: int, width: int, factor: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 1), np.uint8)
    drawn = np.asarray(grid(image))
    assert drawn.shape == (height * factor, width * factor)
    np.testing.assert_array_equal(drawn[::factor, ::factor], image[0, :, :, 0])
    np.testing.assert_array_equal(drawn[factor - 1 :: factor, factor - 1 :: factor], image[0, :, :, 0])


def test_the_enlargement_can_be_chosen() -> None:
    assert grid(numbered(1, 8, 8, 1), scale=1).size == (8, 8)
    assert grid(numbered(1, 100, 80, 1), scale=3).size == (240, 300)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_channels_give_the_mode(channels: int, mode: str) -> None:
    assert grid(numbered(2, 64, 64, channels)).mode == mode


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (2, 2), (3, 3), (4, 2), (7, 4), (8, 4), (9, 3), (16, 4)])
def test_tidy_columns(count: int, columns: int) -> None:
    assert tidy_columns(count) == columns


@pytest.mark.parametrize("channels", [2, 5])
def test_other_channels_are_refused_by_number(channels: int) -> None:
    with pytest.raises(InputError, match=f"with {channels} channels"):
        grid(numbered(1, 8, 8, channels))


@pytest.mark.parametrize(
    ("images", "named"),
    [
        (np.zeros((1, 8, 8, 3), np.float32), "float32"),
        (np.zeros((8, 8, 3), np.uint8), r"\[8, 8, 3\]"),
        (np.zeros((0, 8, 8, 3), np.uint8), "nothing to draw"),
    ],
)
def test_what_is_no_batch_of_images_is_refused(images: npt.NDArray[np.uint8], named: str) -> None:
    with pytest.raises(InputError, match=named):
        grid(images)


@pytest.mark.parametrize(("name", "value"), [("columns", 0), ("gap", -1), ("scale", 0)])
def test_numbers_out_of_range_are_named(name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{name} {value}"):
        grid(numbered(1, 8, 8, 1), **{name: value})


def test_a_png_file_gives_the_pixels_back(tmp_path: Path) -> None:
    image = grid(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8))
    save_png(image, tmp_path / "grid.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "grid.png")), np.asarray(image))
    assert (tmp_path / "grid.png").read_bytes() == png(image)
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]


def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    image = grid(numbered(1, 8, 8, 1))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="file/grid.png cannot be written"):
        save_png(image, tmp_path / "file" / "grid.png")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder cannot be written"):
        save_png(image, tmp_path / "folder")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


def test_an_unfinished_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    target = tmp_path / "grid.png"
    target.write_bytes(b"old")
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(InputError, match="No space left on device"):
        save_png(grid(numbered(1, 8, 8, 1)), target)
    assert target.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]
