"""ddgan-bulk: as many images of an artifact as are wanted, in shards."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.cli.arguments import add_engine_arguments, add_then_argument
from ddgan_deploy.cli.knobs import add_knob_arguments, given_knobs
from ddgan_deploy.command import Parser, run
from ddgan_deploy.errors import InputError
from ddgan_deploy.screen import StepList, say

if TYPE_CHECKING:
    from ddgan_deploy.bulk.run import BulkOptions, Hire

_FORMATS = ("npz", "webdataset", "parquet", "png")


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> None:
    args = _parser().parse_args(argv)
    options = _options(args)
    from ddgan_deploy.bulk.run import bulk

    for path in bulk(options, _hire(args), StepList()).files:
        say(str(path))


def _hire(args: argparse.Namespace) -> Hire | None:
    """Who draws, where it is not this process."""
    if args.ray is None:
        if args.workers is not None or args.shared_out:
            raise InputError("--workers and --shared-out are for a cluster: give them with --ray")
        return None
    if args.workers is not None and args.workers < 1:
        raise InputError("--workers must be 1 or more")
    from ddgan_deploy.bulk.cluster import ClusterOptions, on_ray

    return on_ray(ClusterOptions(args.ray, args.workers, args.out if args.shared_out else None))


def _options(args: argparse.Namespace) -> BulkOptions:
    if args.batch < 1 or args.shard_size < 1 or (args.threads is not None and args.threads < 1):
        raise InputError("--batch, --shard-size and --threads must be 1 or more")
    if args.resume and args.overwrite:
        raise InputError("--resume goes on with what --overwrite would take away: give one of them")
    if args.keep_shards and args.format != "npz":
        raise InputError("--keep-shards is for npz, all other formats keep theirs: leave it out")
    from ddgan_deploy.bulk.plan import Plan, Source
    from ddgan_deploy.bulk.run import BulkOptions

    return BulkOptions(
        plan=Plan(args.seeds, given_knobs(args), args.format, args.shard_size, args.batch),
        source=Source((args.artifact, *args.then), args.engine, args.threads),
        out=args.out,
        resume=args.resume,
        overwrite=args.overwrite,
        keep_shards=args.keep_shards,
    )


def _parser() -> Parser:
    parser = Parser(
        prog="ddgan-bulk",
        description="Draws as many images of an artifact as are wanted, in shards that appear whole or not at all.",
    )
    parser.add_argument("artifact", type=Path, metavar="DIR", help="folder that ddgan-export wrote")
    add_then_argument(parser)
    parser.add_argument("--seeds", required=True, help="such as 0-49999")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="gets the shards, and bulk.json")
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        default="npz",
        help="npz: in the end one archive, arr_0 uint8 [N, H, W, C] and arr_1 the classes, as ADM's evaluators read "
        "it; webdataset: tar files; parquet: a row an image, as Hugging Face's datasets show it; png: folders of "
        "files (default: npz)",
    )
    parser.add_argument("--shard-size", type=int, default=1000, metavar="N", help="images a shard (default: 1000)")
    parser.add_argument("--keep-shards", action="store_true", help="leave the shards of npz, do not join them")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="images a run (default: 16)")
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was cut off; where there is none, begin"
    )
    parser.add_argument("--overwrite", action="store_true", help="draw anew what is there")
    cluster = parser.add_argument_group(
        "many machines", "Of a Ray cluster, each with ddgan-deploy; DIR is sent to them."
    )
    cluster.add_argument(
        "--ray", metavar="auto|ADDRESS", help="auto: the cluster of this machine; local: one of this machine alone"
    )
    cluster.add_argument(
        "--workers", type=int, metavar="N", help="processes (default: one for each GPU, or for four CPUs)"
    )
    cluster.add_argument(
        "--shared-out",
        action="store_true",
        help="FOLDER is the same on all machines, and workers write there (default: shards come to this machine)",
    )
    add_knob_arguments(parser, "one for each seed")
    add_engine_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
