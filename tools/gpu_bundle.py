"""Makes a bundle of all that a GPU machine without a network lacks, in pieces of a given size.

    python tools/gpu_bundle.py [--python-version 3.12] [--pieces-mb 48] [--out DIR] [--extra NAME==VERSION ...]

Our sources as they lie here, ONNX Runtime's headers, and wheels for the machine's Python; beside the pieces
``gpu_machine.sh``, which unpacks them there (docs/gpu-machine.md).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "gpu_machine"))
from archives import make_archive
from gpu_wheels import LARGE, SMALL, download, extra_wheels, pins, unmet
from packaging.requirements import Requirement
from pieces import BundleError, Contents, Source, write_pieces

from ddgan_deploy import __version__
from ddgan_deploy.command import Parser, run
from ddgan_deploy.errors import InputError
from ddgan_deploy.files import folder_written_whole, sha256

ROOT = Path(__file__).resolve().parent.parent
MARKER = "SHA256SUMS"
"""Of every file of a bundle; a folder that has it and gpu_machine.sh is a bundle."""
TOOLS = (
    "gpu_machine.sh",
    *(f"gpu_machine/{name}.py" for name in ("unpack", "home", "native", "inventory", "archives", "pieces")),
)
"""What goes beside the pieces; below tools/."""
_SUMS = 10_000
"""Bytes that are kept free for `MARKER`."""
_BELOW = ("onnxruntime", "onnxruntime/core/session", ".")


def our_files(root: Path, leave_out: Path) -> tuple[dict[str, Path], int]:
    """What git would keep of a working tree, as it lies there: committed, changed and new.

    Args:
        leave_out: a folder that is not taken.

    Returns:
        Path below the root -> file or link, and how many of them are not as they were committed.

    Raises:
        InputError: there is no working tree of git.
    """
    names = _git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate").split("\0")
    files = {name: root / name for name in names if name and not (root / name).is_relative_to(leave_out)}
    # What was deleted is still in git's list, and a repository within is a folder.
    files = {name: path for name, path in files.items() if path.is_symlink() or path.is_file()}
    changed = [line for line in _git(root, "status", "--porcelain", "-z", "-uall").split("\0") if line]
    return files, len(changed)


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError("git is not on PATH: install it, a bundle takes the files that it knows") from None
    if done.returncode:
        raise InputError(f"{root} is no clone of the repository: a bundle takes the files that git knows")
    return done.stdout


def headers() -> tuple[dict[str, Path], str]:
    """ONNX Runtime's headers, from where CMakeLists.txt would take them.

    Returns:
        Path below a folder that CMakeLists.txt looks into -> file, and their version, such as "1.21".

    Raises:
        InputError: there are none.
    """
    named = os.environ.get("ONNXRUNTIME_ROOT")
    prefixes = [*([Path(named)] if named else []), Path("/usr"), Path("/usr/local"), ROOT / "build/onnxruntime-headers"]
    for folder in (prefix / "include" / below for prefix in prefixes for below in _BELOW):
        if (folder / "onnxruntime_cxx_api.h").is_file():
            files = {f"include/onnxruntime/{path.relative_to(folder)}": path for path in folder.rglob("*.h")}
            text = (folder / "onnxruntime_c_api.h").read_text(encoding="utf-8", errors="replace")
            version = re.search(r"^#define ORT_API_VERSION (\d+)", text, re.M)
            return files, f"1.{version[1]}" if version else "unknown"
    raise InputError("ONNX Runtime's headers are not here: run tools/fetch_onnxruntime_headers.sh, with a network")


def make_bundle(
    out: Path,
    *,
    root: Path = ROOT,
    python: str = "3.12",
    limit: int = 48_000_000,
    extra: Sequence[str] = (),
    without: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> Contents:
    """Makes a bundle: it appears whole or not at all.

    Args:
        out: a folder; where it exists, a bundle.
        root: the working tree.
        python: the version of the machine's Python.
        limit: bytes that a piece and the tools beside it may take together.
        extra: more packages, as ``name==version``.
        without: packages to leave out.
        flags: more arguments for pip.

    Raises:
        InputError: something cannot be had, or the folder is something else.
    """
    if (out.exists() or out.is_symlink()) and not _is_bundle(out):
        raise InputError(f"{out} exists and is not a bundle: choose another --out")
    added = extra_wheels(extra)
    if unknown := sorted({*without} - {*SMALL, *LARGE}):
        raise InputError(f"{unknown[0]} is not in a bundle anyway: --without takes {', '.join([*SMALL, *LARGE])}")
    names = list(dict.fromkeys([*(name for name in (*SMALL, *LARGE) if name not in without), *added]))
    versions = pins(root / "constraints.txt")
    tools = sum((ROOT / "tools" / name).stat().st_size for name in TOOLS) + _SUMS
    with folder_written_whole(out) as folder, tempfile.TemporaryDirectory(prefix="gpu-bundle-") as scratch:
        sources = _own_archives(root, out.absolute(), Path(scratch))
        fetched = Path(scratch, "wheels")
        wheels = download(names, python, fetched, pinned=versions, exact=added, flags=flags) if names else []
        if not without and (missing := unmet(_own_requirements(root), wheels, python)):
            raise InputError(f"{missing[0]}, which is neither in the bundle nor on such a machine: add it by --extra")
        large = next((name for name in names if name in LARGE), "")
        sources += [Source(wheel.name, wheel.version, "site", wheel.path, wheel.name == large) for wheel in wheels]
        try:
            contents = write_pieces(sources, folder, limit - tools)
        except BundleError as error:
            raise InputError(str(error)) from None
        for name in TOOLS:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / "tools" / name, folder / name)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        sums = "".join(f"{sha256(path)}  {path.relative_to(folder)}\n" for path in files)
        (folder / MARKER).write_text(sums, encoding="utf-8")
    return contents


def _own_requirements(root: Path) -> list[tuple[str, Requirement]]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [(project["name"], Requirement(line)) for line in project["dependencies"]]


def _own_archives(root: Path, out: Path, scratch: Path) -> list[Source]:
    files, changed = our_files(root, out)
    commit = _git(root, "rev-parse", "--short=12", "HEAD").strip()
    own = f"{__version__}+{commit}" + (f".and.{changed}.changes" if changed else "")
    found, api = headers()
    made = []
    for name, version, into, content in (
        ("sources", own, "src", files),
        ("onnxruntime-headers", api, "src/build/onnxruntime-headers", found),
    ):
        make_archive(content, scratch / f"{name}.zip")
        made.append(Source(name, version, into, scratch / f"{name}.zip"))
    return made


def _is_bundle(folder: Path) -> bool:
    return (folder / MARKER).is_file() and (folder / TOOLS[0]).is_file()


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = Parser(prog="gpu_bundle.py", description="Makes a bundle for a GPU machine without a network.")
    parser.add_argument("--python-version", default="3.12", metavar="X.Y", help="the machine's (default: 3.12)")
    parser.add_argument("--pieces-mb", type=float, default=48, metavar="N", help="10^6 bytes a piece (default: 48)")
    parser.add_argument(
        "--out", type=Path, default=Path("dist/gpu-bundle"), metavar="DIR", help="(default: %(default)s)"
    )
    parser.add_argument("--extra", nargs="*", default=[], metavar="NAME==VERSION", help="more packages")
    parser.add_argument("--without", nargs="*", default=[], metavar="NAME", help="packages to leave out")
    parser.add_argument("--pip-flags", default="", metavar="FLAGS", help="for pip, in one argument")
    args = parser.parse_args(argv)
    if not re.fullmatch(r"3\.(1[1-9]|[2-9]\d)", args.python_version):
        raise InputError(f"--python-version {args.python_version} is not 3.11 or newer, written as 3.12")
    if not args.pieces_mb >= 0.1:
        raise InputError(f"--pieces-mb {args.pieces_mb:g} is too small: give 0.1 or more")
    contents = make_bundle(
        args.out,
        python=args.python_version,
        limit=int(args.pieces_mb * 1e6),
        extra=args.extra,
        without=args.without,
        flags=args.pip_flags.split(),
    )
    for item in contents.items:
        pieces = sorted({part.piece for part in item.parts})
        shown = f"piece {pieces[0]}" if len(pieces) == 1 else f"pieces {pieces[0]}-{pieces[-1]}"
        print(f"{item.name} {item.version}: {item.size / 1e6:.1f} MB, {shown}")
    print(f"{args.out}: {contents.pieces} pieces of at most {args.pieces_mb:g} MB with gpu_machine.sh beside them")


if __name__ == "__main__":
    sys.exit(run(main))
