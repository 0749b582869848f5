"""The files of ddgan-sample --interpolate: images from each seed to the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ddgan_deploy.cli.sample_outputs import Outputs
from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ddgan_deploy.engines.base import Engine
    from ddgan_deploy.interpolation import Walk


@dataclass(frozen=True)
class WalkOutputs(Outputs):
    """The files that were asked for.

    Attributes:
        walk: whose images go into them, along the same seeds.
    """

    walk: Walk = field(kw_only=True)

    def check(self) -> None:
        """Refuses what cannot be written, and a seed that follows itself with nothing to change.

        Raises:
            InputError: names the file or the seed and the fix.
        """
        for first, second in zip(self.seeds, self.seeds[1:], strict=False):
            if first == second and not self.each:
                raise InputError(
                    f"seed {first} follows itself, and nothing lies between: leave one out, or give a knob "
                    "a value for each seed"
                )
        super().check()

    @property
    def count(self) -> int:
        """How many images there are."""
        return len(self.walk)

    def stem(self, place: int) -> str:
        """<seed>-<next seed>-<step>, which sorts by step."""
        first, second = self.walk.pair(place)
        return f"{first}-{second}-{self.walk.at(place)[1]:0{len(str(self.walk.steps))}}"

    def comment(self, place: int) -> str:
        """Which image it is."""
        first, second = self.walk.pair(place)
        return f"between seed {first} and seed {second}, {self.walk.at(place)[1]} of {self.walk.steps} steps"

    def arrays(self, places: Sequence[int], told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The pairs and positions, and the number that each knob had."""
        import numpy as np

        seeds = np.array([[seed % 2**64 for seed in self.walk.pair(place)] for place in places], np.uint64)
        knobs = {name: np.stack([each[name] for each in told]) for name in told[0]}
        return {"seeds": seeds, "t": np.array([self.walk.t(place) for place in places]), **knobs}

    def grid(self, images: npt.NDArray[np.uint8]) -> bytes:
        """A PNG file: a row a pair, with both ends."""
        from ddgan_deploy import images as pictures
        from ddgan_deploy.inputs import seed_ranges

        pairs, steps = len(self.seeds) - 1, self.walk.steps
        shown = [pair * steps + step for pair in range(pairs) for step in range(steps + 1)]
        comment = f"from each of the seeds {seed_ranges(self.seeds)} to the next in {steps} steps"
        file = pictures.png(pictures.grid(images[shown], columns=steps + 1))
        return pictures.with_comment(file, comment.encode("ascii"))

    def rest(self, there: Collection[int]) -> str:
        """How to get the images that are not there."""
        return "draw all of them again with --overwrite"


def draw_walk(
    engine: Engine, outputs: WalkOutputs, places: range
) -> tuple[npt.NDArray[np.uint8], list[dict[str, Any]]]:
    """Some images uint8 [n, H, W, C], and the number that each knob had in each."""
    from ddgan_deploy.images import to_pixels

    sampler = engine.artifact.manifest.sampler
    inputs = outputs.walk.inputs(sampler, places, outputs.knobs)
    numbers = [knob.name for knob in sampler.knobs if not knob.is_image]
    told = [{name: inputs[name][index] for name in numbers} for index in range(len(places))]
    return to_pixels(engine.sample(inputs)), told
