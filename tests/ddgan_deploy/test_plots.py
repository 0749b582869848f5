"""Plots can be read without their colours, and without seeing them."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from ddgan_deploy import plots
from ddgan_deploy.plots import COLOURS, Line, Panel, describe, draw, spread
from tests.contrast import contrast, of_hex

SVG = "{http://www.w3.org/2000/svg}"
NAMED, MEASURED = r"a $\x$ <b>&", "2 threads"


def make_panel(count: int, slope: float = 1.0, **changes: object) -> Panel:
    lines = [Line(f"$engine {i}", [(x, 5 + slope * i * x) for x in (1, 2, 4)], i) for i in range(count)]
    return Panel(**{"title": "images/s", "x": "batch", "lines": lines} | changes)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draws, and gives the figure."""

    def figure(*panels: Panel, columns: int = 1) -> Figure:
        made: list[Figure] = []
        monkeypatch.setattr(plots, "_write", lambda figure, *_: made.append(figure))
        draw(panels, NAMED, MEASURED, tmp_path / "a.png", columns)
        made[0].savefig(io.BytesIO(), format="png")
        return made[0]

    return figure


@pytest.mark.parametrize("colour", COLOURS)
def test_names_in_their_colours_can_be_read(colour):
    assert contrast(of_hex(colour), (1, 1, 1)) >= 4.5


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("slope", [0.0, 1e-3, 1.0])
def test_every_line_has_its_name_at_its_end_and_none_covers_another(drawn, slope, logarithmic):
    figure = drawn(make_panel(10, slope, logarithmic=logarithmic))
    (axes,) = figure.axes
    assert axes.get_legend() is None
    assert [text.get_text() for text in axes.texts] == [f"$engine {i}" for i in range(10)]
    # Without the leaders, which an annotation has to its extent.
    boxes = [Text.get_window_extent(text) for text in axes.texts]
    inside = axes.get_window_extent()
    for place, box in enumerate(boxes):
        assert box.x0 > inside.x1 - 0.05 * inside.width and box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:place])


def test_lines_differ_without_their_colours(drawn):
    figure = drawn(make_panel(10, lines=[Line("slow", [(1, 1)], 0, dashed=True), *make_panel(10).lines]))
    marks = [(line.get_marker(), line.get_linestyle()) for line in figure.axes[0].lines]
    assert len(set(marks)) == 11


@pytest.mark.parametrize(("high", "least"), [(12.0, 3), (1000.0, 4)])
def test_a_logarithmic_axis_has_ticks_in_any_range(drawn, high, least):
    figure = drawn(make_panel(1, lines=[Line("a", [(1, 10.0), (64, high)], 0)], logarithmic=True))
    axes: Axes = figure.axes[0]
    low, top = axes.get_ylim()
    labels = [
        label.get_text() for label, y in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True) if low <= y <= top
    ]
    assert len(labels) >= least and all("mathdefault" not in label and label for label in labels)


def test_panels_stand_in_rows(drawn):
    figure = drawn(*[make_panel(2, title=f"{i}") for i in range(4)], columns=2)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["0", "1", "2", "3"]
    edges = np.array([axes.get_position().p0 for axes in figure.axes])
    assert edges[0, 1] > edges[2, 1] and edges[0, 0] < edges[1, 0]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_plot_says_what_it_shows_and_is_white_on_any_page(tmp_path: Path, suffix):
    path = tmp_path / f"a{suffix}"
    panel = make_panel(2)
    draw([panel], NAMED, MEASURED, path)
    told = describe([panel])
    assert told == "images/s, over batch: $engine 0 from 5 at 1 to 5 at 4; $engine 1 from 6 at 1 to 9 at 4."
    if suffix == ".png":
        with Image.open(path) as picture:
            assert (picture.info["Title"], picture.info["Description"]) == (NAMED, told)
            assert picture.width >= 1000 and picture.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    else:
        root = ElementTree.parse(path).getroot()
        assert root.get("role") == "img"
        assert [child.tag for child in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
        assert [child.text for child in root[:2]] == [NAMED, told]


def test_a_line_without_points_is_no_error(tmp_path):
    panel = make_panel(1, lines=[Line("none", [], 0)])
    draw([panel], NAMED, MEASURED, tmp_path / "a.png")
    assert describe([panel]) == "images/s, over batch: nothing."


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([0.5], [0.5]),
        ([0.9, 0.1], [0.9, 0.1]),
        ([0.5, 0.5, 0.5], [0.3, 0.5, 0.7]),
        ([0.0, 0.3, 0.32], [0.0, 0.21, 0.41]),
        ([0.0, 0.2, 0.22, 0.3], [-0.12, 0.08, 0.28, 0.48]),
    ],
)
def test_names_are_moved_apart_as_little_as_their_groups_allow(places, expected):
    assert spread(places, 0.2) == pytest.approx(expected)
