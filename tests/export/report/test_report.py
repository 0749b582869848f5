"""The report: what it says, that it needs nothing else, and that no input breaks it."""

from __future__ import annotations

import base64
import io
import os
import re
import warnings
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ddgan_deploy.artifact.assumptions import Assumed
from ddgan_deploy.artifact.manifest import CheckpointInfo, FamilyInfo, FileInfo, GraphInfo, Manifest, TensorInfo
from ddgan_deploy.artifact.results import Gate, KeptLayer, ParityResult, ProbeParity
from ddgan_deploy.export.report.formats import date, measured, number, seconds, size
from ddgan_deploy.export.report.sweeps import Sweep
from ddgan_deploy.export.report.write import amplification, render, write_report
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.family import FAMILY
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.parity.verify import Verification
from ddgan_deploy.sampler import Knob

TIMINGS = [("trace the generator", 9.3), ("write the graphs", 0.7)]
WHERE = "step1/all_modules.17/GroupNorm_1/AdaGN"
NOT_FINITE = float(np.finfo(np.float32).max)
VOID = {"meta", "link", "img", "br"}
INLINE = {"span", "code", "strong", "sup"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in its order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    @property
    def text(self) -> str:
        """All that a reader sees, with single spaces."""
        return " ".join("".join(self.parts).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def marks(self) -> list[dict[str, str | None]]:
        """The circles of charts; those of legends stand at 0."""
        return [circle for circle in self.named("circle") if circle["cy"] != "0"]

    @property
    def charts(self) -> list[dict[str, str | None]]:
        return [svg for svg in self.named("svg") if svg.get("role") == "img"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.parts += [] if tag in INLINE else [" "]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.parts.append(data)


def make_manifest(steps: int = 3, channels: int = 3, **changes: Any) -> Manifest:
    x_T, x_0 = (TensorInfo(name, "float32", ("batch", channels, 8, 8)) for name in ("x_T", "x_0"))
    seed = TensorInfo("seed", "int64", ("batch", 1))
    image = TensorInfo("image", "uint8", ("batch", 8, 8, channels))
    model = GeneratorConfig(8, channels, 8, (1,), num_res_blocks=1, nz=5, z_emb_dim=4, n_mlp=1)
    manifest = Manifest(
        format_version=2,
        created="2026-01-02T03:04:05Z",
        checkpoint=CheckpointInfo("netG_1200.pth", "c0ffee" * 10, "ema", 1_234_567),
        family=FamilyInfo("ddgan", {}, {}),
        sampler=FAMILY.sampler(model, Schedule(steps)),
        probes=FAMILY.probes(model, Schedule(steps)),
        steps=steps,
        precision="fp32",
        kept_fp32=(),
        graphs={
            "sampler.onnx": GraphInfo((x_T,), (x_0,), 301),
            "ddgan.onnx": GraphInfo((seed,), (image,), 9),
        },
        versions={"torch": "2.13.0", "platform": "Linux"},
        parity=None,
        facts=FAMILY.facts(model, Schedule(steps)),
        files={"sampler.onnx": FileInfo(2_000_000, "5a" * 32), "weights.bin": FileInfo(3_000_000, "e1" * 32)},
    )
    return replace(manifest, **changes)


def make_verification(steps: int = 3, channels: int = 3, dB: bool = False, error: float = 1e-6) -> Verification:
    """One in which all gates hold; the engine's x0 and x_prev are off by ``error`` everywhere."""
    rng = np.random.default_rng(0)
    states = rng.uniform(-0.9, 0.9, (steps, 2, channels, 8, 8)).astype(np.float32)
    value, limit, unit = (55.5, 40.0, "dB") if dB else (error, 1e-4, "max abs")
    gates = [Gate("no NaN or Inf", True, 0, 0, "values")]
    probes = make_manifest(steps, channels).probes
    gates += [Gate(probe.name, True, value, limit, unit) for probe in probes]
    rows = tuple(
        ProbeParity(probe.place, probe.value, probe.column, probe.step, error, 55.5 if probe.column == "x0" else 999.0)
        for probe in probes
    )
    result = ParityResult("onnxruntime", (0, 1), tuple(gates), 1.5, rows)
    # Each its own array, as those of a run.
    reference, engine = (tuple(state + np.float32(off) for state in states for _ in range(2)) for off in (0.0, error))
    return Verification(result, probes, reference, engine, make_images(2, channels))


def make_images(count: int = 4, channels: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, 8, 8, channels), np.uint8)


def with_gate(verification: Verification, index: int, **changes: Any) -> Verification:
    gates = list(verification.result.gates)
    gates[index] = replace(gates[index], **changes)
    return replace(verification, result=replace(verification.result, gates=tuple(gates)))


def page(manifest: Manifest, verification: Verification | None, channels: int = 3) -> Page:
    return Page(render(manifest, verification, make_images(channels=channels), TIMINGS))


def first_row(shown: Page) -> list[npt.NDArray[np.uint8]]:
    """The pixels of seed 0: reference, engine, difference; behind four samples."""
    contents = [str(picture["src"]).partition("base64,")[2] for picture in shown.named("img")[4:7]]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))) for content in contents]


