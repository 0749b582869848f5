"""ddgan-sample: images from an artifact, or from a server that serves one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.cli.arguments import add_engine_arguments, add_then_argument, check_source
from ddgan_deploy.cli.knobs import add_knob_arguments, given_knobs
from ddgan_deploy.cli.sample_outputs import Drawn, Outputs, written
from ddgan_deploy.cli.sample_walk import WalkOutputs, draw_walk
from ddgan_deploy.command import Parser, run
from ddgan_deploy.errors import InputError
from ddgan_deploy.screen import StepList, say

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class SampleOptions:
    """What to draw, and where it goes.

    Attributes:
        source: the folders of artifacts, of which each enlarges what the one before it draws, or the url of a server.
        timeout: seconds that a server may take to its next answer.
        outputs: the seeds and knobs, and the files of their images.
    """

    source: tuple[Path, ...] | str
    timeout: float
    batch: int
    engine: str
    threads: int | None
    outputs: Outputs


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> None:
    options = _options(argv)
    options.outputs.check()
    with written(options.outputs) as drawn:
        if isinstance(options.source, str):
            _from_server(options.source, options, drawn)
        elif isinstance(options.outputs, WalkOutputs):
            _walk(options.source[0], options.outputs, options, drawn)
        else:
            _from_artifacts(options.source, options, drawn)
    for path in options.outputs.paths:
        say(str(path))


def _from_artifacts(folders: Sequence[Path], options: SampleOptions, drawn: Drawn) -> None:
    """Draws a batch at a time."""
    from ddgan_deploy.engines.cascade import open_cascade
    from ddgan_deploy.inputs import rows, served_knobs

    progress, seeds = StepList(), options.outputs.seeds
    with progress(f"Open the artifact{'s' * (len(folders) > 1)}"):
        cascade = open_cascade(folders, options.engine, options.threads)
    with cascade, progress(f"Draw {len(seeds)} images on {cascade.name}") as report:
        knobs = served_knobs(cascade.knobs, len(seeds), options.outputs.knobs)
        for start in range(0, len(seeds), options.batch):
            batch = slice(start, start + options.batch)
            drawn.take(start, cascade.generate(seeds[batch], **rows(knobs, batch)))
            _tell(report, drawn)


def _walk(folder: Path, outputs: WalkOutputs, options: SampleOptions, drawn: Drawn) -> None:
    """Draws a batch at a time along the way from seed to seed."""
    from ddgan_deploy.engines import open_artifact
    from ddgan_deploy.engines.arithmetic import name_and_type

    progress = StepList()
    with progress("Open the artifact"):
        engine = open_artifact(folder, options.engine, options.threads)
    with engine, progress(f"Draw {outputs.count} images on {name_and_type(engine)}") as report:
        for start in range(0, outputs.count, options.batch):
            places = range(start, min(start + options.batch, outputs.count))
            drawn.take(start, *draw_walk(engine, outputs, places))
            _tell(report, drawn)


def _from_server(url: str, options: SampleOptions, drawn: Drawn) -> None:
    """Asks for a batch a request."""
    from ddgan_deploy.serving.client import Client

    seeds = options.outputs.seeds
    client = Client(url, options.timeout, batch=options.batch)
    with client, StepList()(f"Draw {len(seeds)} images at {client.address}") as report:

        def take(start: int, images: npt.NDArray[np.uint8]) -> None:
            drawn.take(start, images)
            _tell(report, drawn)

        client.generate_each(seeds, take, **options.outputs.knobs)


def _tell(report: Callable[[float, str], None], drawn: Drawn) -> None:
    wanted = drawn.outputs.count
    report(drawn.count / wanted, f"{drawn.count} of {wanted} images")


def _options(argv: Sequence[str] | None) -> SampleOptions:
    args = _parser().parse_args(argv)
    check_source(args)
    if args.url is not None and args.interpolate is not None:
        raise InputError("a server takes seeds, and nothing between them: give DIR instead of --url with --interpolate")
    if args.then and args.url is not None:
        raise InputError("--then enlarges what DIR draws here: leave it out with --url, whose server draws")
    if args.then and args.interpolate is not None:
        raise InputError("--interpolate goes between the seeds of one artifact: leave out --then")
    if args.batch < 1 or (args.threads is not None and args.threads < 1):
        raise InputError("--batch and --threads must be 1 or more")
    return SampleOptions(
        source=(args.artifact, *args.then) if args.url is None else args.url,
        timeout=60.0 if args.timeout is None else args.timeout,
        batch=args.batch,
        engine=args.engine,
        threads=args.threads,
        outputs=_outputs(args),
    )


def _outputs(args: argparse.Namespace) -> Outputs:
    from ddgan_deploy.inputs import parse_seeds

    seeds = tuple(parse_seeds(args.seeds))
    files = (seeds, args.out, args.npz, args.png_dir, args.overwrite, given_knobs(args))
    if args.interpolate is None:
        return Outputs(*files)
    from ddgan_deploy.interpolation import Walk

    return WalkOutputs(*files, walk=Walk(seeds, args.interpolate))


def _parser() -> Parser:
    parser = Parser(prog="ddgan-sample", description="Draws images from an exported artifact, here or on a server.")
    parser.add_argument("artifact", nargs="?", type=Path, metavar="DIR", help="folder that ddgan-export wrote")
    parser.add_argument("--url", help="instead of DIR: a server, as http://HOST:PORT, grpc://HOST:PORT or HOST:PORT")
    add_then_argument(parser)
    parser.add_argument("--seeds", default="0-15", help="such as 0-15 or 3,7 (default: 0-15)")
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="all images as one grid")
    parser.add_argument(
        "--png-dir", type=Path, metavar="DIR", help="every image as <seed>.png, or <seed>-<next>-<step>.png"
    )
    parser.add_argument(
        "--npz", type=Path, metavar="FILE.npz", help="arrays seeds uint64 [N] and images uint8 [N, H, W, C]"
    )
    parser.add_argument(
        "--interpolate",
        type=int,
        metavar="N",
        help="go from each seed to the next in N steps, 2 or more: N images for each pair, then the last seed's. --out "
        "has a row for each pair, with both ends; --npz has seeds uint64 [.., 2] and t float64 [..]. Noise goes along "
        "great circles, knobs that are numbers linearly; a label is the nearer seed's",
    )
    parser.add_argument("--batch", type=int, default=16, help="images a run, or at most in a request (default: 16)")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="without an answer of the server (default: 60)"
    )
    add_knob_arguments(parser, "one for each seed")
    add_engine_arguments(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
