"""ddgan-export: from a trained checkpoint to a verified artifact."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.cli.common import Parser, StepList, run, steps_argument
from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    from ddgan_deploy.export.options import ExportOptions


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> None:
    options = _options(argv)
    # Before PyTorch is imported, which takes seconds.
    options.check()
    from ddgan_deploy.cli.tables import print_export
    from ddgan_deploy.export.pipeline import FailedGate, export

    try:
        result = export(options, StepList())
    except FailedGate as failure:
        print_export(failure.result.artifact)
        raise
    print_export(result.artifact)


def _options(argv: Sequence[str] | None) -> ExportOptions:
    args = _parser().parse_args(argv)
    checkpoint, steps = _source(args.demo, args.ckpt, args.steps)
    from ddgan_deploy.export.options import ExportOptions

    return ExportOptions(
        checkpoint=checkpoint,
        steps=steps,
        fp16=args.fp16,
        config=args.config,
        out=args.out,
        weights=args.weights,
        overwrite=args.overwrite,
        verify=not args.no_verify,
        engine=args.engine,
    )


def _source(demo: bool, checkpoint: Path | None, steps: int | None) -> tuple[Path, int]:
    """Checkpoint and steps from the command line, or the bundled ones.

    Raises:
        InputError: neither or both are given.
    """
    if demo:
        if checkpoint is not None:
            raise InputError("--demo brings its own checkpoint: leave out --ckpt")
        from ddgan_deploy.data import DIGITS_STEPS, digits_checkpoint

        return digits_checkpoint(), steps if steps is not None else DIGITS_STEPS
    for flag, value in (("--ckpt FILE", checkpoint), ("--steps T", steps)):
        if value is None:
            raise InputError(f"{flag} is missing; give --demo for the bundled checkpoint, or see ddgan-export --help")
    assert checkpoint is not None and steps is not None
    return checkpoint, steps


def _parser() -> Parser:
    parser = Parser(
        prog="ddgan-export",
        description="Turns a trained Denoising Diffusion GAN into a verified ONNX artifact.",
    )
    parser.add_argument("--ckpt", type=Path, metavar="FILE", help="netG_<epoch>.pth, content.pth or .safetensors")
    parser.add_argument(
        "--steps", type=steps_argument, metavar="T", help="denoising steps the network was trained for, 1..64"
    )
    parser.add_argument("--demo", action="store_true", help="the bundled checkpoint of handwritten digits")
    parser.add_argument("--fp16", action="store_true", help="half precision where it holds")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE.json",
        help="the training script's arguments, for what the weights do not tell",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="artifact folder (default: <ckpt stem>-T<T>[-fp16])")
    parser.add_argument(
        "--weights",
        choices=("ema", "raw"),
        default="ema",
        help="which weights of a content.pth (default: ema)",
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "none", "tensorrt", "tensorrt-rtx"),
        default="auto",
        help="TensorRT engine to build besides",
    )
    parser.add_argument("--no-verify", action="store_true", help="skip the parity gates; the manifest says so")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing artifact")
    return parser


if __name__ == "__main__":
    sys.exit(main())
