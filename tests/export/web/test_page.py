"""The page in a real browser, with the real onnxruntime-web."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.cli import sample
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.export.web.package import BINARY, ENTRY, GLUE, read_package
from ddgan_deploy.export.web.write import write_web
from ddgan_deploy.families import registry
from ddgan_deploy.inputs import parse_seeds
from ddgan_deploy.kernels.philox_normal.philox import normal
from ddgan_deploy.kernels.philox_normal.spec import SPEC
from ddgan_deploy.parity.comparison import psnr
from tests.browser import find_browser, open_browser
from tests.conftest import golden_case
from tests.export.conftest import export_golden
from tests.export.web.npm import real_package
from tests.export.web.served import ISOLATED, PATIENCE_S, Page, served
from tests.families.toy import UPSAMPLER, write_checkpoint
from tests.kernels.cases import PHILOX_SEEDS, PHILOX_ULP

LAST = 2**64 - 1
SEEDS = f"0-2,{2**63},{LAST}"


@pytest.fixture(scope="module")
def runtime():
    find_browser()
    return read_package(real_package())


@pytest.fixture(scope="module")
def browser(runtime):
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def with_page(runtime, tmp_path_factory):
    """A copy of an artifact, with a page."""

    def made(artifact: Artifact) -> Path:
        folder = tmp_path_factory.mktemp("page") / "artifact"
        shutil.copytree(artifact.path, folder)
        write_web(Artifact(folder, artifact.manifest), runtime)
        return folder

    return made


@pytest.fixture(scope="module")
def digits(with_page, exports) -> Path:
    return with_page(exports.digits())


@pytest.fixture(scope="module")
def page(browser, digits):
    with served(digits / "web") as address:
        yield Page(browser, address)


@pytest.fixture(scope="module")
def upsampler(with_page, tmp_path_factory) -> Path:
    """With a knob of each kind."""
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.FAMILIES, "toy", "tests.families.toy")
        checkpoint = write_checkpoint(folder / "toy.safetensors", UPSAMPLER)
        return with_page(export(ExportOptions(checkpoint, out=folder / "out", engine="none", verify=False)).artifact)


def sampled(folder: Path, seeds: str, *more: str) -> dict[int, np.ndarray]:
    """What ddgan-sample draws with stock ONNX Runtime, [H, W, C] a seed."""
    npz = folder.parent / "sampled.npz"
    assert sample.main([str(folder), "--seeds", seeds, "--npz", str(npz), "--portable", "--overwrite", *more]) == 0
    with np.load(npz) as arrays:
        return dict(zip(arrays["seeds"].tolist(), arrays["images"], strict=True))


def assert_same(shown: dict[int, np.ndarray], expected: dict[int, np.ndarray], levels: int = 1) -> None:
    """As the gates' "seed to pixels" of an fp32 artifact: a rounding may tip a pixel to the next level."""
    assert list(shown) == list(expected)
    for seed, image in expected.items():
        gray = image.shape[-1] == 1
        rgb = np.repeat(image, 3, axis=-1) if gray else image
        assert np.abs(shown[seed][..., :3].astype(int) - rgb).max() <= levels
        assert (shown[seed][..., 3] == 255).all()


def test_pixels_are_those_of_ddgan_sample(page, digits):
    assert_same(page.draw(SEEDS), sampled(digits, SEEDS))
    assert re.fullmatch(r"5 of 5 images, .* each\.", page.status) and page.error == ""


def test_it_is_told_what_it_draws(page):
    assert page.browser.find_element(By.ID, "title").text == "digits.pth: 16 × 16, 4 steps, fp32"


def test_a_png_of_each(page, tmp_path):
    page.browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    image = page.draw("7")[7]
    page.browser.find_element(By.CSS_SELECTOR, "figure button").click()
    WebDriverWait(page.browser, PATIENCE_S).until(lambda _: (tmp_path / "7.png").is_file())
    with Image.open(tmp_path / "7.png") as saved:
        assert np.array_equal(np.asarray(saved.convert("RGBA")), image)


