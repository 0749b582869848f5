"""What the README and the pages name exists: pictures, pages, their sections, files of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_readme import PAGES, README, ROOT

_FOLDERS = frozenset(
    ["benchmarks", "ddgan_deploy", "deploy", "docs", "examples", "export", "kernels", "tests", "tools", "triton_repo"]
)


def _prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)


def _anchors(page: Path) -> set[str]:
    """Of all headings, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", _prose(page), re.M):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        repeats = sum(each == anchor or re.fullmatch(rf"{re.escape(anchor)}-\d+", each) is not None for each in found)
        found.add(f"{anchor}-{repeats}" if repeats else anchor)
    return found


def _links(page: Path) -> list[str]:
    # A link's text may go over two lines.
    found = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", _prose(page))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in _links(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:\w+/)[\w./*<>-]+)", _prose(page)):
        if name.split("/")[0] in _FOLDERS and "<" not in name:
            assert list(ROOT.glob(name.rstrip("/"))), name


def test_every_page_is_reached_from_the_readme():
    reached = {(README.parent / target.partition("#")[0]).resolve() for target in _links(README)}
    assert {page for page in PAGES if page.parent == ROOT / "docs"} <= reached
    assert (ROOT / "CONTRIBUTING.md") in reached
