"""ddgan-sample: images from an artifact, or from a server that serves one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.cli.common import Parser, add_engine_arguments, run
from ddgan_deploy.cli.screen import StepList, say
from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class SampleOptions:
    """What to draw, and where it goes.

    Attributes:
        source: the folder of an artifact, or the url of a server.
        timeout: seconds that a server may take.
    """

    source: Path | str
    timeout: float
    seeds: tuple[int, ...]
    out: Path | None
    npz: Path | None
    png_dir: Path | None
    batch: int
    engine: str
    threads: int | None
    overwrite: bool


def main(argv: Sequence[str] | None = None) -> int:
    """The console script."""
    return run(_main, argv)


def _main(argv: Sequence[str] | None) -> None:
    options = _options(argv)
    _check_outputs(options)
    if isinstance(options.source, Path):
        images = _from_artifact(options.source, options)
    else:
        images = _from_server(options.source, options)
    for path in _write(options, images):
        say(str(path))


def _from_artifact(artifact: Path, options: SampleOptions) -> npt.NDArray[np.uint8]:
    """Images [N, H, W, C] of the seeds, a batch at a time."""
    import numpy as np

    from ddgan_deploy.engines import open_artifact

    seeds, batch = options.seeds, options.batch
    progress = StepList()
    with progress("Open the artifact"):
        engine = open_artifact(artifact, options.engine, options.threads)
    with engine, progress(f"Draw {len(seeds)} images on {engine.name}"):
        return np.concatenate([engine.generate(seeds[i : i + batch]) for i in range(0, len(seeds), batch)])


def _from_server(url: str, options: SampleOptions) -> npt.NDArray[np.uint8]:
    """Images [N, H, W, C] of the seeds, a batch a request."""
    from ddgan_deploy.serving.client import Client

    client = Client(url, options.timeout, batch=options.batch)
    with client, StepList()(f"Draw {len(options.seeds)} images at {client.address}"):
        return client.generate(options.seeds)


def _write(options: SampleOptions, images: npt.NDArray[np.uint8]) -> list[Path]:
    """Writes every output asked for, or with an error none of them."""
    import numpy as np

    from ddgan_deploy import images as pictures
    from ddgan_deploy.files import written_whole

    with contextlib.ExitStack() as outputs:
        if options.out:
            outputs.enter_context(written_whole(options.out)).write_bytes(pictures.png(pictures.grid(images)))
        if options.npz:
            seeds = np.array([seed % 2**64 for seed in options.seeds], np.uint64)
            with outputs.enter_context(written_whole(options.npz)).open("wb") as file:
                np.savez_compressed(file, seeds=seeds, images=images)
        for path, image in zip(_single_images(options), images, strict=False):
            picture = pictures.grid(image[None], scale=1, gap=0)
            outputs.enter_context(written_whole(path)).write_bytes(pictures.png(picture))
    return [path for path in (options.out, options.npz, options.png_dir) if path]


def _single_images(options: SampleOptions) -> list[Path]:
    return [options.png_dir / f"{seed}.png" for seed in options.seeds] if options.png_dir else []


def _check_outputs(options: SampleOptions) -> None:
    if options.out and options.out.suffix.lower() != ".png":
        raise InputError(f"--out {options.out} is not a PNG file: give a name that ends in .png")
    if options.png_dir and options.png_dir.exists() and not options.png_dir.is_dir():
        raise InputError(f"--png-dir {options.png_dir} is a file: give a folder")
    for path in (options.out, options.npz, *_single_images(options)):
        if path is None:
            continue
        if path.is_dir():
            raise InputError(f"{path} is a folder: give a file name, or --png-dir for single images")
        if path.exists() and not options.overwrite:
            raise InputError(f"{path} exists already: give --overwrite to replace it, or another name")


def _options(argv: Sequence[str] | None) -> SampleOptions:
    args = _parser().parse_args(argv)
    from ddgan_deploy.noise import parse_seeds

    if (args.artifact is None) == (args.url is None):
        raise InputError("give either DIR, a folder that ddgan-export wrote, or --url URL of a server")
    if args.url is not None and (args.engine != "auto" or args.threads is not None):
        raise InputError("the server chooses how it draws: leave out --engine, --portable and --threads with --url")
    if args.url is None and args.timeout is not None:
        raise InputError("--timeout is how long a server may take: give it with --url")
    if not (args.out or args.png_dir or args.npz):
        raise InputError("nowhere to write: give --out FILE.png, --png-dir DIR or --npz FILE.npz")
    if args.batch < 1 or (args.threads is not None and args.threads < 1):
        raise InputError("--batch and --threads must be 1 or more")
    return SampleOptions(
        source=args.artifact if args.url is None else args.url,
        timeout=60.0 if args.timeout is None else args.timeout,
        seeds=tuple(parse_seeds(args.seeds)),
        out=args.out,
        npz=args.npz,
        png_dir=args.png_dir,
        batch=args.batch,
        engine=args.engine,
        threads=args.threads,
        overwrite=args.overwrite,
    )


def _parser() -> Parser:
    parser = Parser(prog="ddgan-sample", description="Draws images from an exported artifact, here or on a server.")
    parser.add_argument("artifact", nargs="?", type=Path, metavar="DIR", help="folder that ddgan-export wrote")
    parser.add_argument("--url", help="instead of DIR: a server, as http://HOST:PORT, grpc://HOST:PORT or HOST:PORT")
    parser.add_argument("--seeds", default="0-15", help="such as 0-15 or 3,7 (default: 0-15)")
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="all images as one grid")
    parser.add_argument("--png-dir", type=Path, metavar="DIR", help="every image as <seed>.png")
    parser.add_argument(
        "--npz", type=Path, metavar="FILE.npz", help="arrays seeds uint64 [N] and images uint8 [N, H, W, C]"
    )
    parser.add_argument("--batch", type=int, default=16, help="images a run, or at most in a request (default: 16)")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="for all images of a server (default: 60)")
    add_engine_arguments(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    return parser


if __name__ == "__main__":
    sys.exit(main())
