"""In a headless Chromium: an image of the page of `ddgan-export --web` beside ONNX Runtime, and what ddgan-play adds.

    python benchmarks/browser.py DIR [--images 16] [--runs 7] [--json FILE]

DIR is an artifact that draws without knobs, exported with `--web`. All take turns: the page in one thread, and in as
many as the browser gives one that is isolated; the portable engine in one thread and on all cores, each drawing images
one by one; and the page of ddgan-play, from a click on Draw until its last image has been decoded, beside the time that
it says its engine took for them. Figures are the medians of all images, or of all clicks, and the least of them.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddgan_deploy.engines import open_artifact
from ddgan_deploy.processor import cpu_model

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser import open_browser
from tests.ddgan_deploy.play.browsing import Page, playing
from tests.export.web.served import ISOLATED, NOTHING, served

OPEN = """
const done = arguments[0];
Promise.all([import("./engine.js"), fetch("sampler.json").then((answer) => answer.json())])
  .then(([{ openEngine }, sampler]) => openEngine(sampler, () => {}))
  .then((engine) => { window.engine = engine; done(engine.milliseconds); }, (error) => done(error.message));
"""
DRAW = """
const [count, done] = arguments;
(async () => {
  const spent = [];
  for (let seed = 0n; seed < BigInt(count); seed += 1n) spent.push((await window.engine.draw(seed, {})).milliseconds);
  return spent;
})().then(done, (error) => done(error.message));
"""
CLICK = """
const [first, count, done] = arguments;
const start = performance.now();
document.getElementById("draw").click();
const watch = () => {
  const images = [...document.querySelectorAll("#images img")];
  const caption = document.querySelector("#images figcaption")?.textContent.trim();
  if (images.length !== count || caption !== `seed ${first}`) { setTimeout(watch, 1); return; }
  Promise.all(images.map((image) => image.decode())).then(() => done(performance.now() - start));
};
watch();
"""
Run = Callable[[], list[float]]
"""Draws; gives milliseconds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("artifact", type=Path, metavar="DIR")
    parser.add_argument("--images", type=int, default=16, help="of a run (default: 16)")
    parser.add_argument("--runs", type=int, default=7, help="(default: 7)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        runs = {
            "--web, one thread": _web(stack, args.artifact, args.images, NOTHING),
            "--web, threads": _web(stack, args.artifact, args.images, ISOLATED),
            "onnxruntime-portable, one thread": _engine(stack, args.artifact, args.images, 1),
            "onnxruntime-portable, all cores": _engine(stack, args.artifact, args.images, None),
        }
        play = _play(stack, args.artifact, args.images)
        spent: dict[str, list[float]] = {
            name: [] for name in (*runs, "ddgan-play, click to shown", "of it, its engine")
        }
        for run in runs.values():
            # Not counted: it warms up.
            run()
        play()
        for _ in range(args.runs):
            for name, run in runs.items():
                spent[name] += run()
            for name, each in zip(list(spent)[-2:], play(), strict=True):
                spent[name].append(each)
    rows = {name: {"median_ms": statistics.median(all_), "least_ms": min(all_)} for name, all_ in spent.items()}
    print(f"{cpu_model()}; {args.images} images a run or click, {args.runs} of each\n")
    print("| | median ms | least ms |\n| --- | ---: | ---: |")
    for name, row in rows.items():
        print(f"| {name} | {row['median_ms']:.1f} | {row['least_ms']:.1f} |")
    if args.json:
        args.json.write_text(json.dumps({"cpu": cpu_model(), "images": args.images, "rows": rows}, indent=2) + "\n")


def _web(stack: contextlib.ExitStack, artifact: Path, images: int, headers: Any) -> Run:
    """Of each image."""
    address = stack.enter_context(served(artifact / "web", headers))
    browser = stack.enter_context(open_browser())
    browser.set_script_timeout(600)
    browser.get(address)
    opened = _told(browser.execute_async_script(OPEN))
    print(f"opened in {opened:.0f} ms{' with threads' if headers else ''}")
    return lambda: list(_told(browser.execute_async_script(DRAW, images)))


def _engine(stack: contextlib.ExitStack, artifact: Path, images: int, threads: int | None) -> Run:
    """Of each image."""
    engine = stack.enter_context(open_artifact(artifact, "onnxruntime-portable", threads))

    def run() -> list[float]:
        spent = []
        for seed in range(images):
            start = time.perf_counter()
            engine.generate([seed])
            spent.append(1000 * (time.perf_counter() - start))
        return spent

    return run


def _play(stack: contextlib.ExitStack, artifact: Path, images: int) -> Run:
    """From a click until all is shown, and what the page says of its engine."""
    _, url = stack.enter_context(playing(artifact))
    page = Page(stack.enter_context(open_browser()))
    page.browser.set_script_timeout(600)
    page.open(url)
    firsts = itertools.count(images, images)

    def run() -> list[float]:
        first = next(firsts)
        page.type("seeds", f"{first}-{first + images - 1}")
        shown = page.browser.execute_async_script(CLICK, first, images)
        return [shown, _engine_ms(page.text("told"))]

    return run


def _engine_ms(text: str) -> float:
    """Out of "16 images by onnxruntime in 20 ms, ..."."""
    found = re.search(r" in ([\d.,]+) (ms|s)\b", text)
    if found is None:
        raise SystemExit(f"the page says: {text}")
    return float(found[1].replace(",", "")) * (1000 if found[2] == "s" else 1)


def _told(answer: Any) -> Any:
    if isinstance(answer, str):
        raise SystemExit(f"the page says: {answer}")
    return answer


if __name__ == "__main__":
    main()
