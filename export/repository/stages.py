"""How the models of a repository draw together: one alone, or a cascade of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.engines.cascade import cascade_knobs, enlarged
from ddgan_deploy.errors import InputError
from ddgan_deploy.export.repository.backends import EngineModel, engine_model
from ddgan_deploy.export.repository.tensors import ServedInput, inputs_of
from ddgan_deploy.names import quoted
from ddgan_deploy.sampler import Knob
from ddgan_deploy.serving import MODEL
from ddgan_deploy.serving.echo import DRAWN

IMAGE = "image"


@dataclass(frozen=True)
class Stage:
    """A model that draws.

    Attributes:
        model: its name.
        artifact: what it runs.
        engine: on which backend.
        inputs: of its graph.
        picture: the input that takes the images of the stage before; empty where there is none.
    """

    model: str
    artifact: Artifact
    engine: EngineModel
    inputs: tuple[ServedInput, ...]
    picture: str = ""

    @property
    def tells(self) -> bool:
        """Whether the model tells what its images were drawn from.

        Only our own engine does, and puts in what a request leaves out: the other backends run in the server's own
        process, and ddgan.onnx gives images alone.
        """
        return self.engine.backend == "python"


@dataclass(frozen=True)
class Step:
    """A model inside an ensemble.

    Attributes:
        model: its name.
        inputs, outputs: the tensor of the ensemble that each of the model's is.
    """

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class Drawing:
    """The way from seeds and knobs to pixels, in one step or in several.

    Attributes:
        stages: the models, in the order of drawing.
        knobs: that the whole takes.
        inputs: of the whole.
        steps: of an ensemble that draws so.
        image: the ensemble's tensor of the last model's images.
        told: for inputs, the ensemble's tensor of the value that the images were drawn from.
    """

    stages: tuple[Stage, ...]
    knobs: tuple[Knob, ...]
    inputs: tuple[ServedInput, ...]
    steps: tuple[Step, ...]
    image: str
    told: Mapping[str, str]

    @property
    def most(self) -> int:
        """Images that all its models take at once."""
        return min(stage.engine.max_batch for stage in self.stages)

    @property
    def size(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        return self.stages[-1].artifact.manifest.sampler.image

    def last(self, model: str, output: str) -> Step:
        """The step of a model that is given the images, what was asked for, and what they were drawn from."""
        asked = {each.name: each.name for each in self.inputs}
        told = {DRAWN + name: tensor for name, tensor in self.told.items()}
        return Step(model, {IMAGE: self.image, **asked, **told}, {output: output})


def drawing(artifacts: Sequence[Artifact]) -> Drawing:
    """How artifacts draw, each on the backend that was asked for when it was exported.

    Args:
        artifacts: one, or several of which each enlarges what the one before it draws.

    Raises:
        InputError: one cannot be served as it asks, or they are no cascade.
    """
    knobs = cascade_knobs(artifacts)
    stages = tuple(_stage(artifact, place, len(artifacts)) for place, artifact in enumerate(artifacts))
    inputs: dict[str, ServedInput] = {}
    told: dict[str, str] = {}
    steps, image = [], ""
    for place, stage in enumerate(stages):
        own = [each for each in stage.inputs if each.name != stage.picture]
        # What one model was drawn with is what the next one gets: an image that went astray on the way is then told
        # at the end, whichever model gave it away.
        taken = {each.name: told.get(each.name, each.name) for each in own}
        inputs = {each.name: each for each in own} | inputs
        suffix = f"_{place + 1}" if len(stages) > 1 else ""
        mine = {each.name: f"{DRAWN}{each.name}{suffix}" for each in own if stage.tells}
        steps.append(
            Step(
                stage.model,
                taken | ({stage.picture: image} if stage.picture else {}),
                {IMAGE: f"{IMAGE}{suffix}", **{DRAWN + name: tensor for name, tensor in mine.items()}},
            )
        )
        image, told = f"{IMAGE}{suffix}", told | mine
    ordered = tuple(inputs[name] for name in ("seed", *(knob.name for knob in knobs)))
    return Drawing(stages, knobs, ordered, tuple(steps), image, told)


def _stage(artifact: Artifact, place: int, count: int) -> Stage:
    engine = engine_model(artifact, artifact.manifest.serving)
    if place and engine.backend != "python":
        raise InputError(
            f"{artifact.path} enlarges on the backend {engine.backend}, which cannot give it noise of its own: run "
            f"ddgan-export --rebuild {quoted(artifact.path)} --engine none --backend python"
        )
    inputs = inputs_of(artifact.manifest.sampler, may_lack=engine.backend == "python")
    if count == 1:
        return Stage(MODEL, artifact, engine, inputs)
    if place:
        engine = dataclasses.replace(engine, parameters={**engine.parameters, "stage": str(place)})
    return Stage(f"{MODEL}_{place + 1}", artifact, engine, inputs, enlarged(artifact).name if place else "")
