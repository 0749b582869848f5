"""The report's section on engines and the command's table of them."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from ddgan_deploy.artifact.manifest import Artifact, FileInfo
from ddgan_deploy.artifact.results import Gate, ParityResult
from ddgan_deploy.cli.tables import print_export
from ddgan_deploy.engines.tensorrt.plan import GRAPHS, PLAN_FORMAT, PLANS, BatchProfile, PlanInfo
from ddgan_deploy.export.report.engines import render_engines, replace_engines
from ddgan_deploy.export.report.write import render
from tests.export.report.test_report import TIMINGS, Page, make_images, make_manifest, make_verification

BEGIN, END = "<!-- engines -->", "<!-- /engines -->"
BYTES = {"sampler.rtx.plan": 217_000_000, "sampler.plan": 12_300_000, "ddgan.plan": 12_400_000}


def make_info(name: str, **changes: object) -> PlanInfo:
    runtime = next(runtime for runtime, names in PLANS.items() if name in names)
    rtx = runtime == "tensorrt-rtx"
    info = PlanInfo(
        format_version=PLAN_FORMAT,
        runtime=runtime,
        version="1.7.1" if rtx else "11.4.0",
        compute_capabilities=("8.6", "12.0") if rtx else ("8.9",),
        hardware_compatibility="none",
        version_compatible=False,
        graph=GRAPHS[name],
        graph_sha256="5a" * 32,
        weights_sha256="e1" * 32,
        profile=BatchProfile(1, 8, 32),
        precision="fp16",
        kernels="portable" if rtx else "fused",
        refittable=False,
        gpu=None if rtx else "NVIDIA Stand-in",
        driver=None if rtx else "580.65.06",
        build_seconds=14.2,
    )
    return replace(info, **changes)


def gates(*passed: bool) -> ParityResult:
    made = [Gate(f"gate {k}", holds, 41.0 if holds else 39.97, 40.0, "dB") for k, holds in enumerate(passed)]
    return ParityResult("tensorrt", (0, 1), tuple(made), 1.0)


def with_files(manifest, *infos: PlanInfo):
    names = [name for name, graph in GRAPHS.items() for info in infos if name in PLANS[info.runtime]]
    graphs = {**manifest.files, "ddgan.onnx": FileInfo(2_000_000, "77" * 32)}
    return replace(manifest, files={**graphs, **{name: FileInfo(BYTES[name], "0" * 64) for name in names}})


def section(*infos: PlanInfo) -> Page:
    html = render_engines(with_files(make_manifest(), *infos), infos)
    assert html.startswith(BEGIN) and html.endswith(END)
    return Page(html)


def both(**changes: object) -> list[PlanInfo]:
    return [make_info(name, **changes) for name in PLANS["tensorrt"]]


def test_no_engines_leave_only_the_marks():
    assert section().text == ""
    html = render(make_manifest(), make_verification(), make_images(), TIMINGS)
    assert re.search(f"{BEGIN}\\s*{END}", html)


def test_rtx_without_a_gpu_claims_no_parity():
    shown = section(make_info("sampler.rtx.plan"))
    for fact in (
        "sampler.rtx.plan",
        "TensorRT-RTX 1.7.1",
        "8.6, 12.0",
        "fp16",
        "1:8:32",
        "portable",
        "217 MB",
        "14.2 s",
    ):
        assert fact in shown.text
    assert "No gate has run on them: here is no GPU that runs them." in shown.text
    assert not re.search("pass|FAIL|median|driver", shown.text)
    assert "with the version that built it." in shown.text


def test_tensorrt_with_both_medians_and_gates():
    medians = {"fused": 1.234, "portable": 2.5}
    shown = section(*both(medians_ms=medians, parity=gates(True, True)))
    assert "A batch of 8, from seeds to pixels on the host, median: fused 1.23 ms, portable 2.50 ms" in shown.text
    assert "TensorRT 11.4.0 NVIDIA Stand-in, driver 580.65.06 8.9" in shown.text.replace("<br>", " ")
    assert shown.text.count(" pass ") == 2 and "FAIL" not in shown.text
    assert "No gate has run" not in shown.text and "could not be built" not in shown.text
    assert [name in shown.text for name in ("sampler.plan", "ddgan.plan", "sampler.rtx.plan")] == [True, True, False]


def test_a_refused_kind_says_why():
    shown = section(*both(medians_ms={"portable": 2.5}, refused={"fused": "no <such> plugin"}))
    assert "portable 2.50 ms fused kernels could not be built: no <such> plugin" in shown.text


def test_failing_gates_stand_out():
    shown = section(*both(parity=gates(True, False)))
    assert "gate 1 FAIL 39.97 ≥ 40.0 dB" in shown.text
    assert [row.get("class") for row in shown.named("tr")].count("failure") == 1


def test_engines_that_were_not_verified():
    assert "here they were not verified" in section(*both()).text


def test_engines_that_others_run_too():
    shown = section(*both(hardware_compatibility="ampere_plus", version_compatible=True))
    assert "8.0 and later" in shown.text and "or a later one" in shown.text


def test_an_unknown_driver():
    assert "driver unknown" in section(*both(driver=None)).text


def test_runtimes_have_a_section_each():
    shown = section(*both(), make_info("sampler.rtx.plan"))
    assert len(shown.named("section")) == 2
    assert all(header.get("scope") for header in shown.named("th"))


def test_the_report_holds_the_section_and_can_replace_it(tmp_path):
    manifest, old = make_manifest(), make_info("sampler.rtx.plan", compute_capabilities=("7.5",))
    manifest = with_files(manifest, old)
    path = tmp_path / "report.html"
    path.write_text(render(manifest, make_verification(), make_images(), TIMINGS, [old]), encoding="utf-8")
    before = path.read_text(encoding="utf-8")
    assert "7.5" in Page(before).text
    new = make_info("sampler.rtx.plan", compute_capabilities=("8.9",))
    replace_engines(path, manifest, [new])
    after = path.read_text(encoding="utf-8")
    outside = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
    assert outside.sub("", before) == outside.sub("", after)
    assert outside.search(after)[0] == render_engines(manifest, [new])
    assert "8.9" in Page(after).text
    replace_engines(path, manifest, [])
    assert outside.sub("", path.read_text(encoding="utf-8")) == outside.sub("", before)


def test_a_report_without_the_section_stays(tmp_path):
    path = tmp_path / "report.html"
    for text in ("<p>mine", f"<p>{BEGIN}", f"<p>{END}"):
        path.write_text(text)
        replace_engines(path, make_manifest(), [])
        assert path.read_text() == text


def printed(capsys: pytest.CaptureFixture[str], tmp_path, choice: str, *infos: PlanInfo) -> str:
    manifest = with_files(make_manifest(), *infos)
    print_export(Artifact(tmp_path / "made", manifest), [], infos, choice)
    return " ".join(capsys.readouterr().out.split())


def test_the_table_of_rtx(capsys, tmp_path):
    out = printed(capsys, tmp_path, "TensorRT-RTX: asked for", make_info("sampler.rtx.plan"))
    assert "engines TensorRT-RTX: asked for" in out
    assert "TensorRT-RTX 1.7.1 for 8.6, 12.0, batch 1:8:32, portable kernels, 217.00 MB in 14.2 s" in out
    assert "parity of engines not run" in out
    assert "next: ddgan-sample" in out


def test_the_table_of_tensorrt(capsys, tmp_path):
    infos = both(medians_ms={"fused": 1.5, "portable": 2.25}, parity=gates(True))
    out = printed(capsys, tmp_path, "TensorRT: asked for", *infos)
    for fact in ("fused kernels: 1.50 ms a batch of 8", "portable kernels: 2.25 ms", "sampler.plan", "ddgan.plan"):
        assert fact in out
    assert out.count("gate 0") == 1 and "parity of engines" not in out
    assert "next: ddgan-sample" in out


def test_the_table_of_a_refused_kind_and_a_failed_gate(capsys, tmp_path):
    infos = both(medians_ms={"portable": 2.25}, refused={"fused": "no such plugin"}, parity=gates(False))
    out = printed(capsys, tmp_path, "TensorRT: asked for", *infos)
    assert "no fused kernels: no such plugin" in out
    assert "gate 0 40.0 dB 40.0 dB FAIL" in out
    assert "next:" not in out


def test_the_table_of_no_engine(capsys, tmp_path):
    out = printed(capsys, tmp_path, "none: not asked for")
    assert "engines none: not asked for" in out and "parity of engines" not in out
