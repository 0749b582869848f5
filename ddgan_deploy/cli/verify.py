"""ddgan-verify: the parity gates of an artifact again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ddgan_deploy.cli.arguments import add_engine_arguments
from ddgan_deploy.cli.family_flags import add_family_flags, asked_of_family
from ddgan_deploy.command import Parser, run
from ddgan_deploy.errors import GateError, InputError
from ddgan_deploy.screen import StepList, note, say


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> None:
    args = _parser().parse_args(argv)
    if args.threads is not None and args.threads < 1:
        raise InputError("--threads must be 1 or more")
    from ddgan_deploy.artifact.reading import read_damaged
    from ddgan_deploy.cli.tables import assumed_facts, print_parity
    from ddgan_deploy.data import digits_checkpoint, digits_config
    from ddgan_deploy.engines import open_engine
    from ddgan_deploy.inputs import parse_seeds
    from ddgan_deploy.parity.verify import verify
    from ddgan_deploy.same_network import load_same

    seeds = parse_seeds(args.seeds) if args.seeds else None
    progress = StepList()
    with progress("Open the artifact"):
        artifact, damaged = read_damaged(args.artifact)
        engine = open_engine(artifact, args.engine, args.threads)
    with progress("Read the checkpoint"):
        path, config = (digits_checkpoint(), args.config or digits_config()) if args.demo else (args.ckpt, args.config)
        other = "give the checkpoint it was exported from"
        checkpoint = load_same(artifact, path, config, args.weights, other, asked_of_family(args))
    with engine, progress(f"Verify {engine.name} against PyTorch"):
        result = verify(checkpoint, engine, seeds).result
    print_parity(result)
    for name in damaged:
        note(f"{artifact.path / name} is not as it was exported")
    if checkpoint.sha256 != artifact.manifest.checkpoint.sha256:
        note(f"note: {path} is not the file that was exported (another SHA-256)")
    for name, text in assumed_facts(artifact.manifest):
        note(f"note: {name}: {text}")
    if result.failures:
        raise GateError(result.failures[0].failure())
    if damaged:
        raise GateError(f"{artifact.path / damaged[0]} is missing or changed since the export: export again")
    say(f"all {len(result.gates)} gates passed on {engine.name}")


def _parser() -> Parser:
    parser = Parser(prog="ddgan-verify", description="Checks that an artifact computes what its checkpoint does.")
    parser.add_argument("artifact", type=Path, metavar="DIR", help="folder that ddgan-export wrote")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ckpt", type=Path, metavar="FILE", help="the checkpoint it was exported from")
    source.add_argument("--demo", action="store_true", help="the bundled checkpoint, as in ddgan-export --demo")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the training script's arguments, as at the export")
    parser.add_argument(
        "--weights", choices=("ema", "raw"), help="which weights of a content.pth (default: as at the export)"
    )
    parser.add_argument("--seeds", help="such as 0-15 (default: 0-3, fewer for large images)")
    add_family_flags(parser, reading=True)
    add_engine_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