def test_both_files_are_written(tmp_path: Path) -> None:
    images = make_images(4)
    write_report(tmp_path, make_manifest(), make_verification(), images, TIMINGS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "samples.png"]
    assert Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    samples = np.asarray(Image.open(tmp_path / "samples.png"))
    assert samples.shape == (2 * 128 + 2, 2 * 128 + 2, 3)
    np.testing.assert_array_equal(samples[130::16, 130::16], images[3])


def test_a_passed_export_says_so_and_names_every_gate_and_fact() -> None:
    verification = make_verification()
    shown = page(make_manifest(), verification)
    assert "Passed. All 7 gates hold for onnxruntime" in shown.text
    assert not re.search("FAIL|[Nn]ot verified", shown.text)
    for gate in verification.result.gates:
        assert gate.name in shown.text
    facts = ["netG_1200.pth", "3 denoising steps", "fp32", "1,234,567", "5 MB", "301", "β 0.1 to 20"]
    facts += ["c0ffee" * 10, "5a" * 32, "Total 10.0 s", "torch 2.13.0", "uint8 [batch, 8, 8, 3]"]
    for expected in facts:
        assert expected in shown.text


def test_the_page_needs_nothing_from_elsewhere() -> None:
    shown = page(make_manifest(precision="fp16"), make_verification(dB=True))
    fetching = ("src", "href", "srcset", "data", "action", "poster", "background")
    references = [value for _, items in shown.tags for name, value in items.items() if name in fetching]
    assert references and all(reference and reference.startswith("data:") for reference in references)
    assert not {"script", "iframe", "object", "form", "base"} & {tag for tag, _ in shown.tags}
    html = render(make_manifest(), make_verification(), make_images(), TIMINGS)
    assert not re.search(r"@import|https?://|url\(", html)


def test_every_picture_has_a_text_and_every_header_a_scope() -> None:
    shown = page(make_manifest(), make_verification())
    pictures = shown.named("img")
    assert len(pictures) == 2 * 3 + 3 * 3 + 4
    assert all(picture["alt"] for picture in pictures)
    assert all(header.get("scope") for header in shown.named("th"))
    assert all(chart.get("aria-label") for chart in shown.charts)
    assert all(chart.get("aria-hidden") == "true" for chart in shown.named("svg") if chart not in shown.charts)


def test_a_failed_gate_stands_at_the_top_and_in_its_row() -> None:
    verification = with_gate(make_verification(), 3, passed=False, measured=2.5e-3, where=WHERE)
    shown = page(make_manifest(), verification)
    assert "FAILED. 1 of 7 gates do not hold" in shown.text
    assert f"step 1 (t=1) x0: 2.5e-3, limit 1e-4 max abs; the drift begins at {WHERE}" in shown.text
    assert f"drift begins at {WHERE} FAIL 2.5e-3 ≤ 1e-4 max abs" in shown.text
    assert shown.text.count("pass ") == 6 and "Passed." not in shown.text
    assert "3 steps, fp32: FAILED</title>" in render(make_manifest(), verification, make_images(), TIMINGS)


