"""Where the images of ddgan-sample go, those of a run that fails among them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.errors import GateError, InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class Outputs:
    """The files that were asked for.

    Attributes:
        seeds: whose images go into them.
        out: all images as one grid.
        npz: seeds and images as arrays.
        png_dir: every image as a file of its own.
        overwrite: whether they may be there already.
        knobs: that were given, by name; one value for all seeds, or one for each.
    """

    seeds: tuple[int, ...]
    out: Path | None
    npz: Path | None
    png_dir: Path | None
    overwrite: bool
    knobs: Mapping[str, npt.ArrayLike] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.seeds)

    def stem(self, place: int) -> str:
        """The name of an image's own file."""
        return str(self.seeds[place])

    def comment(self, place: int) -> str:
        """What an image's own file tells of it; "" for nothing."""
        return ""

    def arrays(self, places: Sequence[int], told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What goes beside some images: their seeds and what was given of each knob, but for one picture for all.

        Args:
            places: of the images.
            told: of each image, as `Drawn.take` was told.
        """
        import numpy as np

        seeds = np.array([self.seeds[place] % 2**64 for place in places], np.uint64)
        given = {name: np.asarray(value) for name, value in self.knobs.items()}
        shared = {name: np.full(len(places), value) for name, value in given.items() if value.size == 1}
        own = {name: value[list(places)] for name, value in given.items() if name in self.each}
        return {"seeds": seeds, **shared, **own}

    def grid(self, images: npt.NDArray[np.uint8]) -> bytes:
        """All images as one PNG file."""
        from ddgan_deploy import images as pictures

        return pictures.png(pictures.grid(images))

    def rest(self, there: Collection[int]) -> str:
        """How to get the images that are not there."""
        from ddgan_deploy.inputs import seed_ranges

        left = [seed for place, seed in enumerate(self.seeds) if place not in there]
        theirs = f" and their {', '.join(self.each)}" if self.each else ""
        return f"draw the others with --seeds {seed_ranges(left)}{theirs}"

    @property
    def each(self) -> list[str]:
        """The knobs of which every seed has a value of its own."""
        return [name for name, value in self.knobs.items() if isinstance(value, Sized) and len(value) > 1]

    def check(self) -> None:
        """Refuses what cannot be written, before any work.

        Raises:
            InputError: names the file and the fix.
        """
        if not (self.out or self.png_dir or self.npz):
            raise InputError("nowhere to write: give --out FILE.png, --png-dir DIR or --npz FILE.npz")
        if self.out and self.out.suffix.lower() != ".png":
            raise InputError(f"--out {self.out} is not a PNG file: give a name that ends in .png")
        if self.png_dir and self.png_dir.exists() and not self.png_dir.is_dir():
            raise InputError(f"--png-dir {self.png_dir} is a file: give a folder")
        singles = [self.file(place) for place in range(self.count)] if self.png_dir else []
        if self.each and len(set(singles)) < len(singles):
            raise InputError(
                f"--png-dir names files by their seeds, and seeds come twice with their {', '.join(self.each)}: "
                "give --npz or --out, or a --png-dir for each value"
            )
        for path in (self.out, self.npz, *singles):
            if path is None:
                continue
            if path.is_dir():
                raise InputError(f"{path} is a folder: give a file name, or --png-dir for single images")
            if path.exists() and not self.overwrite:
                raise InputError(f"{path} exists already: give --overwrite to replace it, or another name")

    def file(self, place: int) -> Path:
        """An image's own, where there is a folder for them."""
        assert self.png_dir is not None
        return self.png_dir / f"{self.stem(place)}.png"

    @property
    def paths(self) -> list[Path]:
        """What was asked for, in the order of writing."""
        return [path for path in (self.out, self.npz, self.png_dir) if path]

    @property
    def partial(self) -> Path | None:
        """What the arrays of a run that fails are kept as."""
        return self.npz and self.npz.with_name(f"{self.npz.stem}-PARTIAL{self.npz.suffix}")


@dataclass
class Drawn:
    """The images that there are so far.

    Attributes:
        outputs: where they go; single images at once.
    """

    outputs: Outputs
    _images: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict)
    _told: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _places: set[int] = field(default_factory=set)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._places)

    def take(self, start: int, images: npt.NDArray[np.uint8], told: Sequence[Mapping[str, Any]] = ()) -> None:
        """Images uint8 [n, H, W, C] from the place ``start`` on, and of each what the outputs are to tell beside it.

        Raises:
            InputError: a file cannot be written.
        """
        for place, image in enumerate(images, start):
            if self.outputs.png_dir:
                _write_png(self.outputs.file(place), image, self.outputs.comment(place))
            if self.outputs.out or self.outputs.npz:
                self._images[place] = image
                self._told[place] = told[place - start] if told else {}
            self._places.add(place)

    def write_npz(self, path: Path) -> None:
        """Writes what there is, in order."""
        import numpy as np

        places = sorted(self._images)
        arrays = self.outputs.arrays(places, [self._told[place] for place in places])
        with path.open("wb") as file:
            images = np.stack([self._images[place] for place in places])
            np.savez_compressed(file, images=images, **arrays)

    def write_grid(self, path: Path) -> None:
        """Writes all images as one."""
        import numpy as np

        path.write_bytes(self.outputs.grid(np.stack([self._images[place] for place in sorted(self._images)])))

    def kept(self) -> str:
        """Keeps what there is of a run that failed, and tells where, and how to get the rest."""
        from ddgan_deploy.files import written_whole

        outputs = self.outputs
        some = f"{self.count} of {outputs.count} images"
        places = [str(outputs.png_dir)] if outputs.png_dir else []
        if outputs.partial:
            try:
                with written_whole(outputs.partial) as file:
                    self.write_npz(file)
                places.append(str(outputs.partial))
            except InputError as error:
                if not places:
                    return f"{some} are lost: {error}"
        if not places:
            return f"{some} had been drawn: with --png-dir or --npz they are kept"
        there = f"{some} are in {' and '.join(places)}"
        return there if self.count == outputs.count else f"{there}: {outputs.rest(self._places)}"


