"""What the artifacts of a run are asked, image by image, and what is told of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.bulk.formats import FORMATS
from ddgan_deploy.bulk.plan import Plan
from ddgan_deploy.bulk.seeds import Seeds
from ddgan_deploy.engines.cascade import cascade_knobs
from ddgan_deploy.inputs import Array, drawn_knobs, rows, served_knobs

_LABEL = "label"


class Content:
    """The images of a plan, before they are drawn.

    Args:
        plan: of the run.
        artifacts: that draw, each after the first enlarging what the one before it draws.

    Attributes:
        plan: of the run.
        artifacts: that draw.
        image: (H, W, C) of each image.
        format: of the shards.

    Raises:
        InputError: a knob or an artifact does not fit, or the format cannot hold such images.
    """

    def __init__(self, plan: Plan, artifacts: Sequence[Artifact]) -> None:
        self.plan, self.artifacts = plan, tuple(artifacts)
        channels, height, width = self.artifacts[-1].manifest.sampler.image
        self.image = (height, width, channels)
        self.format = FORMATS[plan.format]
        self.format.require(self.image)
        self._seeds = Seeds(plan.seeds)
        self._known = cascade_knobs(self.artifacts)
        self._knobs = served_knobs(self._known, len(self._seeds), plan.knobs)

    def __len__(self) -> int:
        return len(self._seeds)

    @property
    def is_labelled(self) -> bool:
        """Whether images have classes."""
        return any(knob.name == _LABEL for knob in self._known)

    def asked(self, places: range) -> tuple[list[int], dict[str, Array]]:
        """The seeds at some places, and all knobs, [n, *shape] each."""
        return self._seeds.at(places), rows(self._knobs, slice(places.start, places.stop))

    def told(self, seeds: Sequence[int], knobs: Mapping[str, Array]) -> dict[str, Array]:
        """The numbers among the knobs, [n] each, as they come out: a class that the seed decides is that class."""
        out = {**knobs, **drawn_knobs(self._known, seeds, knobs)}
        return {knob.name: out[knob.name][:, 0] for knob in self._known if knob.shape == (1,)}

    def labels(self) -> Iterator[tuple[str, range, Array]]:
        """Of each batch its shard's name, its places, and their classes, int64 [n]."""
        for shard in self.plan.shards():
            for places in self.plan.batches(shard):
                yield self.format.shard_name(shard.number), places, self.told(*self.asked(places))[_LABEL]