def make_sweep(side: int = 8, **changes: Any) -> Sweep:
    """Of two seeds and three values."""
    knob = Knob("scale", "float32", (1,), -1, 1, default=1.0, swept=(-0.5, 0, 1), help="of it all")
    images = np.random.default_rng(2).integers(0, 256, (2, 3, side, side, 3), np.uint8)
    return Sweep(replace(knob, **changes), (0, 1), images)


def test_a_knob_is_shown_value_by_value_for_every_seed() -> None:
    sweep = make_sweep()
    shown = Page(render(make_manifest(), None, make_images(), TIMINGS, sweeps=[sweep]))
    assert "By scale The same seeds with other values of scale (of it all); all else is as by default. " in shown.text
    assert "-0.5 0 1 (default) seed 0 seed 1 " in shown.text
    pictures = shown.named("img")[4:]
    alts = [f"seed {seed}, scale {value}" for seed in (0, 1) for value in ("-0.5", "0", "1 (default)")]
    assert [picture["alt"] for picture in pictures] == alts
    assert all(header.get("scope") for header in shown.named("th"))
    contents = [str(picture["src"]).partition("base64,")[2] for picture in pictures]
    last = np.asarray(Image.open(io.BytesIO(base64.b64decode(contents[-1]))))
    np.testing.assert_array_equal(last[::16, ::16], sweep.images[1, 2])
    assert "The same seeds" not in page(make_manifest(), make_verification()).text


@pytest.mark.parametrize(("side", "factor", "shown_as"), [(96, 1, 96), (200, 2, 100), (1024, 8, 128)])
def test_large_images_of_a_sweep_are_reduced(side: int, factor: int, shown_as: int) -> None:
    sweep = make_sweep(side)
    thumbnail = np.asarray(sweep.thumbnails()[1][2])
    assert thumbnail.shape == (shown_as, shown_as, 3)
    block = sweep.images[1, 2, -factor:, -factor:].mean(axis=(0, 1))
    np.testing.assert_allclose(thumbnail[-1, -1], block, atol=0.51)
    text = Page(render(make_manifest(), None, make_images(), TIMINGS, sweeps=[sweep])).text
    assert (f"as by default. Reduced by {factor}. " in text) == (factor > 1)


def test_the_text_of_a_knob_stays_text() -> None:
    html = render(make_manifest(), None, make_images(), TIMINGS, sweeps=[make_sweep(help="<script>\n")])
    assert "<script" not in html and r"<script>\n" in Page(html).text


def test_without_verification_nothing_is_claimed() -> None:
    shown = page(make_manifest(), None)
    assert "Not verified. The export ran with --no-verify" in shown.text
    assert not re.search("passed|FAILED|gates hold", shown.text)
    assert len(shown.named("img")) == 4
    assert "not verified</title>" in render(make_manifest(), None, make_images(), TIMINGS)


def test_hostile_text_stays_text() -> None:
    hostile = "<script>alert(1)</script>.pth"
    quoted = "\"><img src=x onerror='alert(1)'>"
    manifest = make_manifest(
        precision="fp16",
        checkpoint=CheckpointInfo(hostile, "0", quoted, 1),
        kept_fp32=(KeptLayer(quoted, quoted),),
        versions={quoted: quoted},
    )
    verification = with_gate(make_verification(dB=True), 1, passed=False, name=quoted, where=hostile)
    verification = replace(verification, result=replace(verification.result, engine=quoted))
    shown = Page(html := render(manifest, verification, make_images(), [(quoted, 1.0)]))
    assert "<script" not in html
    assert hostile in shown.text and quoted in shown.text
    assert not any("onerror" in picture for picture in shown.named("img"))


