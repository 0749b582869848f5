"""The report for everyone: on a phone, in the dark, in grey, by keyboard and by ear."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ddgan_deploy.artifact.results import KeptLayer, ProbeParity
from ddgan_deploy.export.report import write
from ddgan_deploy.export.report.write import render
from ddgan_deploy.parity.verify import Verification
from tests.browser import open_browser, show
from tests.contrast import contrast, of_hex
from tests.export.report.test_report import (
    NOT_FINITE,
    TIMINGS,
    WHERE,
    Page,
    make_images,
    make_manifest,
    make_sweep,
    make_verification,
    with_gate,
)

CSS = (Path(write.__file__).parent / "report.css").read_text(encoding="utf-8")
TEXT = ("ink", "quiet", "good", "bad", "open")
LINES = ("first", "second", "third", "fourth", "bad")


def failed_report() -> str:
    """One with everything in it: a failed gate, two charts, a sweep, layers that were kept."""
    verification = with_gate(make_verification(dB=True), 3, passed=False, measured=25.0, where=WHERE)
    kept = (KeptLayer("all_modules.3.Conv_1", "weight 81920 is beyond fp16"),)
    manifest = make_manifest(precision="fp16", kept_fp32=kept)
    return render(manifest, verification, make_images(), TIMINGS, sweeps=[make_sweep()])


def with_probes(*probes: ProbeParity) -> Verification:
    verification = make_verification()
    return replace(verification, result=replace(verification.result, probes=probes))


def palette(dark: bool) -> dict[str, str]:
    """Names and colours of the report, as its style declares them."""
    light, night = (dict(re.findall(r"--(\w+): (#\w+);", block)) for block in re.findall(r":root {([^}]*)}", CSS)[:2])
    return light | night if dark else light


def mixed(colour: str, share: float, paper: str) -> list[float]:
    return [share * one + (1 - share) * other for one, other in zip(of_hex(colour), of_hex(paper), strict=True)]


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_lines_stand_out(dark):
    colours = palette(dark)
    share = re.search(r"tr\.failure[^}]*var\(--bad\) (\d+)%", CSS)
    assert share is not None
    failure = mixed(colours["bad"], int(share[1]) / 100, colours["paper"])
    for name in TEXT:
        for behind in (of_hex(colours["paper"]), of_hex(colours["wash"]), failure):
            assert contrast(of_hex(colours[name]), behind) >= 4.5, name
    for name in LINES:
        assert contrast(of_hex(colours[name]), of_hex(colours["paper"])) >= 3, name


def test_headings_language_and_viewport():
    shown = Page(failed_report())
    levels = [int(tag[1]) for tag, _ in shown.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert shown.named("html") == [{"lang": "en"}]
    metas = {meta.get("name"): meta.get("content") for meta in shown.named("meta")}
    assert metas["viewport"] == "width=device-width, initial-scale=1" and metas["color-scheme"] == "light dark"


def test_every_table_has_a_caption_and_named_headers():
    html = failed_report()
    shown = Page(html)
    assert len(shown.named("table")) == len(re.findall("<table[^>]*><caption>[^<]+</caption>", html)) >= 6
    assert all(header.get("scope") for header in shown.named("th")) and not re.search("<th[^>]*></th>", html)
    regions = [div for div in shown.named("div") if "scroll" in str(div.get("class"))]
    assert regions and all((div["tabindex"], div["role"]) == ("0", "region") and div["aria-label"] for div in regions)


def test_pictures_have_their_size():
    images = Page(failed_report()).named("img")
    assert images and {(image["width"], image["height"]) for image in images} == {("128", "128")}


def test_a_chart_is_told_in_words():
    psnr, max_abs = (str(chart["aria-label"]) for chart in Page(failed_report()).charts)
    told = "PSNR, dB (higher is better): x0 at least 55.5, x_prev at least equal, limit 40.0."
    assert psnr == f"{told} The table after it has every number."
    assert max_abs.startswith("Largest absolute difference (lower is better): x0 at most 1e-6, x_prev at most 1e-6.")
    verification = with_probes(*[replace(row, max_abs=NOT_FINITE) for row in make_verification().result.probes])
    (chart,) = Page(render(make_manifest(), verification, make_images(), TIMINGS)).charts
    assert "x0 at most not finite, x_prev at most not finite, limit 1e-4." in str(chart["aria-label"])


def test_lines_of_a_chart_differ_without_their_colours():
    rows = [
        ProbeParity(f"step {step}", name, name, step, 1e-6, 99.0)
        for step in range(2)
        for name in ("eps", "gradient", "x_prev", "x_0")
    ]
    html = render(make_manifest(), with_probes(*rows), make_images(), TIMINGS)
    groups = re.findall(r'<g class="(series-\d)">(.*?)</g>', html, re.DOTALL)
    assert [name for name, _ in groups] == [f"series-{i}" for i in range(4)]
    shapes = [re.sub(r' c?[xy]="[^"]*"|rotate\([^)]*\)|<title>.*?</title>', "", inside) for _, inside in groups]
    shapes = [re.sub("<polyline[^>]*>", "", shape) for shape in shapes]
    assert len(set(shapes)) == 4
    dashes = re.findall(r"\.series-(\d) polyline { stroke-dasharray: ([\d ]+); }", CSS)
    assert [name for name, _ in dashes] == ["1", "2", "3"] and len({dash for _, dash in dashes}) == 3
    legend = re.findall(r'<li><svg [^>]*class="(series-\d)">.*?</svg> ([^<]+)</li>', html, re.DOTALL)
    assert legend == [("series-0", "eps"), ("series-1", "gradient"), ("series-2", "x_prev"), ("series-3", "x_0")]


def test_quantities_that_come_but_once_are_one_line_and_one_column():
    rows = [ProbeParity("", name, name, 0, error, 99.0) for name, error in (("w", 2e-6), ("b4", 3e-6), ("x_0", 4e-6))]
    html = render(make_manifest(1), with_probes(*rows), make_images(), TIMINGS)
    shown = Page(html)
    assert len(shown.marks) == 3 and len({mark["cx"] for mark in shown.marks}) == 3
    assert html.count("<polyline") == 1 and "<title>b4: 3e-6</title>" in html and "<ul class" not in html
    assert "Where max abs PSNR, dB w 2e-6 99.0 b4 3e-6 99.0 x_0 4e-6 99.0" in shown.text
    assert "(lower is better): at most 4e-6. " in str(shown.charts[0]["aria-label"])


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("reading") / "report.html"
    path.write_text(failed_report(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with open_browser() as opened:
        yield opened


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_never_scrolls_sideways(browser, page, width, scheme):
    show(browser, page, width, scale=3, prefers_color_scheme=scheme)
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 27)")


def test_on_a_phone_text_is_no_smaller_than_twelve_pixels(browser, page):
    show(browser, page, 390, scale=3)
    sizes = browser.execute_script("""
        const found = [];
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const parent = walker.currentNode.parentElement;
            if (!walker.currentNode.data.trim() || parent.closest("sup, title, caption")) continue;
            const svg = parent.closest("svg");
            const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
            found.push([scale * parseFloat(getComputedStyle(parent).fontSize), walker.currentNode.data.trim()]);
        }
        return found;""")
    assert len(sizes) > 100 and min(sizes)[0] >= 12, min(sizes)


def test_in_forced_colours_everything_drawn_is_in_them(browser, page):
    show(browser, page, forced_colors="active", prefers_color_scheme="dark")
    drawn = browser.execute_script("""
        return [...document.querySelectorAll("svg .mark, svg polyline, svg .limit, .bar i")].map(one => {
            const style = getComputedStyle(one);
            return one.tagName === "I" ? style.backgroundColor : style.stroke;
        });""")
    assert len(drawn) > 10 and set(drawn) == {"rgb(255, 255, 255)"}


def test_without_scripts_every_picture_is_there(browser, page):
    show(browser, page, scripts=False)
    widths = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 25 and set(widths) == {128}


def test_printed_pages_hold_all_of_a_table(browser, page):
    """What scrolls on a screen stands on paper in its full width."""
    show(browser, page, 700)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    clipped = browser.execute_script("""
        return [...document.querySelectorAll(".scroll")].filter(
            box => getComputedStyle(box).overflowX !== "visible" || box.scrollWidth > box.clientWidth
        ).map(box => box.ariaLabel);""")
    assert clipped == []
