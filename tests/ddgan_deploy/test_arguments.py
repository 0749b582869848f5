"""Fields of an option dataclass as arguments of a command line, and back."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import pytest

from ddgan_deploy.bench.options import BenchOptions
from ddgan_deploy.cli.arguments import add_arguments, given, option_name
from ddgan_deploy.command import Parser
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.tensorrt.options import EngineOptions


def _even(text: str) -> int:
    if int(text) % 2:
        raise InputError(f"--size {text} is odd: give an even one")
    return int(text)


@dataclass(frozen=True)
class Options:
    places: tuple[Path, ...] = field(
        metadata={"help": "where", "flag": "places", "nargs": "+", "type": Path, "read": tuple}
    )
    name: str = field(metadata={"help": "must be given"})
    count: int | None = field(default=None, metadata={"help": "how many", "metavar": "N"})
    rate: float = field(default=30.0, metadata={"help": "a second (default: {default})"})
    kind: Literal["one", "other"] = field(default="one", metadata={"help": "which (default: {default})"})
    sure: bool = field(default=False, metadata={"help": "do it"})
    even_size: int = field(default=2, metadata={"help": "of it", "flag": "--size", "type": str, "read": _even})
    hidden: int = 5


def parsed(*argv: str) -> Options:
    parser = Parser(prog="it")
    add_arguments(parser, Options)
    return Options(**given(parser.parse_args(argv), Options))


def test_what_is_left_out_has_the_fields_default():
    assert parsed("a", "b", "--name", "x") == Options((Path("a"), Path("b")), "x")


def test_every_kind_is_read():
    line = "a --name x --count 3 --rate 0.5 --kind other --sure --size 4"
    assert parsed(*line.split()) == Options((Path("a"),), "x", 3, 0.5, "other", True, 4)


def test_only_what_was_said_is_given():
    parser = Parser(prog="it")
    add_arguments(parser, Options)
    args = parser.parse_args(["a", "--name", "x", "--count", "0"])
    assert given(args, Options) == {"places": (Path("a"),), "name": "x", "count": 0}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a", "the following arguments are required: --name; see it --help"),
        ("--name x", "the following arguments are required: places; see it --help"),
        ("a --name x --count many", "argument --count: invalid int value: 'many'; see it --help"),
        (
            "a --name x --kind third",
            "argument --kind: invalid choice: 'third' (choose from 'one', 'other'); see it --help",
        ),
        ("a --name x --hidden 3", "unrecognized arguments: --hidden 3; see it --help"),
        ("a --name x --size 3", "--size 3 is odd: give an even one"),
    ],
)
def test_wrong_input_is_one_line(line, message):
    with pytest.raises(InputError) as refused:
        parsed(*line.split())
    # From Python 3.12 on choices have no quotes.
    assert str(refused.value).replace("'", "") == message.replace("'", "")


def test_the_help_tells_defaults():
    parser = Parser(prog="it")
    add_arguments(parser.add_argument_group("a group"), Options)
    text = parser.format_help()
    assert "a group:" in text and "--rate RATE" in text and "a second (default: 30)" in text
    assert "{one,other}" in text and "(default: one)" in text
    assert "SUPPRESS" not in text and "hidden" not in text


def test_the_name_on_the_command_line():
    assert [option_name(each) for each in fields(Options)][-3:] == ["--sure", "--size", "--hidden"]


@pytest.mark.parametrize("options", [BenchOptions, EngineOptions])
def test_sizes_that_are_lists_are_shown_as_they_are_given(options):
    parser = Parser(prog="it")
    add_arguments(parser, options)
    assert {"default: 1,4,16,64", "default: 1:8:32"} & set(parser.format_help().replace(")", "(").split("("))
