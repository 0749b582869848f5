"""A trained checkpoint file -> its architecture and its weights.

Both forms of the published training code are read: ``netG_<epoch>.pth``, a state
dict of EMA weights, and ``content.pth``, a whole training state; and safetensors
files with the same keys. Nothing in a file is ever executed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.architecture import Shapes, infer_config
from ddgan_deploy.families.ddgan.assumptions import Assumed, assumptions
from ddgan_deploy.families.ddgan.config import FIELDS, GeneratorConfig
from ddgan_deploy.families.ddgan.schedule import MAX_STEPS, MIN_STEPS, Schedule
from ddgan_deploy.families.ddgan.training_args import own_arguments, read_config
from ddgan_deploy.files import sha256
from ddgan_deploy.weight_files.kinds import Kind, Weights
from ddgan_deploy.weight_files.reading import read
from ddgan_deploy.weight_files.state_dict import generator
from ddgan_deploy.weight_files.tensors import as_float32

if TYPE_CHECKING:
    import torch

    from ddgan_deploy.families.ddgan.network import Generator

SCHEDULE_FIELDS = ("beta_min", "beta_max", "use_geometric")


@dataclass(frozen=True)
class Checkpoint:
    """A trained generator.

    Attributes:
        path: the file it came from.
        sha256: of that file, hexadecimal.
        config: the architecture.
        weights: parameter name -> float32 tensor, named as in `Generator`.
        training_args: of the training arguments, those that concern sampling.
        kind: of weights, as far as the file tells.
        stated: names of the training arguments that the file or the config states.
    """

    path: Path
    sha256: str
    config: GeneratorConfig
    weights: Mapping[str, torch.Tensor]
    training_args: Mapping[str, Any]
    kind: Kind = "as stored"
    stated: Collection[str] = ()

    @property
    def trained_steps(self) -> int | None:
        """T, where the training arguments tell it."""
        return self.training_args.get("num_timesteps")

    def assumed(self, steps: int) -> tuple[Assumed, ...]:
        """What is assumed of a network that is sampled in T steps."""
        return assumptions(self.config, self.schedule(steps), self.stated)

    def schedule(self, steps: int | None = None) -> Schedule:
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

    def generator(self) -> Generator:
        """The reference generator with these weights, in evaluation mode."""
        from ddgan_deploy.families.ddgan.network import Generator

        generator = Generator(self.config)
        generator.load_state_dict(dict(self.weights))
        return generator.eval().requires_grad_(False)


def load_checkpoint(
    path: str | Path,
    config: str | Path | None = None,
    weights: Weights = "ema",
    known: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """Reads a checkpoint file.

    Args:
        path: a ``netG_<epoch>.pth``, a ``content.pth``, or a ``.safetensors`` file.
        config: a JSON file with the training script's arguments, or a ``content.pth`` that has them, for what the
            weights do not tell.
        weights: of a training state, the exponential moving average or the raw weights.
        known: training arguments that hold where neither the config, the file nor its weights say otherwise.

    Raises:
        InputError: the file cannot be read, is not such a checkpoint, or contradicts the config.
    """
    path = Path(path)
    if weights not in get_args(Weights):
        raise InputError(f"weights {weights!r} is unknown: give {' or '.join(get_args(Weights))}")
    found = generator(read(path), weights, path)
    given = {} if config is None else read_config(Path(config))
    arguments = own_arguments(found.args, path, given)
    if config is not None:
        arguments = _joined(arguments, path, given, Path(config))
    shapes = {name: tuple(tensor.shape) for name, tensor in found.tensors.items()}
    try:
        said, otherwise = ({k: v for k, v in given.items() if k in FIELDS} for given in (arguments, known or {}))
        architecture = infer_config(shapes, said, otherwise)
        _check_keys(shapes, architecture, found.by_order)
    except InputError as error:
        source = str(path) if config is None else f"{path} with {config}"
        raise InputError(f"{source}: {error}") from None
    sampling = {k: v for k, v in {**(known or {}), **arguments}.items() if k in (*SCHEDULE_FIELDS, "num_timesteps")}
    finite = {name: as_float32(tensor, name, path) for name, tensor in found.tensors.items()}
    return Checkpoint(path, sha256(path), architecture, finite, sampling, found.kind, frozenset(arguments))


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
    for key, shape in expected.items():
        if key not in shapes:
            raise InputError(f"the key {key!r} is missing, of shape {list(shape)}: the file is incomplete")
        if shapes[key] != shape:
            raise InputError(
                f"{key} has shape {list(shapes[key])}, this architecture needs {list(shape)}: "
                "give the file as it was trained"
            )
    extra = [key for key in shapes if key not in expected]
    if extra:
        raise InputError(f"{len(extra)} keys are left over, the first is {extra[0]!r}: this is another network")
    moved = [(ours, key) for ours, key in zip(shapes, expected, strict=True) if ours != key]
    if by_order and moved:
        raise InputError(
            "EMA weights are kept by number, and the keys are not in the order of the network's parameters, "
            f"{moved[0][0]} stands where the network has {moved[0][1]}: give --weights raw"
        )
