"""The command line's options for building an engine."""

from __future__ import annotations

import argparse
from typing import get_args

from ddgan_deploy.cli.arguments import add_arguments, given
from ddgan_deploy.export.tensorrt.options import EngineChoice, EngineOptions


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """--engine and how to build it."""
    group = parser.add_argument_group("TensorRT engines")
    group.add_argument(
        "--engine",
        choices=get_args(EngineChoice),
        default="auto",
        help="auto: TensorRT, else TensorRT-RTX, where installed and an NVIDIA GPU is; else none. "
        "tensorrt-rtx builds on any machine, for others (default: auto)",
    )
    add_arguments(group, EngineOptions)


def engine_options(args: argparse.Namespace) -> EngineOptions:
    """What the command line says of engines.

    Raises:
        InputError: a value cannot be.
    """
    return EngineOptions(**given(args, EngineOptions))