@pytest.mark.parametrize(
    "seeds", ["", "a", "1;2", "3-1", "-1", "1.5", str(LAST + 1), f"0-{LAST + 1}", "5,,6", "9" * 61]
)
def test_wrong_seeds_are_refused_as_by_the_command_line(page, seeds):
    page.draw("1")
    shown = page.draw(seeds)
    with pytest.raises(InputError) as caught:
        parse_seeds(seeds)
    assert page.error == str(caught.value)
    # What was there stays.
    assert list(shown) == [1]
    assert list(page.draw("2")) == [2] and page.error == ""


def test_more_seeds_than_a_page_has_room_for(page):
    page.draw("0-1000")
    assert page.error == "seeds '0-1000' are over 1000: draw them in several runs"


def test_it_stops_when_it_is_told_to(page):
    page.type("seeds", "0-999")
    page.click("draw")
    page.wait_for_images(1)
    page.click("stop")
    page.wait_until_done()
    assert 1 <= page.count < 1000
    assert page.status.startswith(f"{page.count} of 1000 images")


def test_every_knob(browser, upsampler, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    np.savez(tmp_path / "picture.npz", low_res=picture)
    low_res = ("--low-res", str(tmp_path / "picture.npz"))
    with served(upsampler / "web") as address:
        page = Page(browser, address)
        page.draw("3")
        needed = "choose a picture of 8 × 8 pixels, none of them transparent"
        assert page.error == f"low_res must be given: {needed}"
        usual = page.draw("3,4", low_res=tmp_path / "picture.png")
        assert_same(usual, sampled(upsampler, "3,4", *low_res))
        asked = page.draw("3,4", gain=2.5, label=7)
        assert_same(asked, sampled(upsampler, "3,4", *low_res, "--set", "gain=2.5", "--label", "7"))
        assert not np.array_equal(usual[3], asked[3])
        for name, value, right, says in (
            ("label", 10, 7, "label 10 is out of range: give a number in -1..9"),
            ("label", 1.5, 7, "label 1.5 is no integer: give a number in -1..9"),
            ("gain", -0.5, 2.5, "gain -0.5 is out of range: give a number in 0..10"),
        ):
            page.draw("3", **{name: value})
            assert page.error == says
            page.type(name, str(right))
        Image.new("RGB", (9, 8)).save(tmp_path / "wide.png")
        page.draw("3", low_res=tmp_path / "wide.png")
        assert page.error == f"wide.png is 9 × 8: {needed}"
        Image.new("RGBA", (8, 8), (9, 9, 9, 128)).save(tmp_path / "glass.png")
        page.draw("3", low_res=tmp_path / "glass.png")
        assert page.error == f"glass.png is transparent in places: {needed}"
        page.draw("3", low_res=tmp_path / "picture.npz")
        assert page.error == f"picture.npz is no picture that this browser reads: {needed}"


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_in_fewer_bits(browser, with_page, exports, precision):
    """As between any two engines: at least 40 dB."""
    folder = with_page(exports.golden(golden_case("no_fir_t2"), precision))
    with served(folder / "web") as address:
        shown = Page(browser, address).draw(SEEDS)
    expected = sampled(folder, SEEDS)
    assert list(shown) == list(expected)
    values = [np.stack(list(images.values())) / 127.5 - 1 for images in (shown, expected)]
    assert psnr(values[0][..., :3].astype(np.float32), values[1].astype(np.float32)) >= 40


def test_one_loop(browser, runtime, tmp_path):
    golden = golden_case("no_fir_t2")
    artifact = export_golden(golden, tmp_path, loop="always", verify=False).artifact
    write_web(artifact, runtime)
    with served(artifact.path / "web") as address:
        assert_same(Page(browser, address).draw("0,1"), sampled(artifact.path, "0,1"))


def test_with_threads(browser, digits):
    with served(digits / "web", ISOLATED) as address:
        page = Page(browser, address)
        count = page.browser.execute_script("return crossOriginIsolated && navigator.hardwareConcurrency")
        threads = 2 if count == 2 else min(4, -(-count // 2))
        assert page.status.endswith(", to draw in one thread." if threads == 1 else f", to draw in {threads} threads.")
        assert_same(page.draw(SEEDS), sampled(digits, SEEDS))


def test_files_that_were_changed(browser, digits, tmp_path):
    folder = Path(shutil.copytree(digits / "web", tmp_path / "web"))
    weights = bytearray((folder / "weights.bin").read_bytes())
    weights[1000] ^= 1
    (folder / "weights.bin").write_bytes(weights)
    says = "{} is missing, or not as it was exported: serve the folder as --web wrote it"
    with served(folder) as address:
        page = Page(browser, address)
        assert page.error == says.format("weights.bin") and page.status == "Nothing can be drawn."
        (folder / "ddgan.onnx").unlink()
        assert Page(browser, address).error == says.format("ddgan.onnx")
        (folder / "sampler.json").write_text("<!doctype html>")
        assert (
            Page(browser, address).error == "sampler.json is not as it was exported: serve the folder as --web wrote it"
        )
        (folder / "sampler.json").unlink()
        assert Page(browser, address).error.startswith("sampler.json cannot be loaded (404)")


RUNTIME = [f"onnxruntime-web/{name}" for name in (ENTRY, GLUE, BINARY)]


@pytest.mark.parametrize("name", RUNTIME)
def test_a_runtime_that_was_changed(browser, digits, tmp_path, name):
    folder = Path(shutil.copytree(digits / "web", tmp_path / "web"))
    content = bytearray((folder / name).read_bytes())
    # Of the binary data, of the scripts a comment.
    content[-100:] = content[-100:-1] + bytes([content[-1] ^ 1]) if name.endswith(".wasm") else content[-100:] + b"//"
    (folder / name).write_bytes(content)
    with served(folder) as address:
        page = Page(browser, address)
        assert page.error == f"{name} is missing, or not as it was exported: serve the folder as --web wrote it"


def test_an_older_runtime_in_the_browser_s_cache(browser, digits, runtime, tmp_path):
    artifact = Artifact(Path(shutil.copytree(digits, tmp_path / "artifact")), read_artifact(digits).manifest)
    with served(artifact.path / "web", {"Cache-Control": "max-age=3600"}) as address:
        older = b"throw new Error('older');"
        for day, (entry, says) in enumerate(((older, "Uncaught Error: older"), (runtime.files[ENTRY], ""))):
            shutil.rmtree(artifact.path / "web")
            write_web(artifact, dataclasses.replace(runtime, files={**runtime.files, ENTRY: entry}))
            # A server tells a browser when a file was changed to the second.
            for path in (artifact.path / "web").rglob("*"):
                os.utime(path, (day * 86400, day * 86400))
            assert Page(browser, address).error == says


@pytest.mark.parametrize("what", ["missing", "text", "policy"])
def test_a_worker_that_cannot_start(browser, digits, tmp_path, what):
    folder = Path(shutil.copytree(digits / "web", tmp_path / "web"))
    if what == "missing":
        (folder / "worker.js").unlink()
    types = {"worker.js": "text/plain"} if what == "text" else {}
    with served(
        folder, {"Content-Security-Policy": "default-src 'self'"} if what == "policy" else {}, types
    ) as address:
        assert Page(browser, address).error.startswith("worker.js cannot be started: it is missing, is not handed out")


def test_from_a_disk_it_says_what_it_needs(browser, digits):
    browser.get((digits / "web" / "index.html").as_uri())
    assert "python -m http.server" in browser.find_element(By.ID, "status").text


def test_scripts_that_a_server_hands_out_as_text(browser, digits):
    with served(digits / "web", types={".js": "text/plain"}) as address:
        browser.get(address)
        assert "is not handed out as JavaScript" in browser.find_element(By.ID, "status").text


def test_a_drawing_that_fails(browser, digits, tmp_path):
    folder = Path(shutil.copytree(digits / "web", tmp_path / "web"))
    worker = (folder / "worker.js").read_text()
    failing = 'if (seed === 1n) throw new Error("no memory"); const { image }'
    (folder / "worker.js").write_text(worker.replace("const { image }", failing))
    with served(folder) as address:
        page = Page(browser, address)
        assert list(page.draw("0-2")) == [0]
        assert page.error == "onnxruntime-web: no memory" and page.status.startswith("1 of 3 images")
        assert list(page.draw("2")) == [2] and page.error == ""


def test_what_a_screen_reader_says(page):
    page.draw("7")
    tree = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = {(node["role"]["value"], node["name"]["value"]) for node in tree if "name" in node}
    assert {("textbox", "Seeds"), ("button", "Draw"), ("button", "Save 7.png")} <= named
    assert "Image of seed 7" in {name for _, name in named}


def test_a_large_image_in_a_small_window(page):
    size = {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": True}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    script = """
    const done = arguments[0];
    import("./images.js").then(({ addImage }) => {
      const parent = document.getElementById("images");
      parent.replaceChildren();
      addImage(parent, 0n, new Uint8Array(1024 * 512), [1, 512, 1024], "1 s");
      const { width, height } = parent.querySelector("canvas").getBoundingClientRect();
      done([document.documentElement.scrollWidth, width / height]);
    });
    """
    try:
        assert page.browser.execute_async_script(script) == [320, 2]
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_noise(browser, digits, tmp_path):
    """The integers of Philox are exact, as in every form of the op; logarithm and sine are the browser's."""
    folder = Path(shutil.copytree(digits / "web", tmp_path / "web"))
    model = SPEC.model([(TensorProto.INT64, 2)], stream=1, shape=(3, 32, 32))
    (folder / "noise.onnx").write_bytes(model.SerializeToString())
    script = """
    const [seeds, done] = arguments;
    import("./onnxruntime-web/ort.wasm.min.js").then(async (ort) => {
      const here = (name) => new URL(`onnxruntime-web/${name}`, location).href;
      ort.env.wasm.wasmPaths = { mjs: here("ort-wasm-simd-threaded.js"), wasm: here("ort-wasm-simd-threaded.wasm") };
      ort.env.wasm.numThreads = 1;
      const session = await ort.InferenceSession.create(here("../noise.onnx"));
      const words = BigInt64Array.from(seeds.map(BigInt));
      const { noise } = await session.run({ seed: new ort.Tensor("int64", words, [words.length, 1]) });
      done(Array.from(new Int32Array(noise.data.buffer, noise.data.byteOffset, noise.data.length)));
    }).catch((problem) => done(String(problem)));
    """
    with served(folder) as address:
        browser.set_script_timeout(PATIENCE_S)
        browser.get(address)
        found = browser.execute_async_script(script, [str(seed) for seed in PHILOX_SEEDS])
    assert isinstance(found, list), found
    expected = normal(PHILOX_SEEDS, 1, (3, 32, 32))
    noise = np.array(found, np.int32).view(np.float32).reshape(expected.shape)
    np.testing.assert_array_max_ulp(noise, expected, maxulp=PHILOX_ULP)


def test_nothing_breaks_the_policy(browser, digits):
    """Whatever a Content-Security-Policy stops is told in the browser's log."""
    with served(digits / "web") as address:
        browser.get_log("browser")
        Page(browser, address).draw("0")
        assert "Content Security Policy" not in json.dumps(browser.get_log("browser"))
        # It does hold: nothing goes to another host, nor to another port of this one.
        asked = browser.execute_async_script(
            "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), () => done('stopped'))"
        )
        assert asked == "stopped"
        assert "Content Security Policy" in json.dumps(browser.get_log("browser"))


def test_the_worker_keeps_the_policy_too(browser, digits, tmp_path):
    folder = Path(shutil.copytree(digits / "web", tmp_path / "web"))
    with (folder / "worker.js").open("a") as script:
        script.write('fetch("http://127.0.0.1:9/").catch(() => {});\n')
    with served(folder) as address:
        browser.get_log("browser")
        page = Page(browser, address)
        assert page.error == ""
        assert "Content Security Policy" in json.dumps(browser.get_log("browser"))


def test_no_other_host_was_asked(runtime, digits, tmp_path):
    """By the browser's own log, in which its worker stands too."""
    log = tmp_path / "net.json"
    with open_browser([f"--log-net-log={log}"]) as browser, served(digits / "web") as address:
        Page(browser, address).draw("0-3")
    told = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # The rest the browser asks for itself, or for its own first page.
    own = ("not an origin", "chrome://newtab")
    asked = {each["url"] for each in told if "initiator" in each and each["initiator"] not in own}
    assert {f"{address}ddgan.onnx", f"{address}onnxruntime-web/ort-wasm-simd-threaded.wasm"} <= asked
    assert all(url.startswith(address) for url in asked), asked