@pytest.mark.parametrize(
    ("name", "shown_as"),
    [
        ('<b>[x]&".pth', '<b>[x]&".pth'),
        (os.fsdecode(b"\xff\xfe.pth"), r"\xff\xfe.pth"),
        ("a\nb\x1b[31m\u202e.pth", r"a\nb\x1b[31m\u202e.pth"),
    ],
)
def test_any_name_is_shown_and_written(tmp_path: Path, name: str, shown_as: str) -> None:
    manifest = make_manifest(
        checkpoint=CheckpointInfo(name, "0", "ema", 1),
        assumed=(Assumed("image_size", name, name),),
        versions={name: name},
        kept_fp32=(KeptLayer(name, name),),
        precision="fp16",
    )
    write_report(tmp_path, manifest, make_verification(dB=True), make_images(), [(name, 1.0)])
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f"<h1>{escape(shown_as)}</h1>" in html.replace("&#34;", "&quot;")
    assert Page(html).text.count(shown_as) >= 3


def test_what_was_assumed_stands_before_all_that_was_measured() -> None:
    guess = Assumed("fir", "true", "the published default")
    shown = page(make_manifest(assumed=(guess,)), make_verification())
    assert f"fir true the published default {guess.fix}" in shown.text
    order = [
        "Passed.",
        "Key facts",
        "Assumed",
        "Samples",
        "PyTorch and engine",
        "Errors step by step",
        "Gates",
        "Files",
    ]
    places = [shown.text.index(f" {part} ") for part in order]
    assert places == sorted(places)
    assert "Assumed" not in page(make_manifest(), make_verification()).text
    assert "Assumed" in page(make_manifest(assumed=(guess,)), None).text


def test_the_date_is_one_for_people() -> None:
    shown = page(make_manifest(created="2026-11-28T14:31:09+00:00"), None)
    assert "Exported 28 November 2026, 14:31 UTC " in shown.text
    assert shown.named("time") == [{"datetime": "2026-11-28T14:31:09+00:00"}]
    assert date("2026-01-02T03:04:05Z") == "2 January 2026, 03:04 UTC"
    assert date("2026-01-02T03:04:05+02:00") == "2 January 2026, 03:04 UTC+02:00"
    assert date("2026-01-02T03:04:05") == "2 January 2026, 03:04"
    assert date("long\nago") == r"long\nago"


