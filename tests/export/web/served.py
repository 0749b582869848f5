"""A page on a loopback address, opened in a browser."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE_S = 300
NOTHING: Mapping[str, str] = {}
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
"""Headers by which a browser lets a page have threads."""
_PIXELS = """
return [...document.querySelectorAll("figure")].map((figure) => {
  const canvas = figure.querySelector("canvas");
  const { width, height } = canvas;
  const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  return [figure.dataset.seed, width, height, Array.from(data)];
});
"""


@contextmanager
def served(folder: Path, headers: Mapping[str, str] = NOTHING, types: Mapping[str, str] = NOTHING) -> Iterator[str]:
    """The address of a static server, as `python -m http.server` is one.

    Args:
        folder: that it hands out.
        headers: beside its own.
        types: of files, by how their names end.
    """

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            for name, value in headers.items():
                self.send_header(name, value)
            super().end_headers()

        def guess_type(self, path: str | os.PathLike[str]) -> str:
            given = (kind for end, kind in types.items() if os.fspath(path).endswith(end))
            return next(given, None) or super().guess_type(path)

        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class Page:
    """What a person sees and does.

    Args:
        browser: that opens it.
        address: of the page; the constructor returns when it is ready, or has said why not.
    """

    def __init__(self, browser: webdriver.Chrome, address: str) -> None:
        self.browser = browser
        browser.get(address)
        self._wait(lambda: self.error or self.status.startswith("Opened in"))

    @property
    def status(self) -> str:
        return self._text("status")

    @property
    def error(self) -> str:
        return self._text("error")

    def type(self, name: str, text: str) -> None:
        """Into the field of the seeds, or of a knob; of a knob that is a picture, the path of a file."""
        found = self.browser.find_element(*((By.ID, name) if name == "seeds" else (By.NAME, name)))
        if found.get_attribute("type") != "file":
            found.clear()
        found.send_keys(text)

    def click(self, name: str) -> None:
        self.browser.find_element(By.ID, name).click()

    def draw(self, seeds: str, **knobs: object) -> dict[int, np.ndarray]:
        """What is on the canvases when all are drawn, or when the page has said why not: uint8 [H, W, 4] a seed."""
        self.type("seeds", seeds)
        for name, value in knobs.items():
            self.type(name, str(value))
        self.click("draw")
        # The button is back when the page is done.
        self.wait_until_done()
        return self.images()

    def images(self) -> dict[int, np.ndarray]:
        found = self.browser.execute_script(_PIXELS)
        return {int(seed): np.array(data, np.uint8).reshape(height, width, 4) for seed, width, height, data in found}

    @property
    def count(self) -> int:
        """Images that are there."""
        return len(self.browser.find_elements(By.TAG_NAME, "figure"))

    def wait_for_images(self, count: int) -> None:
        self._wait(lambda: self.count >= count)

    def wait_until_done(self) -> None:
        self._wait(lambda: self.browser.find_element(By.ID, "draw").is_enabled())

    def _text(self, name: str) -> str:
        return self.browser.find_element(By.ID, name).text

    def _wait(self, done: object) -> None:
        WebDriverWait(self.browser, PATIENCE_S, 0.05).until(lambda _: done())  # type: ignore[operator]
