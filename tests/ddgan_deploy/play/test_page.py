"""The page in a browser: what it shows is what ddgan-sample draws."""

from __future__ import annotations

import io
import json
import os
import signal
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys

from tests.browser import open_browser
from tests.ddgan_deploy.play.browsing import Page, playing, sampled
from tests.export.web.served import served


@pytest.fixture(scope="module")
def page(toy):
    with open_browser() as browser, playing(toy, "--engine", "onnxruntime-portable") as (process, url):
        page = Page(browser)
        page.open(url)
        page.until(lambda: len(page.captions("images")) == 16)
        yield page
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert "Traceback" not in process.stderr.read()


def test_seeds_that_are_typed(page, toy, opened, tmp_path):
    page.type("seeds", "3,7-9,18446744073709551615")
    page.click("draw")
    seeds = [3, 7, 8, 9, 2**64 - 1]
    page.until(lambda: page.captions("images") == [f"seed {seed}" for seed in seeds])
    np.testing.assert_array_equal(page.images("images"), opened.generate(seeds))
    line = page.line("command")
    assert line == f"ddgan-sample '{toy}' --engine onnxruntime-portable --seeds 3,7-9,{2**64 - 1} --out grid.png"
    images, grid = sampled(line, tmp_path)
    np.testing.assert_array_equal(page.images("images"), images)
    np.testing.assert_array_equal(Image.open(io.BytesIO(page.saved("grid.png"))), grid)
    np.testing.assert_array_equal(np.load(io.BytesIO(page.saved("images.npz")))["images"], images)
    assert "5 images by onnxruntime-portable in " in page.text("told")


def test_images_are_enlarged_by_a_whole_factor(page):
    sizes = page.browser.execute_script(
        "return Array.from(document.querySelectorAll('#images img'), image => [image.width, image.height, "
        "image.naturalWidth, image.naturalHeight, getComputedStyle(image).imageRendering])"
    )
    assert all(size == [128, 128, 8, 8, "pixelated"] for size in sizes) and sizes


def test_knobs_that_are_moved(page, opened, tmp_path):
    page.type("seeds", "0-3")
    for name, value, says in (("gain", 2.5, "--set gain=2.5"), ("label", 7, "--label 7 --set gain=2.5")):
        page.moved(f"knob-{name}", value)
        page.until(lambda says=says: " ".join(sorted(says.split())) == _knobs_of(page.line("command")))
    expected = opened.generate(range(4), gain=2.5, label=7)
    assert (expected != opened.generate(range(4))).any()
    np.testing.assert_array_equal(page.images("images"), expected)
    np.testing.assert_array_equal(sampled(page.line("command"), tmp_path)[0], expected)
    for name, value in (("gain", 1), ("label", -1)):
        page.moved(f"knob-{name}", value)
    page.until(lambda: _knobs_of(page.line("command")) == "")
    np.testing.assert_array_equal(page.images("images"), opened.generate(range(4)))


def _knobs_of(line):
    return " ".join(sorted(line.partition("--seeds 0-3 ")[2].removesuffix("--out grid.png").split()))


@pytest.mark.parametrize("name", ["command", "serve", "curl"])
def test_lines_are_copied(page, name):
    button = page.browser.find_element("css selector", f"#{name} button")
    button.click()
    assert button.text == "Copied"
    page.type("seeds", "", Keys.CONTROL + "v")
    assert page.line("seeds") == page.line(name) != ""


def test_wrong_seeds_are_told_and_the_rest_stays(page):
    before = page.images("images"), page.line("command")
    page.type("seeds", "9-3")
    page.click("draw")
    page.until(lambda: page.text("told") == "seeds 9-3 run backwards: give 3-9")
    assert page.browser.execute_script("return document.querySelector('#told [role=alert]') !== null")
    np.testing.assert_array_equal(page.images("images"), before[0])
    assert page.line("command") == before[1]


def test_step_by_step(page, opened):
    page.tab("Step by step")
    page.until(lambda: page.shows("way"))
    page.type("way-seed", "5")
    page.click("way")
    page.until(lambda: page.captions("way-seen"))
    assert page.captions("way-states") == ["x_T", "step 0 x"] and page.captions("way-seen") == [
        "step 0 x",
        "step 1 x_0",
    ]
    np.testing.assert_array_equal(page.images("way-seen")[-1], opened.generate([5])[0])


def test_between_two_seeds(page, opened, tmp_path):
    page.tab("Between two seeds")
    page.until(lambda: page.shows("walk"))
    page.type("first", "3")
    page.type("second", "7")
    page.click("walk")
    page.until(lambda: len(page.captions("walk-images")) == 9)
    images = page.images("walk-images")
    np.testing.assert_array_equal(images[[0, -1]], opened.generate([3, 7]))
    np.testing.assert_array_equal(images, sampled(page.line("walk-command"), tmp_path)[0])


def test_every_field_has_a_name_and_every_image_a_text(page):
    unnamed = page.browser.execute_script("""
        return Array.from(document.querySelectorAll('input, textarea, button, img'))
            .filter(part => part.checkVisibility() && !part.labels?.length && !part.ariaLabel && !part.alt
                    && !part.title && !part.innerText?.trim())
            .map(part => part.outerHTML)
    """)
    assert not unnamed


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(page, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    page.size(360, 800, mobile=True)
    page.browser.refresh()
    page.until(lambda: len(page.captions("images")) == 16)
    assert page.browser.execute_script("return document.documentElement.scrollWidth") <= 360
    ground = page.browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, ground.removeprefix("rgb(").rstrip(")").split(","))) > 3 * 128
    assert light == (scheme == "light")


