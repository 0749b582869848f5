"""The pictures of docs/play.md, of an artifact: python tools/play_images.py DIR docs/images"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.browser import open_browser
from tests.ddgan_deploy.play.browsing import Page, playing

WIDTH = 900


def main(artifact: Path, folder: Path) -> None:
    """Writes ``play-images.png``, ``play-steps.png`` and ``play-between.png``."""
    with open_browser() as browser, playing(artifact) as (_, url):
        page = Page(browser)
        page.size(WIDTH, 600)
        page.open(url)
        page.until(lambda: page.captions("images"))
        # The first run loads the engine.
        told = page.text("told")
        page.click("draw")
        page.until(lambda: page.text("told") not in (told, ""))
        _save(page, folder / "play-images.png")
        page.tab("Step by step")
        page.until(lambda: page.shows("way"))
        page.click("way")
        page.until(lambda: page.captions("way-seen"))
        _save(page, folder / "play-steps.png")
        page.tab("Between two seeds")
        page.until(lambda: page.shows("walk"))
        page.click("walk")
        page.until(lambda: page.captions("walk-images"))
        _save(page, folder / "play-between.png")


def _save(page: Page, path: Path) -> None:
    """The whole page, as high as it is."""
    page.size(WIDTH, page.height())
    # Gradio fades in what is new.
    time.sleep(1)
    page.browser.save_screenshot(str(path))
    page.size(WIDTH, 600)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
