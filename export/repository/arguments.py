"""The command line's options for the model repository."""

from __future__ import annotations

import argparse
import dataclasses
from typing import get_args

from ddgan_deploy.artifact.serving import CPU_ENGINES, DEFAULT_MAX_BATCH, Accelerator, Backend, Serving


def add_serving_options(parser: argparse.ArgumentParser) -> None:
    """--backend and what goes with it."""
    group = parser.add_argument_group("model repository for Triton Inference Server")
    group.add_argument(
        "--backend",
        choices=get_args(Backend),
        help="what runs the model in the server (default: auto, tensorrt where its engine was built, else python)",
    )
    group.add_argument(
        "--max-batch",
        type=int,
        metavar="N",
        help=f"most images a run (default: {DEFAULT_MAX_BATCH}, or all that the TensorRT engine takes)",
    )
    group.add_argument(
        "--accelerator",
        choices=get_args(Accelerator),
        help="of the onnxruntime backend (default: auto, CUDA where the server finds a GPU)",
    )
    group.add_argument(
        "--cpu-engine",
        choices=("auto", *CPU_ENGINES),
        help="what runs the artifact where no GPU does, in the python backend as in every command "
        "(default: auto, the fastest that is installed and keeps the artifact's tolerance)",
    )


def serving_options(args: argparse.Namespace, old: Serving) -> Serving:
    """What the command line says of the model repository; what it does not say stays as it was."""
    given = {
        field.name: value for field in dataclasses.fields(Serving) if (value := getattr(args, field.name)) is not None
    }
    if "backend" in given:
        # It was chosen for the other backend.
        old = dataclasses.replace(old, accelerator="auto")
    return dataclasses.replace(old, **given)
