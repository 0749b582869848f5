"""What only one family's models are asked on a command line: a group of arguments for each family that has some."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ddgan_deploy.cli.arguments import add_arguments, given
from ddgan_deploy.families.registry import flags


def add_family_flags(parser: argparse.ArgumentParser, reading: bool = False) -> None:
    """Adds the flags of all families; what two of them are asked alike stands with the first.

    Args:
        reading: of those only what concerns the reading of a checkpoint.
    """
    there: set[str] = set()
    for title, options in flags():
        fields = dataclasses.fields(options)
        names = {field.name for field in fields if field.metadata.get("reading") or not reading} - there
        there |= names
        if names:
            add_arguments(parser.add_argument_group(f"of {title}"), options, names)


def asked_of_family(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line asks of whichever family the checkpoint is; see `families.base.Given.asked`.

    Raises:
        InputError: a value cannot be read.
    """
    return {name: value for _, options in flags() for name, value in given(args, options).items()}
