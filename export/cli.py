"""ddgan-export: from a trained checkpoint to a verified artifact."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ddgan_deploy.artifact.serving import DEFAULT_SERVING
from ddgan_deploy.cli.arguments import steps_argument
from ddgan_deploy.cli.family_flags import add_family_flags, asked_of_family
from ddgan_deploy.command import Parser, run
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.export.repository.arguments import add_serving_options, serving_options
from ddgan_deploy.export.tensorrt.arguments import add_engine_options, engine_options
from ddgan_deploy.export.tensorrt.options import EngineOptions
from ddgan_deploy.names import quoted
from ddgan_deploy.screen import StepList, say

if TYPE_CHECKING:
    from ddgan_deploy.export.proof import ExportResult

_AS_THEY_ARE = "takes artifacts as they are"
_ONLY_EXPORT = ("out", "overwrite", "loop")
"""Options that mean nothing where an existing artifact is changed."""
_OF_WEIGHTS = ("ckpt", "steps", "demo", "fp16", "int8", "config", "weights", "no_verify")
_NOT_REBUILD = (*_OF_WEIGHTS, *_ONLY_EXPORT)


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> None:
    args = _parser().parse_args(argv)
    if args.cascade:
        _cascade(args)
        return
    work = _rebuild(args) if args.rebuild else _refit(args) if args.refit else _export(args)
    # Here PyTorch is imported, which takes seconds.
    from ddgan_deploy.export.proof import FailedGate

    try:
        result = work(StepList())
    except FailedGate as failure:
        _print(failure.result)
        raise
    _print(result)


def _print(result: ExportResult) -> None:
    from ddgan_deploy.cli.tables import print_export

    print_export(result.artifact, result.proven, result.engines, str(result.choice))


def _export(args: argparse.Namespace) -> Callable[[StepList], ExportResult]:
    checkpoint, steps, config = _source(args)
    from ddgan_deploy.export.options import ExportOptions

    options = ExportOptions(
        checkpoint=checkpoint,
        steps=steps,
        fp16=args.fp16,
        config=config,
        out=args.out,
        weights=args.weights or "ema",
        overwrite=args.overwrite,
        verify=not args.no_verify,
        engine=args.engine,
        engine_options=engine_options(args),
        serving=serving_options(args, DEFAULT_SERVING),
        int8=args.int8,
        loop=args.loop or "auto",
        tune=args.tune,
        web=args.web,
        asked=asked_of_family(args),
    )
    options.check()

    def work(progress: StepList) -> ExportResult:
        from ddgan_deploy.export.pipeline import export

        return export(options, progress)

    return work


def _rebuild(args: argparse.Namespace) -> Callable[[StepList], ExportResult]:
    _refuse(args, "rebuild", (*_NOT_REBUILD, "refit", *asked_of_family(args)))
    options = engine_options(args)
    options.check()

    def work(progress: StepList) -> ExportResult:
        from ddgan_deploy.export.rebuild import rebuild

        serving = functools.partial(serving_options, args)
        return rebuild(args.rebuild, args.engine, options, progress, serving, args.tune, args.web)

    return work


def _refit(args: argparse.Namespace) -> Callable[[StepList], ExportResult]:
    _refuse(args, "refit", _ONLY_EXPORT)
    if (args.engine, engine_options(args)) != ("auto", EngineOptions()):
        raise InputError(
            "--refit keeps the engines' options as they are: leave out --engine and the options that go with it"
        )
    if serving_options(args, DEFAULT_SERVING) != DEFAULT_SERVING:
        raise InputError("--refit keeps the model repository's options as they are: change them with --rebuild DIR")
    if args.tune:
        raise InputError(
            "--refit measures again what was measured for DIR: leave out --tune, or give it with --rebuild DIR"
        )
    if args.web:
        raise InputError("--refit makes the page again that DIR has: leave out --web, or give it with --rebuild DIR")
    checkpoint, _, config = _source(args)

    def work(progress: StepList) -> ExportResult:
        from ddgan_deploy.export.refit import RefitOptions, refit

        options = RefitOptions(
            args.refit,
            checkpoint,
            config,
            args.weights,
            args.steps,
            args.fp16,
            not args.no_verify,
            args.int8,
            asked_of_family(args),
        )
        return refit(options, progress)

    return work


def _cascade(args: argparse.Namespace) -> None:
    _refuse(args, "cascade", (*_OF_WEIGHTS, "loop", "web", "rebuild", "refit", *asked_of_family(args)), _AS_THEY_ARE)
    built = (args.engine, engine_options(args), serving_options(args, DEFAULT_SERVING))
    if built != ("auto", EngineOptions(), DEFAULT_SERVING):
        raise InputError(
            f"--cascade {_AS_THEY_ARE}: choose engines and the backend of each with --rebuild DIR, and leave them out"
        )
    if args.out is None:
        raise InputError("--cascade needs a folder for the model repository: give --out DIR")
    from ddgan_deploy.export.cascade import cascade

    cascade(args.cascade, args.out, args.overwrite, StepList())
    say(f"next: ddgan-serve --repository {quoted(args.out)}")


def _refuse(args: argparse.Namespace, mode: str, names: Sequence[str], why: str = "changes DIR itself") -> None:
    """Options that do not go with a mode.

    Raises:
        InputError: one of them is given.
    """
    for name in names:
        if getattr(args, name) is not None and getattr(args, name) is not False:
            raise InputError(f"--{name.replace('_', '-')} does not go with --{mode}, which {why}: leave it out")


def _source(args: argparse.Namespace) -> tuple[Path, int | None, Path | None]:
    """Checkpoint, steps and config from the command line, or the bundled ones.

    Raises:
        InputError: neither or both are given.
    """
    if args.demo:
        if args.ckpt is not None:
            raise InputError("--demo brings its own checkpoint: leave out --ckpt")
        from ddgan_deploy.data import digits_checkpoint, digits_config

        return digits_checkpoint(), args.steps, args.config or digits_config()
    if args.ckpt is None:
        raise InputError("--ckpt FILE is missing; give --demo for the bundled checkpoint, or see ddgan-export --help")
    return args.ckpt, args.steps, args.config


def _parser() -> Parser:
    parser = Parser(
        prog="ddgan-export",
        description="Turns a trained generator (Denoising Diffusion GAN, StyleGAN2, FastGAN, ADM or consistency model) "
        "into a verified artifact.",
    )
    parser.add_argument(
        "--ckpt",
        type=Path,
        metavar="FILE",
        help="netG_<epoch>.pth, content.pth, .safetensors, network-snapshot-<kimg>.pkl of a StyleGAN2 or FastGAN, or "
        "ema_<rate>_<step>.pt of an ADM or a consistency model",
    )
    parser.add_argument(
        "--steps",
        type=steps_argument,
        metavar="T",
        help="denoising steps the network was trained for, 1..64; may be left out where a content.pth or --config "
        "tells it, and for a StyleGAN2 or FastGAN, which have one; for an ADM how many of the trained steps are kept, "
        "2 or more; for a consistency model 1, the default, or as many as ts of --config makes",
    )
    parser.add_argument("--demo", action="store_true", help="the bundled checkpoint of handwritten digits")
    parser.add_argument("--fp16", action="store_true", help="half precision where it holds")
    parser.add_argument("--int8", action="store_true", help="8-bit integers in the layers where they hold")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the training script's arguments, for what the weights do not tell: JSON, or the run's content.pth",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="artifact folder (default: <ckpt stem>-T<T>[-fp16|-int8])"
    )
    parser.add_argument(
        "--loop",
        choices=get_args(LoopChoice),
        help="the steps as one ONNX Loop instead of T copies of the network: it opens fast at a large T; auto, the "
        "default: where copies would have over 5,000 nodes",
    )
    parser.add_argument("--weights", choices=("ema", "raw"), help="which weights of a content.pth (default: ema)")
    parser.add_argument(
        "--tune",
        action="store_true",
        help="measure the CPU's engines: the artifact is then opened here by the fastest that holds the gates",
    )
    parser.add_argument(
        "--web",
        type=Path,
        metavar="PACKAGE",
        help="in DIR/web also static files that draw in a browser alone, with onnxruntime-web out of PACKAGE: "
        "node_modules/onnxruntime-web, or the .tgz that `npm pack onnxruntime-web` leaves",
    )
    parser.add_argument("--no-verify", action="store_true", help="skip the parity gates; the manifest says so")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing artifact")
    existing = parser.add_argument_group("existing artifacts")
    existing.add_argument(
        "--rebuild",
        type=Path,
        metavar="DIR",
        help="build the engines of DIR for this machine and make its model repository; with --engine none the latter "
        "alone, and with --web its page; needs no checkpoint",
    )
    existing.add_argument(
        "--refit", type=Path, metavar="DIR", help="put the weights of --ckpt, of the same architecture, into DIR"
    )
    existing.add_argument(
        "--cascade",
        type=Path,
        nargs="+",
        action="extend",
        metavar="DIR",
        help="a model repository, in --out, that draws with the first artifact and enlarges with the others in their "
        "order",
    )
    add_family_flags(parser)
    add_engine_options(parser)
    add_serving_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
