"""ddgan-sample: images from an artifact, without a server."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.cli.common import Parser, StepList, add_engine_arguments, run
from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ddgan_deploy.engines.base import Engine


@dataclass(frozen=True)
class SampleOptions:
    """What to draw, and where it goes."""

    artifact: Path
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
    from ddgan_deploy.engines import open_artifact

    progress = StepList()
    with progress("Open the artifact"):
        engine = open_artifact(options.artifact, options.engine, options.threads)
    with engine, progress(f"Draw {len(options.seeds)} images on {engine.name}"):
        images = draw_images(engine, options.seeds, options.batch)
    for path in _write(options, images):
        print(path)


def draw_images(engine: Engine, seeds: Sequence[int], batch: int) -> npt.NDArray[np.uint8]:
    """Images [N, H, W, C] of the seeds, a batch at a time."""
    import numpy as np

    return np.concatenate([engine.generate(seeds[i : i + batch]) for i in range(0, len(seeds), batch)])


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
    parser = Parser(prog="ddgan-sample", description="Draws images from an exported artifact.")
    parser.add_argument("artifact", type=Path, metavar="DIR", help="folder that ddgan-export wrote")
    parser.add_argument("--seeds", default="0-15", help="such as 0-15 or 3,7 (default: 0-15)")
    parser.add_argument("--out", type=Path, metavar="FILE.png", help="all images as one grid")
    parser.add_argument("--png-dir", type=Path, metavar="DIR", help="every image as <seed>.png")
    parser.add_argument(
        "--npz", type=Path, metavar="FILE.npz", help="arrays seeds uint64 [N] and images uint8 [N, H, W, C]"
    )
    parser.add_argument("--batch", type=int, default=16, help="images a run (default: 16)")
    add_engine_arguments(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    args = parser.parse_args(argv)
    from ddgan_deploy.noise import parse_seeds

    if not (args.out or args.png_dir or args.npz):
        raise InputError("nowhere to write: give --out FILE.png, --png-dir DIR or --npz FILE.npz")
    if args.batch < 1 or (args.threads is not None and args.threads < 1):
        raise InputError("--batch and --threads must be 1 or more")
    return SampleOptions(
        args.artifact,
        tuple(parse_seeds(args.seeds)),
        args.out,
        args.npz,
        args.png_dir,
        args.batch,
        args.engine,
        args.threads,
        args.overwrite,
    )


if __name__ == "__main__":
    sys.exit(main())
