"""ddgan-play as a process of its own, and what a browser shows of it."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from ddgan_deploy.cli import sample

T = TypeVar("T")
_PATIENCE = 30
_PIXELS = """
return Array.from(document.querySelectorAll(arguments[0] + ' img'), image => {
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext('2d');
    context.drawImage(image, 0, 0);
    return [canvas.height, canvas.width, ...context.getImageData(0, 0, canvas.width, canvas.height).data];
});
"""


@contextlib.contextmanager
def playing(
    *arguments: object, program: tuple[str, str] = ("-m", "ddgan_deploy.cli.play"), **options: Any
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command on a free port, and the url that it prints; options are of the process."""
    command = [sys.executable, *program, *map(str, arguments), "--port", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes, **options) as process:
        try:
            said = process.stdout.readline()
            assert said.startswith("ready: http://127.0.0.1:"), process.stderr.read()
            yield process, said.split()[1]
        finally:
            process.terminate()
            process.communicate(timeout=60)


def sampled(line: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The images that a line of ddgan-sample draws, and its grid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        name, *arguments = shlex.split(line)
        assert name == "ddgan-sample"
        assert sample.main([*arguments, "--npz", "images.npz", "--overwrite"]) == 0
        return np.load("images.npz")["images"], np.asarray(Image.open("grid.png"))


@dataclass
class Page:
    """The page, opened in a browser."""

    browser: webdriver.Chrome

    def open(self, url: str) -> None:
        # Else it remembers no more than 250.
        keep = {"source": "performance.setResourceTimingBufferSize(100000)"}
        self.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", keep)
        self.browser.get(url)
        for name in ("seeds", "draw"):
            self.until(lambda name=name: self.browser.find_element(By.ID, name))

    def until(self, work: Callable[[], T]) -> T:
        """What the work gives, as soon as that is something."""
        return WebDriverWait(self.browser, _PATIENCE, 0.05, [WebDriverException]).until(lambda _: work())

    def type(self, name: str, text: str, end: str = "") -> None:
        """Text into a field, in place of what is there."""
        field = self.browser.find_element(By.CSS_SELECTOR, f"#{name} :is(textarea, input)")
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text + end)

    def choose(self, name: str, file: Path) -> None:
        """A file for a place that takes one, as soon as it is empty."""
        place = f"#{name} input[type=file]"
        self.until(lambda: self.browser.find_element(By.CSS_SELECTOR, place)).send_keys(str(file))

    def click(self, name: str) -> None:
        self.browser.find_element(By.ID, name).click()

    def tab(self, name: str) -> None:
        self.browser.find_element(By.XPATH, f"//button[@role='tab'][normalize-space()='{name}']").click()

    def shows(self, name: str) -> bool:
        """Whether a part is on the screen, as it is not on a tab that is not chosen."""
        return self.browser.find_element(By.ID, name).is_displayed()

    def size(self, width: int, height: int, mobile: bool = False) -> None:
        """Of the window, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def height(self) -> int:
        """Of all that is on the page, in CSS pixels."""
        main = self.browser.find_element(By.CSS_SELECTOR, ".gradio-container main")
        return int(main.location["y"] + main.size["height"])

    def text(self, name: str) -> str:
        return self.browser.find_element(By.ID, name).text

    def line(self, name: str) -> str:
        """The text of a field."""
        return self.browser.find_element(By.CSS_SELECTOR, f"#{name} :is(textarea, input)").get_property("value")

    def captions(self, name: str) -> list[str]:
        """The texts in place of images."""
        images = self.browser.find_elements(By.CSS_SELECTOR, f"#{name} img")
        return [image.get_attribute("alt") for image in images]

    def images(self, name: str) -> np.ndarray:
        """The pixels that are shown, uint8 [N, H, W, 3]."""
        found = self.browser.execute_script(_PIXELS, f"#{name}")
        pixels = [np.array(values, np.uint8).reshape(height, width, 4) for height, width, *values in found]
        return np.stack(pixels)[..., :3]

    def moved(self, name: str, value: float) -> None:
        """Moves a slider, as a hand does."""
        slider = self.browser.find_element(By.CSS_SELECTOR, f"#{name} input[type=range]")
        script = """
            const [slider, value] = arguments;
            Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(slider, value);
            slider.dispatchEvent(new Event('input', {bubbles: true}));
        """
        self.browser.execute_script(script, slider, value)

    def saved(self, name: str) -> bytes:
        """What a link saves."""
        script = """
            const [selector, done] = arguments;
            fetch(document.querySelector(selector).href).then(answer => answer.arrayBuffer())
                .then(content => done(Array.from(new Uint8Array(content))));
        """
        return bytes(self.browser.execute_async_script(script, f"#files a[download='{name}']"))

    def elsewhere(self) -> list[str]:
        """What the page has asked of other hosts than its own, with or without success."""
        script = (
            "return performance.getEntriesByType('resource').map(entry => new URL(entry.name))"
            ".filter(url => url.origin !== location.origin && url.protocol.startsWith('http')).map(String)"
        )
        return self.browser.execute_script(script)
