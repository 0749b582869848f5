"""Command-line arguments from the fields of option dataclasses, and those that several commands have.

A field becomes an argument where its metadata has a ``help``, in which ``{default}`` is the field's default:

    runs: int = field(default=10, metadata={"help": "of every row (default: {default})", "metavar": "N"})

Its name, type and default are those of the argument: a `bool` is a flag without a value, a `Literal` has choices, and
without a default it is required. ``flag`` in the metadata gives it another name, one without dashes a place; ``read``
is what makes the field's value of a text or a list, after all arguments were taken, and may raise an InputError. All
else in the metadata is for `argparse.ArgumentParser.add_argument`.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ddgan_deploy.errors import InputError


def add_arguments(parser: argparse._ActionsContainer, options: type, names: Collection[str] | None = None) -> None:
    """Adds the arguments of an option dataclass, or of its fields of these names, to a parser or a group of one."""
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        if "help" not in field.metadata or (names is not None and field.name not in names):
            continue
        keywords: dict[str, Any] = {**_kind(hints[field.name]), **field.metadata, "default": argparse.SUPPRESS}
        keywords["help"] = keywords["help"].replace("{default}", _shown(field.default))
        keywords.pop("read", None)
        keywords.pop("flag", None)
        keywords.pop("reading", None)
        flag = option_name(field)
        if not flag.startswith("-"):
            parser.add_argument(field.name, **keywords)
            continue
        if field.default is dataclasses.MISSING:
            keywords["required"] = True
        parser.add_argument(flag, dest=field.name, **keywords)


def given(args: argparse.Namespace, options: type) -> dict[str, Any]:
    """What the command line says of an option dataclass: field -> value; what it does not say is left out.

    Raises:
        InputError: a value cannot be read.
    """
    said = vars(args)
    read = {field.name: field.metadata.get("read", lambda value: value) for field in dataclasses.fields(options)}
    return {name: read[name](said[name]) for name in read if name in said}


def option_name(field: dataclasses.Field[Any]) -> str:
    """How a field is called on the command line, such as "--opt-level"."""
    return str(field.metadata.get("flag", f"--{field.name.replace('_', '-')}"))


def _kind(hint: Any) -> dict[str, Any]:
    """How an argument of a type is taken."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    if type(None) in get_args(hint) and len(kinds) == 1:
        hint = kinds[0]
    if hint is bool:
        return {"action": "store_true"}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    # Of all else the text is kept, for "type" or "read" in the metadata.
    return {"type": hint} if isinstance(hint, type) and hint is not str and get_origin(hint) is None else {}


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def steps_argument(text: str) -> int:
    """T from the command line; the range is checked by the schedule."""
    if re.fullmatch("[+-]?[0-9]{1,9}", text) is None:
        # Not an InputError: argparse would take that for a ValueError of its own.
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number: give one from 1 on")
    return int(text)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """What every command has that runs an artifact: --engine, --portable, --threads."""
    engine = parser.add_mutually_exclusive_group()
    engine.add_argument(
        "--engine",
        default="auto",
        metavar="NAME",
        help="tensorrt, tensorrt-rtx, onnxruntime, onnxruntime-bf16, openvino-f32, openvino-bf16 or "
        "onnxruntime-portable (default: auto, the fastest that runs here and keeps the artifact's tolerance)",
    )
    engine.add_argument(
        "--portable",
        action="store_const",
        dest="engine",
        const="onnxruntime-portable",
        help="leave the native library out: stock ONNX Runtime runs the file as it is",
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")


def add_then_argument(parser: argparse.ArgumentParser) -> None:
    """The artifacts behind the first one, --then."""
    parser.add_argument(
        "--then",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="an upsampler's artifact, which enlarges what DIR draws, from the same seeds; again for a third",
    )


def check_source(args: argparse.Namespace) -> None:
    """Of a command that draws from an artifact DIR, or asks a server, --url with its --timeout.

    Raises:
        InputError: neither is given, or both, or what belongs to the other.
    """
    if (args.artifact is None) == (args.url is None):
        raise InputError("give either DIR, a folder that ddgan-export wrote, or --url URL of a server")
    if args.url is not None and (args.engine != "auto" or args.threads is not None):
        raise InputError("the server chooses how it draws: leave out --engine, --portable and --threads with --url")
    if args.url is None and args.timeout is not None:
        raise InputError("--timeout is how long a server may take: give it with --url")
