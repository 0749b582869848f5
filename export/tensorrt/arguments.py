"""The command line's options for building an engine."""

from __future__ import annotations

import argparse
from typing import get_args

from ddgan_deploy.export.tensorrt.options import (
    DEFAULT_PROFILE,
    DEFAULT_TARGETS,
    TARGETS,
    EngineChoice,
    EngineOptions,
    KernelChoice,
    parse_batch,
    parse_target,
)


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
    group.add_argument(
        "--batch", metavar="MIN:OPT:MAX", default=str(DEFAULT_PROFILE), help="batch sizes (default: %(default)s)"
    )
    group.add_argument(
        "--target",
        nargs="+",
        metavar="SM",
        default=(),
        help=f"TensorRT-RTX: compute capabilities such as 8.6 or 86, of {', '.join(TARGETS)} "
        f"(default: {', '.join(DEFAULT_TARGETS)})",
    )
    group.add_argument(
        "--kernels",
        choices=get_args(KernelChoice),
        default="auto",
        help="TensorRT: fused, our kernels inside; portable, TensorRT's own; auto, the faster here (default: auto)",
    )
    group.add_argument("--workspace", type=int, metavar="MIB", help="most scratch memory of the builder's kernels")
    group.add_argument("--opt-level", type=int, metavar="0..5", help="the builder's optimization level")
    group.add_argument(
        "--version-compatible", action="store_true", help="TensorRT: engines that later versions run too"
    )
    group.add_argument(
        "--hardware-compatible",
        nargs="?",
        const="ampere_plus",
        default="none",
        choices=("ampere_plus", "same_compute_capability"),
        help="TensorRT: engines that other GPUs run too (ampere_plus where no value is given)",
    )
    group.add_argument("--refittable", action="store_true", help="TensorRT: engines that --refit can give new weights")


def engine_options(args: argparse.Namespace) -> EngineOptions:
    """What the command line says of engines.

    Raises:
        InputError: a value cannot be.
    """
    return EngineOptions(
        profile=parse_batch(args.batch),
        targets=tuple(dict.fromkeys(parse_target(target) for text in args.target for target in text.split(","))),
        kernels=args.kernels,
        workspace=args.workspace,
        opt_level=args.opt_level,
        version_compatible=args.version_compatible,
        hardware_compatibility=args.hardware_compatible,
        refittable=args.refittable,
    )