def test_nothing_is_fetched_from_elsewhere(page):
    assert page.elsewhere() == []
    assert not [entry for entry in page.browser.get_log("browser") if entry["level"] == "SEVERE"]
    # The page would have been seen to ask.
    page.browser.execute_async_script(
        "const done = arguments[0]; fetch('https://example.org/font.woff2', {mode: 'no-cors'}).catch(() => done())"
    )
    page.until(lambda: page.elsewhere() == ["https://example.org/font.woff2"])


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 400), ("none", 400), (None, 400)]
)
def test_pages_of_elsewhere_upload_nothing(page, site, status):
    """An upload without a file is no upload; ours is told so by Gradio."""
    headers = {"Sec-Fetch-Site": site} if site else {}
    address = page.browser.current_url + "gradio_api/upload"
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(urllib.request.Request(address, b"", headers))
    assert error.value.code == status


def test_a_browser_says_of_which_site_a_request_is(page, tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html><title>elsewhere</title>")
    upload = page.browser.current_url + "gradio_api/upload"
    page.browser.switch_to.new_window("tab")
    try:
        with served(tmp_path) as elsewhere:
            page.browser.get(elsewhere)
            page.browser.get_log("browser")
            post = "fetch(arguments[0], {method: 'POST', mode: 'no-cors'}).then(arguments[1], arguments[1])"
            page.browser.execute_async_script(post, upload)
            said = [entry["message"] for entry in page.browser.get_log("browser")]
            assert any(upload in line and "403" in line for line in said), said
    finally:
        page.browser.close()
        page.browser.switch_to.window(page.browser.window_handles[0])


def test_a_picture_that_is_uploaded(page, upsampler, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    broken = tmp_path / "broken.png"
    broken.write_bytes((tmp_path / "picture.png").read_bytes()[:20])
    with playing(upsampler.artifact.path, "--engine", "onnxruntime-portable") as (process, url):
        page.open(url)
        page.click("draw")
        page.until(lambda: page.text("told") == "low_res is empty: choose a picture, best one of 8x8 pixels")
        page.choose("knob-low_res", broken)
        says = "low_res: broken.png is no picture that can be read: choose PNG or JPEG"
        page.until(lambda: page.text("told") == says)
        page.browser.find_element("css selector", "#knob-low_res button[aria-label='Remove Image']").click()
        page.choose("knob-low_res", tmp_path / "picture.png")
        page.until(lambda: len(page.captions("images")) == 16)
        expected = upsampler.generate(range(16), low_res=picture)
        np.testing.assert_array_equal(page.images("images"), expected)
        (tmp_path / "low_res.npz").write_bytes(page.saved("low_res.npz"))
        np.testing.assert_array_equal(sampled(page.line("command"), tmp_path)[0], expected)
        request = json.loads(page.saved("request-2.json"))
        assert page.line("curl").endswith("/v2/models/ddgan/infer -d @request-2.json")
        assert request["inputs"][0]["data"] == list(range(8, 16))
        assert request["inputs"][1] == {
            "name": "low_res",
            "shape": [8, 8, 8, 3],
            "datatype": "UINT8",
            "data": picture.ravel().tolist() * 8,
        }
        process.terminate()
        assert "Traceback" not in process.communicate(timeout=30)[1]


LONG = """
import sys
from ddgan_deploy.cli import play
from ddgan_deploy.play import source

source._QUICK_GFLOPS = -1.0
sys.exit(play.main())
"""


def test_what_takes_long_is_drawn_when_it_is_asked_for(page, toy, opened):
    with playing(toy, "--engine", "onnxruntime-portable", program=("-c", LONG)) as (_, url):
        page.open(url)
        page.moved("knob-gain", 2.5)
        page.type("seeds", "0-2", Keys.ENTER)
        page.until(lambda: page.captions("images"))
        assert page.text("told").startswith("3 images by ")
        page.moved("knob-gain", 3)
        page.tab("Step by step")
        page.until(lambda: page.shows("way"))
        page.click("way")
        page.until(lambda: page.captions("way-seen"))
        assert page.text("way-told").startswith("seed 0, gain 3: 2 steps; ")
        np.testing.assert_array_equal(page.images("way-seen")[-1], opened.generate([0], gain=3)[0])
        np.testing.assert_array_equal(page.images("images"), opened.generate(range(3), gain=2.5))


SLOW = """
import sys, time
from ddgan_deploy.cli import play
from ddgan_deploy.engines.onnxruntime.engine import OnnxRuntime

def generate(*_, **__):
    print("drawing", file=sys.stderr, flush=True)
    time.sleep(3600)

OnnxRuntime.generate = generate
sys.exit(play.main())
"""


def test_it_ends_while_it_draws(page, toy, tmp_path):
    options = {"program": ("-c", SLOW), "env": {**os.environ, "TMPDIR": str(tmp_path)}}
    with playing(toy, "--engine", "onnxruntime-portable", **options) as (process, url):
        page.open(url)
        assert "drawing" in {process.stderr.readline().strip() for _ in range(2)}
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
    assert not list(tmp_path.iterdir())
