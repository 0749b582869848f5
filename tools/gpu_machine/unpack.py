"""Takes pieces of a bundle into a home, as many as have come, and says what is there.

    gpu_machine.sh unpack DIR… [--home FOLDER] [--replace]

Standard library alone, Python 3.11 or newer: this is what runs before anything is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parent))
from home import Home
from native import NotBuilt, build, library
from pieces import SUFFIX, BundleError, Piece, open_piece

DONE, FAILED, WRONG_INPUT = 0, 1, 2
DEFAULT_HOME = "ddgan-gpu"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BundleError(f"{message}; see gpu_machine.sh unpack --help")


def find_pieces(places: Sequence[Path]) -> list[Path]:
    """All pieces in these folders and in folders below, or these files.

    Raises:
        BundleError: a place is not there, or has no piece.
    """
    found: list[Path] = []
    for place in places:
        if not place.exists():
            raise BundleError(f"{place} is not there: name a folder of pieces")
        here = sorted(place.rglob(f"*{SUFFIX}")) if place.is_dir() else [place]
        if not here:
            raise BundleError(f"{place} has no file *{SUFFIX}: name a folder of pieces")
        found.extend(here)
    return found


def open_all(paths: Sequence[Path]) -> tuple[list[Piece], list[str]]:
    """The pieces that can be read, and a line for each that cannot."""
    pieces, errors = [], []
    for path in paths:
        try:
            pieces.append(open_piece(path))
        except BundleError as error:
            errors.append(str(error))
        except OSError as error:
            errors.append(f"{path} cannot be read ({error.strerror}): bring it again")
    return pieces, errors


def take_all(home: Home, pieces: Sequence[Piece], replace: bool) -> list[str]:
    """Takes pieces into a home and installs what is whole.

    Args:
        replace: whether the home may become that of another bundle.

    Returns:
        A line for each piece and each item that was refused.

    Raises:
        BundleError: the pieces are of several bundles.
    """
    errors = []
    own = home.contents
    if pieces and own is not None and not replace:
        others = [piece for piece in pieces if piece.contents.identifier != own.identifier]
        errors = [f"{each.path} is of another bundle than {home.folder}: give --replace to take it" for each in others]
        pieces = [piece for piece in pieces if piece.contents.identifier == own.identifier]
    if others := [piece for piece in pieces if piece.contents.identifier != pieces[0].contents.identifier]:
        raise BundleError(f"{pieces[0].path} and {others[0].path} are of two bundles: give the pieces of one alone")
    if pieces:
        home.belong_to(pieces[0].contents)
    for piece in pieces:
        try:
            home.take(piece)
        except BundleError as error:
            errors.append(str(error))
    return errors + home.install()


def write_environment(home: Path) -> None:
    """Writes env.sh, which a shell reads before it runs anything of the home."""
    nvidia = importlib.util.find_spec("nvidia")
    places = list(nvidia.submodule_search_locations or ()) if nvidia else []
    libraries = sorted({str(path.parent) for place in places for path in Path(place).glob("**/lib/*.so.*")})
    lines = [
        "# Made by gpu_machine.sh unpack: the home's packages before all others.",
        f"export PYTHONPATH={shlex.quote(f'{home}/src:{home}/site')}${{PYTHONPATH:+:$PYTHONPATH}}",
        "unset PYTHONDONTWRITEBYTECODE DDGAN_ORT_LIBRARY",
    ]
    if library(home).is_file():
        lines.append(f"export DDGAN_ORT_LIBRARY={shlex.quote(str(library(home)))}")
    if libraries:
        # PyTorch finds them by itself, ONNX Runtime does not.
        lines.append(
            f"export LD_LIBRARY_PATH=${{LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}}{shlex.quote(':'.join(libraries))}"
        )
    partial = home / "scratch" / "env.sh"
    partial.write_text("\n".join(lines) + "\n")
    partial.replace(home / "env.sh")


def show(home: Home, native: str) -> None:
    """Prints what the machine and the home have, and what is still to come."""
    inventory = Path(__file__).with_name("inventory.py")
    script = '. "$0" && exec "$@"'
    looked_at = [str(inventory), str(home.folder), native]
    command = ["sh", "-c", script, str(home.folder / "env.sh"), sys.executable, *looked_at]
    sys.stdout.flush()
    # In a process of its own: it looks with the home's paths, and a package may crash when it is loaded.
    code = subprocess.run(command, stderr=subprocess.DEVNULL).returncode
    if code:
        print(f"the table ends here, the look at the next row ended with code {code}")
    missing = [item for item in (home.contents.items if home.contents else ()) if not home.is_done(item)]
    for item in missing:
        print(f"still to come: {item.name} {item.version}: {home.parts_there(item)} of {len(item.parts)} parts")
    if not missing:
        print("all pieces have come")


def unpack(argv: Sequence[str] | None = None) -> int:
    """The command; 0 also where pieces are yet to come, 1 where the native library could not be built."""
    parser = _Parser(
        prog="gpu_machine.sh unpack", description="Takes pieces of a bundle, in any order, again and again."
    )
    parser.add_argument("places", type=Path, nargs="+", metavar="DIR", help="a folder of pieces")
    default = os.environ.get("DDGAN_GPU_HOME") or DEFAULT_HOME
    parser.add_argument("--home", type=Path, default=Path(default), metavar="FOLDER", help=f"(default: {default})")
    parser.add_argument("--replace", action="store_true", help="of another bundle too: keeps what is the same in both")
    args = parser.parse_args(argv)
    pieces, errors = open_all(find_pieces(args.places))
    if not pieces:
        return _say(errors, WRONG_INPUT)
    home = Home(args.home)
    with home.alone():
        errors += take_all(home, pieces, args.replace)
        code = WRONG_INPUT if errors else DONE
        try:
            native = build(home.folder)
        except NotBuilt as error:
            errors.append(str(error))
            code, native = code or FAILED, "not built, see the error"
        write_environment(home.folder)
        show(home, native)
    return _say(errors, code)


def _say(errors: Sequence[str], code: int) -> int:
    sys.stdout.flush()
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """`unpack`, with its errors as one line each."""
    try:
        return unpack(argv)
    except BundleError as error:
        return _say([str(error)], WRONG_INPUT)
    except OSError as error:
        place = error.filename or "the home"
        return _say([f"{place} cannot be used ({error.strerror or error}): free space or mend it"], WRONG_INPUT)
    except KeyboardInterrupt:
        return _say(["interrupted: the same command goes on"], 130)


if __name__ == "__main__":
    sys.exit(main())
