"""The command line's options for the model repository."""

from __future__ import annotations

import argparse
import dataclasses

from ddgan_deploy.artifact.serving import Serving
from ddgan_deploy.cli.arguments import add_arguments, given


def add_serving_options(parser: argparse.ArgumentParser) -> None:
    """--backend and what goes with it."""
    add_arguments(parser.add_argument_group("model repository for Triton Inference Server"), Serving)


def serving_options(args: argparse.Namespace, old: Serving) -> Serving:
    """What the command line says of the model repository; what it does not say stays as it was."""
    said = given(args, Serving)
    if "backend" in said:
        # It was chosen for the other backend.
        old = dataclasses.replace(old, accelerator="auto")
    return dataclasses.replace(old, **said)
