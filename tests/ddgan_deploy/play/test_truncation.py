"""The page with a published network that has knobs: a StyleGAN2 of five classes, with truncation."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ddgan_deploy import open_artifact
from tests.browser import open_browser
from tests.ddgan_deploy.play.browsing import Page, playing, sampled

DRAG = """
const [name, last, done] = arguments;
const slider = document.querySelector(`#${name} input[type=range]`);
const move = value => {
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(slider, value);
    slider.dispatchEvent(new Event('input', {bubbles: true}));
};
let moves = 50;
const go = () => {
    if (--moves == 0) { move(last); done(); return; }
    move((moves * 37) % 700 / 100 - 3.5);
    setTimeout(go, 40 + (moves * 7) % 11);
};
go();
"""


@pytest.fixture(scope="module")
def artifact(exports):
    return exports.stylegan2("dgan_sg2_cond_trunc").path


@pytest.fixture(scope="module")
def page(artifact):
    with open_browser() as browser, playing(artifact) as (process, url):
        page = Page(browser)
        page.open(url)
        page.until(lambda: len(page.captions("images")) == 16)
        yield page
        process.terminate()
        said = process.communicate(timeout=30)[1]
        assert "Error" not in said and "Traceback" not in said


def told(page, *words):
    """Waits for a command that has these, beside seeds and a file."""
    page.until(lambda: page.line("command").partition("--seeds ")[2].split()[1:-2] == list(words))


def typed(page, name, text):
    """Into the field beside a slider, and on to the next one."""
    field = page.browser.find_element(By.CSS_SELECTOR, f"#{name} input[type=number]")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE + text)
    return field


def test_knobs(page, artifact, tmp_path):
    page.type("seeds", "0-3", Keys.ENTER)
    page.moved("knob-truncation", -1.5)
    told(page, "--truncation=-1.5")
    page.moved("knob-label", 2)
    told(page, "--label", "2", "--truncation=-1.5")
    with open_artifact(artifact) as engine:
        expected = engine.generate(range(4), label=2, truncation=-1.5)
        assert (expected != engine.generate(range(4), label=2)).any()
    np.testing.assert_array_equal(page.images("images"), expected)
    np.testing.assert_array_equal(sampled(page.line("command"), tmp_path)[0], expected)
    asked = json.loads(shlex.split(page.line("curl"))[-1])["inputs"]
    assert {tensor["name"]: tensor["data"] for tensor in asked} == {
        "seed": [0, 1, 2, 3],
        "label": [2] * 4,
        "truncation": [-1.5] * 4,
    }


def test_a_number_that_is_typed(page):
    page.moved("knob-truncation", 0.7)
    typed(page, "knob-label", "3.5")
    page.until(lambda: page.text("told") == "label 3.5 is no int64: give a number in -1..4")
    # While nothing is there, the default is drawn.
    typed(page, "knob-label", "")
    page.until(lambda: " images by " in page.text("told"))
    told(page)
    typed(page, "knob-label", "4")
    told(page, "--label", "4")


def test_a_slider_that_is_dragged_ends_where_it_was_left(page, artifact):
    page.type("seeds", "0-63", Keys.ENTER)
    page.until(lambda: len(page.captions("images")) == 64)
    page.moved("knob-label", -1)
    for last in (0.32, 0.33):
        page.browser.execute_async_script(DRAG, "knob-truncation", last)
        told(page, "--truncation", str(last))
    with open_artifact(artifact) as engine:
        np.testing.assert_array_equal(page.images("images"), engine.generate(range(64), truncation=last))


def test_it_has_no_steps(page):
    page.tab("Step by step")
    page.until(lambda: "This artifact draws in one step" in page.browser.find_element(By.TAG_NAME, "body").text)


def test_between_two_seeds(page, tmp_path):
    page.moved("knob-truncation", 0.33)
    page.tab("Between two seeds")
    page.until(lambda: page.shows("walk"))
    typed(page, "walk-steps", "2.5")
    page.click("walk")
    page.until(lambda: page.text("walk-told") == "steps 2.5 are out of range: give a whole number in 2..16")
    typed(page, "walk-steps", "4")
    page.click("walk")
    page.until(lambda: len(page.captions("walk-images")) == 5)
    assert "--truncation 0.33" in page.line("walk-command")
    np.testing.assert_array_equal(page.images("walk-images"), sampled(page.line("walk-command"), tmp_path)[0])