def test_values_of_another_order_show_their_scale_and_its_limits() -> None:
    verification = make_verification(error=5e-3)
    verification.reference[-1][:] *= 200
    rows = tuple(replace(row, scale=100.0) for row in verification.result.probes)
    gates = tuple(
        replace(gate, limit=1e-2) if gate.name.startswith("step ") else gate for gate in verification.result.gates
    )
    verification = replace(verification, result=replace(verification.result, probes=rows, gates=gates))
    html = render(make_manifest(), verification, make_images(), TIMINGS)
    shown = Page(html)
    assert "limit 1e-4, fails above" in shown.text and "<title>x0, step 0: 5e-5</title>" in html
    assert "follow the scale of the values" in shown.text and "what lies beyond is cut off" in shown.text
    assert "step 0 (t=2) 5e-3 100 55.5 5e-3 100 equal" in shown.text
    assert "step 1 (t=1) x0 pass 5e-3 ≤ 1e-2 max abs" in shown.text
    plain = page(make_manifest(), make_verification()).text
    assert "scale" not in plain and "cut off" not in plain


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, NOT_FINITE])
def test_a_trajectory_that_is_not_finite_is_drawn(bad: float) -> None:
    verification = make_verification(error=0.0)
    for value in verification.engine[-2:]:
        value[0, 1, :4] = bad
    probes = verification.result.probes
    last = tuple(replace(row, max_abs=NOT_FINITE, psnr=0.0) for row in probes[-2:])
    result = replace(verification.result, probes=(*probes[:-2], *last))
    verification = with_gate(replace(verification, result=result), 5, passed=False, measured=NOT_FINITE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shown = page(make_manifest(), verification)
    assert "not finite" in shown.text
    assert all(np.isfinite(float(str(mark["cy"]))) for mark in shown.marks)
    _, engine, difference = first_row(shown)
    assert (difference[:64] == 255).all()
    assert not difference[64:].any()
    assert (engine[:64, :, 1] == (255 if bad > 0 else 0)).all()


def test_pictures_show_the_reference_the_engine_and_the_difference() -> None:
    verification = make_verification()
    verification.engine[-1][:] = verification.reference[-1]
    verification.engine[-1][0, 2, 0, 0] += 0.01
    reference, engine, difference = first_row(page(make_manifest(), verification))
    expected = np.floor((verification.reference[-1][0].transpose(1, 2, 0) + 1) / 2 * 255 + 0.5)
    np.testing.assert_array_equal(reference[::16, ::16], expected)
    np.testing.assert_array_equal(engine[16:], reference[16:])
    assert int(engine[0, 0, 2]) - int(reference[0, 0, 2]) in (1, 2)
    assert difference.shape == (128, 128)
    assert (difference[:16, :16] > 0).all() and not difference[16:].any() and not difference[:, 16:].any()


@pytest.mark.parametrize("largest", [0.0, 1e-30, 3e-7, 1e-4, 0.02, 0.9, 50.0])
def test_the_amplification_makes_the_difference_visible(largest: float) -> None:
    factor = amplification(np.full((2, 4, 4, 1), largest))
    assert factor >= 1 and str(factor).strip("0") in ("1", "2", "5")
    if 1e-8 < largest < 1.0:
        assert 0.5 <= largest * factor / 2 <= 1.25


def test_fp16_shows_psnr_against_its_limit_and_the_layers_kept() -> None:
    kept = (KeptLayer("all_modules.3.Conv_1", "weight 81920 is beyond fp16"),)
    shown = page(make_manifest(precision="fp16", kept_fp32=kept), make_verification(dB=True))
    assert len(shown.charts) == 2
    assert "limit 40.0, fails below" in shown.text
    assert "all_modules.3.Conv_1 weight 81920 is beyond fp16" in shown.text
    assert "None: fp16 holds every layer" in page(make_manifest(precision="fp16"), None).text
    assert "Kept in fp32" not in page(make_manifest(), None).text


def test_the_chart_puts_errors_on_the_right_side_of_the_limit() -> None:
    for error, below in ((1e-6, True), (1e-2, False)):
        shown = page(make_manifest(), make_verification(error=error))
        limit = next(line for line in shown.named("line") if line["class"] == "limit")
        marks = [float(str(circle["cy"])) for circle in shown.marks]
        assert len(marks) == 6
        assert all((mark > float(str(limit["y1"]))) == below for mark in marks)


@pytest.mark.parametrize(("steps", "channels"), [(1, 1), (2, 4), (64, 3)])
def test_every_length_and_channel_count(steps: int, channels: int) -> None:
    shown = page(make_manifest(steps, channels), make_verification(steps, channels), channels)
    assert len(shown.marks) == 2 * steps
    assert len(shown.named("img")) == 2 * 3 + (3 * min(steps, 8) if steps > 1 else 0) + 4


def test_a_manifest_without_files_and_times_is_reported() -> None:
    for timings in ([], [("instant", 0.0)]):
        html = render(make_manifest(files={}), make_verification(error=0.0), make_images(), timings)
        assert "not recorded" in Page(html).text


def test_numbers() -> None:
    max_abs = [number(value) for value in (0.0, 3.14e-6, 1e-4, 1056.0, NOT_FINITE, float("inf"))]
    assert max_abs == ["0", "3.1e-6", "1e-4", "1056", "not finite", "not finite"]
    assert [number(value, "dB") for value in (41.26, 999.0, float("nan"))] == ["41.3", "equal", "not finite"]


def test_a_failed_value_is_told_from_its_limit() -> None:
    assert measured(Gate("x0", False, 39.97, 40.0, "dB")) == "39.97"
    assert measured(Gate("x0", False, 1.004e-4, 1e-4, "max abs")) == "1.004e-4"
    assert measured(Gate("x0", True, 40.01, 40.0, "dB")) == "40.0"


def test_units() -> None:
    space = "\N{NO-BREAK SPACE}"
    sizes = [size(count).replace(space, " ") for count in (12, 812_345, 999_900, 217_000_000, 2_500_000_000)]
    assert sizes == ["12 bytes", "812 kB", "1 MB", "217 MB", "2.5 GB"]
    assert [seconds(t).replace(space, " ") for t in (0.42, 14.2, 185.0)] == ["0.42 s", "14.2 s", "3 min 5 s"]
