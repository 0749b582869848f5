"""Artifact -> a folder of static files that draws in a browser, whole in itself."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from pathlib import Path

from ddgan_deploy.artifact.copying import copy_others
from ddgan_deploy.artifact.manifest import SERVED, WEIGHTS, Artifact, Manifest
from ddgan_deploy.engines.onnxruntime.session import modernized
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.web.package import PACKAGE, Runtime
from ddgan_deploy.files import sha256
from ddgan_deploy.sampler import Knob

WEB = "web"
SAMPLER_JSON = "sampler.json"
_PAGE = Path(__file__).parent / "page"
_CHANNELS = (1, 3)
"""Grey and RGB."""
_MOST_BYTES = 1_500_000_000
"""Of weights: WebAssembly has 4 GB in all, and ONNX Runtime arranges many weights anew before it lets go of the old."""


def check_web(artifact: Artifact) -> None:
    """Refuses an artifact that no page can draw.

    Args:
        artifact: with its graphs and weights.

    Raises:
        InputError: its weights are too large, its images have an alpha channel, or the page has no control for a knob.
    """
    weights = (artifact.path / WEIGHTS).stat().st_size
    if weights > _MOST_BYTES:
        raise InputError(
            f"--web: {weights / 1e9:.1f} GB of weights are more than the {_MOST_BYTES / 1e9:.1f} GB that a browser can "
            "take: give --fp16, or leave --web out"
        )
    if artifact.manifest.sampler.image[0] not in _CHANNELS:
        raise InputError(
            "--web: images are RGBA, and a browser's canvas does not keep colours that are transparent: leave --web out"
        )
    for knob in artifact.manifest.sampler.knobs:
        if knob.shape != (1,) and not knob.is_image:
            raise InputError(
                f"--web: the page has no control for the knob {knob.name}, {knob.dtype} {list(knob.shape)}: "
                "leave --web out"
            )


def write_web(artifact: Artifact, runtime: Runtime) -> None:
    """Writes ``web/`` into an artifact's folder.

    Args:
        artifact: with its graphs and weights; see `check_web`.
        runtime: what the page draws with.
    """
    folder = artifact.path / WEB
    shutil.copytree(_PAGE, folder)
    (folder / PACKAGE).mkdir()
    for name, content in runtime.files.items():
        (folder / PACKAGE / name).write_bytes(content)
    _write_model(artifact, folder)


def renew_web(artifact: Artifact, old: Path) -> None:
    """Writes ``web/`` with the page and the runtime that another artifact has, if it has any.

    Args:
        artifact: with its graphs and weights.
        old: the other artifact's folder.
    """
    if has_web(old):
        folder = artifact.path / WEB
        folder.mkdir()
        copy_others(old / WEB, folder, lambda name: name in (SERVED, WEIGHTS, SAMPLER_JSON))
        _write_model(artifact, folder)


def has_web(folder: Path) -> bool:
    """Whether an artifact's folder has a page of ours."""
    return (folder / WEB / SAMPLER_JSON).is_file()


def check_place(folder: Path) -> None:
    """Refuses to replace what is not ours.

    Raises:
        InputError: the artifact's folder has something else by the page's name.
    """
    if (folder / WEB).exists() and not has_web(folder):
        raise InputError(f"{folder / WEB} was not written by --web: move it elsewhere")


def _write_model(artifact: Artifact, folder: Path) -> None:
    """The graph, its weights, and what the page is told of both."""
    graph = _graph(artifact)
    (folder / SERVED).write_bytes(graph)
    files = {SERVED: (len(graph), hashlib.sha256(graph).hexdigest())}
    if not artifact.manifest.looped:
        shutil.copyfile(artifact.path / WEIGHTS, folder / WEIGHTS)
        listed = artifact.manifest.files[WEIGHTS]
        files[WEIGHTS] = (listed.bytes, listed.sha256)
    told = _told(artifact.manifest) | {
        "files": {name: {"bytes": size, "integrity": _integrity(digest)} for name, (size, digest) in files.items()},
        "runtime": {f"{PACKAGE}/{path.name}": _file(path) for path in sorted((folder / PACKAGE).glob("ort*"))},
    }
    (folder / SAMPLER_JSON).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _graph(artifact: Artifact) -> bytes:
    """The file that onnxruntime-web opens, with the weights in it where it would not find them beside it.

    Of an older artifact it has the ops of today, since older versions take its functions for each other.
    """
    path = artifact.path / SERVED
    if artifact.manifest.looped:
        import onnx

        # Files that it is given in memory do not reach the body of a Loop.
        return bytes(onnx.load(path).SerializeToString())
    graph = modernized(path)
    return graph if isinstance(graph, bytes) else graph.read_bytes()


def _told(manifest: Manifest) -> dict[str, object]:
    return {
        "name": manifest.checkpoint.file,
        "steps": manifest.steps,
        "precision": manifest.precision,
        "image": manifest.sampler.image,
        "knobs": [_knob(knob) for knob in manifest.sampler.knobs],
    }


def _knob(knob: Knob) -> dict[str, object]:
    fields = ("name", "dtype", "shape", "least", "most", "default", "help")
    return {name: getattr(knob, name) for name in fields} | {"drawn": knob.drawn is not None}


def _file(path: Path) -> dict[str, object]:
    return {"bytes": path.stat().st_size, "integrity": _integrity(sha256(path))}


def _integrity(digest: str) -> str:
    """A hexadecimal SHA-256 in the words of Subresource Integrity (W3C), by which a browser checks what it fetches."""
    return "sha256-" + base64.b64encode(bytes.fromhex(digest)).decode()
