"""The report's section on TensorRT engines, which is written again when they are built again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ddgan_deploy.artifact.manifest import Manifest
from ddgan_deploy.engines.tensorrt.plan import TITLES, PlanInfo, plan_name
from ddgan_deploy.export.report.formats import environment

_BEGIN, _END = "<!-- engines -->", "<!-- /engines -->"


@dataclass(frozen=True)
class _Row:
    """One engine file."""

    name: str
    title: str
    runs_on: str
    bytes: int
    info: PlanInfo


def render_engines(manifest: Manifest, infos: Sequence[PlanInfo]) -> str:
    """The section as HTML, between its marks; only these where there are no engines.

    Args:
        manifest: lists the engines' files.
        infos: of the engines.
    """
    groups: dict[str, list[_Row]] = {}
    for info in infos:
        name, title = plan_name(info), TITLES[info.runtime]
        groups.setdefault(title, []).append(_Row(name, title, _runs_on(info), manifest.files[name].bytes, info))
    return environment().get_template("engines.html.j2").render(groups=groups).strip()


def replace_engines(report: Path, manifest: Manifest, infos: Sequence[PlanInfo]) -> None:
    """Writes the section of a report anew; a report without it, or none, stays as it is."""
    if not report.is_file():
        return
    text = report.read_text(encoding="utf-8", errors="surrogateescape")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if begin and end:
        report.write_text(before + render_engines(manifest, infos) + after, encoding="utf-8", errors="surrogateescape")


def _runs_on(info: PlanInfo) -> str:
    if info.hardware_compatibility == "ampere_plus":
        return "8.0 and later"
    return ", ".join(info.compute_capabilities)
