"""What the page shows, as HTML: images, lines, links."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ddgan_deploy.images import enlargement, grid, png

STYLE = """
.pictures { display: flex; flex-wrap: wrap; gap: 8px; }
.pictures figure { margin: 0; max-width: 100%; }
.pictures img { display: block; margin: 0; max-width: 100%; image-rendering: pixelated; border-radius: 0; }
.pictures figcaption { font-size: 12px; line-height: 1.3; overflow-wrap: anywhere; }
.problem { border-left: 4px solid #dc2626; padding: 4px 10px; overflow-wrap: anywhere; }
.shell { display: grid; grid-template-columns: 1fr auto; gap: 4px 12px; align-items: center; }
.shell textarea { grid-column: 1 / 3; width: 100%; resize: vertical; padding: 8px; border-radius: 6px;
    font-family: var(--font-mono); font-size: 13px; line-height: 1.4; overflow-wrap: anywhere;
    color: var(--body-text-color); background: var(--input-background-fill); border: 1px solid var(--neutral-500); }
.shell button { padding: 2px 10px; font-size: 13px; font-weight: normal; border-radius: 6px; cursor: pointer;
    color: var(--body-text-color); border: 1px solid var(--neutral-500); }
.files a { display: inline-block; margin-right: 16px; text-decoration: underline; }
"""
# Not navigator.clipboard, which is there only for pages of this machine or over TLS.
_COPY = (
    "this.parentElement.querySelector('textarea').select(); "
    "if (document.execCommand('copy')) this.textContent = 'Copied'"
)
_WIDTH, _MOST_ROWS = 80, 6
"""Of a field, in characters and lines, so that most of what is in it is seen."""


def heading(title: str, text: str) -> str:
    """The page's name, and a line below."""
    return f"<h1>{html.escape(title)}</h1><p>{html.escape(text)}</p>"


def figures(images: Iterable[npt.NDArray[np.uint8]], captions: Iterable[str]) -> str:
    """Images [H, W, C], each a PNG file with its own pixels; small ones are shown enlarged by a whole factor."""
    return f'<div class="pictures">{"".join(map(_figure, images, captions))}</div>'


def line(text: str) -> str:
    """What is told when work is done."""
    return f'<p role="status">{html.escape(text)}</p>'


def problem(error: object) -> str:
    """What is told when it cannot be done."""
    return f'<p role="alert" class="problem">{html.escape(str(error))}</p>'


def shell(label: str, text: str) -> str:
    """What goes into a shell, with a button that copies it."""
    rows = min(_MOST_ROWS, sum(1 + len(each) // _WIDTH for each in text.split("\n")))
    name = html.escape(label, quote=True)
    return (
        f'<div class="shell"><span>{name}</span><button type="button" aria-label="Copy: {name}" '
        f'onclick="{html.escape(_COPY, quote=True)}">Copy</button>'
        f'<textarea readonly spellcheck="false" rows="{rows}" aria-label="{name}">{html.escape(text)}</textarea></div>'
    )


def links(folder: str, names: Sequence[str]) -> str:
    """Links that save files."""
    found = (f'<a href="{folder}/{name}" download="{name}">Download {name}</a>' for name in names)
    return f'<p class="files">{"".join(found)}</p>'


def _figure(image: npt.NDArray[np.uint8], caption: str) -> str:
    file = base64.b64encode(png(grid(image[None], scale=1), optimize=False)).decode("ascii")
    height, width, _ = image.shape
    side = enlargement(height, width) * width
    name = html.escape(caption, quote=True)
    # Small ones fit on any screen; what does not is made smaller in proportion.
    shown = f"width: {side}px; aspect-ratio: {width} / {height}"
    return (
        f'<figure><img src="data:image/png;base64,{file}" alt="{name}" style="{shown}">'
        f'<figcaption style="width: {side}px; max-width: 100%">{name}</figcaption></figure>'
    )
