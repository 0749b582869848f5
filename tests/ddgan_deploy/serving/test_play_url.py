"""ddgan-play --url: the page draws with a server."""

from __future__ import annotations

import json
import shlex
import subprocess

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.cli import sample
from tests.browser import open_browser
from tests.ddgan_deploy.play.browsing import Page, playing


@pytest.fixture(scope="module")
def page(server):
    with open_browser() as browser, playing("--url", f"http://{server.http}") as (_, url):
        page = Page(browser)
        page.open(url)
        page.until(lambda: len(page.captions("images")) == 16)
        yield page


@pytest.fixture(scope="module")
def expected(server):
    with open_artifact(server.artifact) as engine:
        return engine.generate(range(3, 20))


def test_it_shows_what_the_server_draws(page, server, expected, tmp_path, monkeypatch):
    page.type("seeds", "3-19")
    page.click("draw")
    page.until(lambda: len(page.captions("images")) == 17)
    np.testing.assert_array_equal(page.images("images"), expected.repeat(3, axis=3))
    assert page.text("told").startswith(f"17 images by ddgan at http://{server.http} in ")
    monkeypatch.chdir(tmp_path)
    _, *arguments = shlex.split(page.line("command"))
    assert sample.main([*arguments, "--npz", "images.npz"]) == 0
    np.testing.assert_array_equal(np.load("images.npz")["images"], expected)


def test_the_lines_of_curl_give_its_pixels(page, expected):
    lines = page.line("curl").splitlines()
    outputs = [json.loads(subprocess.check_output(shlex.split(line)))["outputs"][0] for line in lines]
    drawn = np.concatenate([np.reshape(output["data"], output["shape"]) for output in outputs])
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("tab", ["Step by step", "Between two seeds"])
def test_what_a_server_cannot_tell_is_said(page, tab):
    page.tab(tab)
    page.until(
        lambda: "open the artifact itself with ddgan-play DIR" in page.browser.find_element("tag name", "body").text
    )


def test_nothing_is_fetched_from_elsewhere(page):
    assert page.elsewhere() == []


def test_of_grpc_no_line_of_curl_is_known(server):
    with open_browser() as browser, playing("--url", f"grpc://{server.grpc}") as (_, url):
        page = Page(browser)
        page.open(url)
        page.until(lambda: len(page.captions("images")) == 16)
        assert "its address of HTTP" in page.line("curl")
        with open_artifact(server.artifact) as engine:
            np.testing.assert_array_equal(page.images("images"), engine.generate(range(16)).repeat(3, axis=3))
