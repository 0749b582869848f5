"""A headless Chromium, driven by Selenium."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FETCHED = Path(sys.prefix) / "share" / "ddgan-deploy" / "browser"
"""What tools/fetch_browser.py unpacked. It comes before what is on PATH, so that all machines test with the same."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell", "chromium-headless-shell")
DRIVER = "chromedriver"
FLAGS = (
    "--headless",
    # Root has no sandbox. Many machines allow none to others either, as containers and Ubuntu do, and here it would
    # guard against nothing: only our own pages are opened, from files and from loopback addresses.
    "--no-sandbox",
    "--disable-gpu",
    # Small in containers.
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    # Nothing of its own goes out.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # It asks for Google's hosts even so.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


def find_browser() -> tuple[str, str]:
    """The programs of a Chromium and of its driver, unpacked or on PATH.

    Where there is none the test is skipped, or fails where continuous integration runs.
    """
    fetched = FETCHED / "chrome-headless-shell", FETCHED / DRIVER
    if all(program.is_file() for program in fetched):
        return str(fetched[0]), str(fetched[1])
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    driver = shutil.which(DRIVER)
    if browser is None or driver is None:
        missing = "Chromium" if browser is None else DRIVER
        reason = f"there is no {missing}: run tools/fetch_browser.py, or apt-get install chromium chromium-driver"
        pytest.fail(reason) if "CI" in os.environ else pytest.skip(reason)
    return browser, driver


@contextmanager
def open_browser(flags: Sequence[str] = ()) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own, which ends with the block, whatever happens in it.

    Args:
        flags: of its command line besides.
    """
    browser, driver = find_browser()
    with tempfile.TemporaryDirectory(prefix="ddgan-browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        if browser.endswith("headless-shell"):
            # It opens no tab of its own, which the driver waits for unless it is told.
            options.set_capability("browserName", "chrome-headless-shell")
        for flag in (*FLAGS, f"--user-data-dir={profile}", *flags):
            options.add_argument(flag)
        # Its home as well: it keeps a list of certificates there.
        environment = {**os.environ, "HOME": profile, **_libraries_and_fonts(Path(driver).parent)}
        opened = webdriver.Chrome(options, Service(driver, env=environment))
        try:
            opened.set_page_load_timeout(300)
            yield opened
        finally:
            opened.quit()


def _libraries_and_fonts(folder: Path) -> dict[str, str]:
    """What the unpacked programs find theirs by; nothing for others."""
    if folder != FETCHED:
        return {}
    return {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_FILE": str(folder / "fonts" / "fonts.conf")}


def show(
    browser: webdriver.Chrome,
    page: Path,
    width: int = 1280,
    scale: float = 1.0,
    scripts: bool = True,
    **media: str,
) -> None:
    """Opens a file in a window of that many CSS pixels.

    Args:
        scale: pixels of the screen for one of CSS.
        scripts: whether the page may run any; what a test asks by `execute_script` runs in any case.
        media: features by name, as ``prefers_color_scheme="dark"`` or ``forced_colors="active"``.
    """
    features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
    size = {"width": width, "height": 844, "deviceScaleFactor": scale, "mobile": width < 600}
    _ask(browser, "Emulation.setEmulatedMedia", media="", features=features)
    _ask(browser, "Emulation.setDeviceMetricsOverride", **size)
    _ask(browser, "Emulation.setScriptExecutionDisabled", value=not scripts)
    browser.get(page.absolute().as_uri())


def _ask(browser: webdriver.Chrome, command: str, **parameters: Any) -> Any:
    return browser.execute_cdp_cmd(command, parameters)