@contextlib.contextmanager
def written(outputs: Outputs) -> Iterator[Drawn]:
    """Writes what the block draws: all of it, or of a run that fails what there is by then.

    Raises:
        InputError: a file cannot be written; where that can be told before anything is drawn, then.
    """
    from ddgan_deploy.files import created_parents, written_whole

    drawn = Drawn(outputs)
    with contextlib.ExitStack() as files:
        if outputs.png_dir:
            files.enter_context(created_parents(outputs.png_dir / "any"))
        grid, arrays = (path and files.enter_context(written_whole(path)) for path in (outputs.out, outputs.npz))
        try:
            yield drawn
            if grid:
                with _named(outputs.out):
                    drawn.write_grid(grid)
            if arrays:
                with _named(outputs.npz):
                    drawn.write_npz(arrays)
        except (InputError, GateError, KeyboardInterrupt) as error:
            if not drawn.count:
                raise
            raise type(error)(f"{str(error) or 'interrupted'}; {drawn.kept()}") from error


@contextlib.contextmanager
def _named(path: Path | None) -> Iterator[None]:
    """Around what writes into the file that becomes ``path``, which an error then names.

    Raises:
        InputError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): choose another place") from None


def _write_png(path: Path, image: npt.NDArray[np.uint8], comment: str = "") -> None:
    from ddgan_deploy import images as pictures
    from ddgan_deploy.files import written_whole

    with written_whole(path) as file:
        content = pictures.png(pictures.grid(image[None], scale=1, gap=0))
        file.write_bytes(pictures.with_comment(content, comment.encode("ascii")) if comment else content)
