"""A weight file's contents -> a trained generator, its architecture and its training arguments.

Both forms of the published training code are read: ``netG_<epoch>.pth``, a state dict of EMA weights, and
``content.pth``, a whole training state; and safetensors files with the same keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddgan_deploy.artifact.assumptions import Assumed
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.base import Checkpoint, Family, Given
from ddgan_deploy.families.ddgan.architecture import Shapes, infer_config
from ddgan_deploy.families.ddgan.assumptions import assumptions
from ddgan_deploy.families.ddgan.config import FIELDS, GeneratorConfig
from ddgan_deploy.families.ddgan.schedule import MAX_STEPS, MIN_STEPS, Schedule
from ddgan_deploy.families.ddgan.training_args import own_arguments, read_config
from ddgan_deploy.families.ddgan.weights import generator
from ddgan_deploy.files import sha256
from ddgan_deploy.weight_files.expected import check_shapes
from ddgan_deploy.weight_files.tensors import as_float32

if TYPE_CHECKING:
    from ddgan_deploy.families.ddgan.network import Generator
    from ddgan_deploy.families.ddgan.reference import DdganReference

SCHEDULE_FIELDS = ("beta_min", "beta_max", "use_geometric")


@dataclass(frozen=True)
class DdganCheckpoint(Checkpoint[GeneratorConfig, Schedule]):
    """A trained generator; weights are named as in `Generator`.

    Attributes:
        training_args: of the training arguments, those that concern sampling.
    """

    training_args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trained_steps(self) -> int | None:
        """T, where the training arguments tell it."""
        return self.training_args.get("num_timesteps")

    def assumed(self, sampling: Schedule) -> tuple[Assumed, ...]:
        """What neither the file nor a config tells."""
        return assumptions(self.model, sampling, self.stated)

    def choose(self, steps: int | None = None) -> Schedule:
        """The diffusion schedule for T steps; None: as many as the training arguments tell.

        Raises:
            InputError: the network was trained for another number of steps, steps is out of range, or nothing tells it.
        """
        trained = self.trained_steps
        if steps is None:
            if trained is None:
                raise InputError(f"{self.path} does not tell how many steps it was trained for: give --steps T")
            steps = trained
        schedule = Schedule(steps, **{k: v for k, v in self.training_args.items() if k in SCHEDULE_FIELDS})
        if trained is not None and trained != steps:
            exportable = MIN_STEPS <= trained <= MAX_STEPS
            fix = f"give --steps {trained}" if exportable else f"only {MIN_STEPS}..{MAX_STEPS} can be exported"
            raise InputError(f"--steps {steps} contradicts the training arguments' num_timesteps {trained}: {fix}")
        return schedule

    def reference(self, sampling: Schedule) -> DdganReference:
        """The reference sampler."""
        from ddgan_deploy.families.ddgan.reference import reference

        return reference(self.generator(), sampling)

    def generator(self) -> Generator:
        """The reference generator with these weights, in evaluation mode."""
        from ddgan_deploy.families.ddgan.network import Generator

        generator = Generator(self.model)
        generator.load_state_dict(dict(self.weights))
        return generator.eval().requires_grad_(False)


def read_checkpoint(family: Family, contents: dict[str, Any], path: Path, given: Given) -> DdganCheckpoint:
    """As `families.base.Family.read`."""
    found = generator(contents, given.weights, path)
    stated = {} if given.config is None else read_config(given.config)
    arguments = own_arguments(found.args, path, stated)
    if given.config is not None:
        arguments = _joined(arguments, path, stated, given.config)
    shapes = {name: tuple(tensor.shape) for name, tensor in found.tensors.items()}
    try:
        said, otherwise = ({k: v for k, v in args.items() if k in FIELDS} for args in (arguments, given.known))
        architecture = infer_config(shapes, said, otherwise)
        _check_keys(shapes, architecture, found.by_order)
    except InputError as error:
        source = str(path) if given.config is None else f"{path} with {given.config}"
        raise InputError(f"{source}: {error}") from None
    sampling = {k: v for k, v in {**given.known, **arguments}.items() if k in (*SCHEDULE_FIELDS, "num_timesteps")}
    finite = {name: as_float32(tensor, name, path) for name, tensor in found.tensors.items()}
    told = _told(given) | set(arguments)
    return DdganCheckpoint(family, path, sha256(path), architecture, finite, found.kind, told, sampling)


def _told(given: Given) -> set[str]:
    """What is stated by an artifact of the same network: all but what had been guessed there."""
    if not given.known:
        return set()
    guessed = {*given.guessed}
    # The image size had been told from where attention was taken to sit.
    return {*given.known, "num_timesteps"} - guessed - ({"attn_resolutions"} if "image_size" in guessed else set())


def _joined(own: dict[str, Any], path: Path, given: dict[str, Any], config: Path) -> dict[str, Any]:
    """The arguments of a training state, and over them those of the config."""
    steps = {arguments["num_timesteps"] for arguments in (own, given) if "num_timesteps" in arguments}
    if len(steps) > 1:
        raise InputError(
            f"{config} says num_timesteps {given['num_timesteps']}, {path} was trained with "
            f"{own['num_timesteps']}: correct the config"
        )
    return own | given


def _expected_shapes(config: GeneratorConfig) -> Shapes:
    import torch

    from ddgan_deploy.families.ddgan.network import Generator

    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in Generator(config).state_dict().items()}


def _check_keys(shapes: Shapes, config: GeneratorConfig, by_order: bool = False) -> None:
    expected = _expected_shapes(config)
    check_shapes(shapes, expected)
    moved = [(ours, key) for ours, key in zip(shapes, expected, strict=True) if ours != key]
    if by_order and moved:
        raise InputError(
            "EMA weights are kept by number, and the keys are not in the order of the network's parameters, "
            f"{moved[0][0]} stands where the network has {moved[0][1]}: give --weights raw"
        )
