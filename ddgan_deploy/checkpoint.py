"""A trained checkpoint file -> its architecture and its weights.

Both forms of the published training code are read: ``netG_<epoch>.pth``, a state
dict of EMA weights, and ``content.pth``, a whole training state; and safetensors
files with the same keys. Nothing in a file is ever executed.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, get_args

from ddgan_deploy.architecture import Shapes, infer_config
from ddgan_deploy.diffusion import MAX_STEPS, MIN_STEPS, Schedule
from ddgan_deploy.errors import InputError
from ddgan_deploy.files import sha256
from ddgan_deploy.models.config import FIELDS, GeneratorConfig
from ddgan_deploy.training_args import read_config, training_args

if TYPE_CHECKING:
    import torch

    from ddgan_deploy.models.ncsnpp import Generator

Weights = Literal["ema", "raw"]
"""Of a training state: the exponential moving average, or the weights it averages."""
SCHEDULE_FIELDS = ("beta_min", "beta_max", "use_geometric")
_PREFIX = "module."
_MIN_BYTES = 2


@dataclass(frozen=True)
class Checkpoint:
    """A trained generator.

    Attributes:
        path: the file it came from.
        sha256: of that file, hexadecimal.
        config: the architecture.
        weights: parameter name -> float32 tensor, named as in `Generator`.
        training_args: of the training arguments, those that concern sampling.
    """

    path: Path
    sha256: str
    config: GeneratorConfig
    weights: Mapping[str, torch.Tensor]
    training_args: Mapping[str, Any]

    def schedule(self, steps: int) -> Schedule:
        """The diffusion schedule for T steps.

        Raises:
            InputError: the network was trained for another number of steps, or steps is out of range.
        """
        trained = self.training_args.get("num_timesteps")
        schedule = Schedule(steps, **{k: v for k, v in self.training_args.items() if k in SCHEDULE_FIELDS})
        if trained is not None and trained != steps:
            exportable = MIN_STEPS <= trained <= MAX_STEPS
            fix = f"give --steps {trained}" if exportable else f"only {MIN_STEPS}..{MAX_STEPS} can be exported"
            raise InputError(f"--steps {steps} contradicts the training arguments' num_timesteps {trained}: {fix}")
        return schedule

    def generator(self) -> Generator:
        """The reference generator with these weights, in evaluation mode."""
        from ddgan_deploy.models.ncsnpp import Generator

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
        config: a JSON file with the training script's arguments, for what the weights do not tell.
        weights: of a training state, the exponential moving average or the raw weights.
        known: training arguments that hold where neither the config, the file nor its weights say otherwise.

    Raises:
        InputError: the file cannot be read, is not such a checkpoint, or contradicts the config.
    """
    path = Path(path)
    if weights not in get_args(Weights):
        raise InputError(f"weights {weights!r} is unknown: give {' or '.join(get_args(Weights))}")
    content = _read(path)
    arguments: dict[str, Any] = {}
    if "netG_dict" in content:
        arguments = _own_arguments(content.get("args"), path)
        content = _generator_weights(content, weights, path)
    elif weights == "raw":
        raise InputError(f"{path} holds one set of weights, --weights raw needs a training state: give a content.pth")
    if config is not None:
        arguments = _joined(arguments, path, read_config(Path(config)), Path(config))
    tensors = _tensors(content, path)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        said, otherwise = ({k: v for k, v in given.items() if k in FIELDS} for given in (arguments, known or {}))
        architecture = infer_config(shapes, said, otherwise)
        _check_keys(shapes, architecture)
    except InputError as error:
        source = str(path) if config is None else f"{path} with {config}"
        raise InputError(f"{source}: {error}") from None
    sampling = {k: v for k, v in {**(known or {}), **arguments}.items() if k in (*SCHEDULE_FIELDS, "num_timesteps")}
    finite = {name: _finite(tensor, name, path) for name, tensor in tensors.items()}
    return Checkpoint(path, sha256(path), architecture, finite, sampling)


def _own_arguments(args: object, path: Path) -> dict[str, Any]:
    content = vars(args) if isinstance(args, argparse.Namespace) else args
    return training_args(content, f"{path} (args)") if isinstance(content, dict) else {}


def _joined(own: dict[str, Any], path: Path, given: dict[str, Any], config: Path) -> dict[str, Any]:
    """The arguments of a training state, and over them those of the config."""
    steps = {arguments["num_timesteps"] for arguments in (own, given) if "num_timesteps" in arguments}
    if len(steps) > 1:
        raise InputError(
            f"{config} says num_timesteps {given['num_timesteps']}, {path} was trained with "
            f"{own['num_timesteps']}: correct the config"
        )
    return own | given


def _read(path: Path) -> dict[str, Any]:
    """The mapping that a file holds."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder: give the checkpoint file itself")
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty: give a trained checkpoint")
        with path.open("rb") as file:
            content = _read_safetensors(path) if path.suffix.lower() == ".safetensors" else _read_pickle(file, path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: give the path of a trained checkpoint") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give another file") from None
    return _state_dict(content, str(path))


def _state_dict(content: object, name: str) -> dict[str, Any]:
    if isinstance(content, dict) and all(isinstance(key, str) for key in content):
        return content
    kind = "dict whose keys are no texts" if isinstance(content, dict) else type(content).__name__
    raise InputError(f"{name} holds a {kind}, not a state dict: give a netG_<epoch>.pth or content.pth")


def _read_pickle(file: BinaryIO, path: Path) -> object:
    import torch

    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file ends in an error of almost any type
        code = re.search(r"\bGLOBAL (\S+)", str(error))
        if code:
            raise InputError(
                f"{path} holds pickled code ({code[1]}), which is never run: "
                "save the state dict alone (torch.save(netG.state_dict(), ...))"
            ) from None
        raise InputError(
            f"{path} is damaged or not a PyTorch checkpoint: copy it again, or give a netG_<epoch>.pth or content.pth"
        ) from None


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    import safetensors
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file or is damaged: {error}") from None


def _generator_weights(content: Mapping[str, Any], weights: Weights, path: Path) -> dict[str, Any]:
    """The generator's weights from a training state; its optimizer holds the EMA by parameter number."""
    raw = _state_dict(content["netG_dict"], f"{path} (netG_dict)")
    if weights == "raw":
        return raw
    optimizer = content.get("optimizerG")
    state = optimizer.get("state") if isinstance(optimizer, dict) else None
    averages = {}
    for number, key in enumerate(raw):
        entry = state.get(number) if isinstance(state, dict) else None
        if not isinstance(entry, dict) or "ema" not in entry:
            raise InputError(
                f"{path} has no EMA weights for {key} (optimizerG.state[{number}].ema): give --weights raw"
            )
        averages[key] = entry["ema"]
    return averages


def _tensors(content: Mapping[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """The weights as they are stored, without the prefix of DistributedDataParallel."""
    import torch

    if not content:
        raise InputError(f"{path} holds no weights: give a trained checkpoint")
    for key, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"{path}: {key} is a {type(value).__name__}, not a tensor: give the generator's state dict alone"
            )
        if value.layout != torch.strided or value.is_nested or value.device.type != "cpu":
            raise InputError(
                f"{path}: {key} is {value.layout} on {value.device.type}, not a dense tensor: save it dense"
            )
    tensors = {key.removeprefix(_PREFIX): value for key, value in content.items()}
    if len(tensors) < len(content):
        raise InputError(f"{path} holds weights with and without the prefix {_PREFIX!r}: keep one of each")
    return tensors


def _expected_shapes(config: GeneratorConfig) -> Shapes:
    import torch

    from ddgan_deploy.models.ncsnpp import Generator

    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in Generator(config).state_dict().items()}


def _check_keys(shapes: Shapes, config: GeneratorConfig) -> None:
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


def _finite(tensor: torch.Tensor, name: str, path: Path) -> torch.Tensor:
    """The weight in float32."""
    import torch

    if not tensor.is_floating_point() or tensor.dtype.itemsize < _MIN_BYTES:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"{path}: {name} is {kind}: give weights in floating point of 16 bits or more")
    weight = tensor.detach().to(torch.float32).contiguous()
    if not torch.isfinite(weight).all():
        raise InputError(
            f"{path}: {name} holds NaN or infinite values: training has diverged, give an earlier checkpoint"
        )
    return weight
