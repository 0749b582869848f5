"""What a family of generators is to everything else.

A family serves the export, `ddgan-verify` and the benchmark's rows of PyTorch. What it makes runs without it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from ddgan_deploy.artifact.assumptions import Assumed
from ddgan_deploy.sampler import Probe, Sampler
from ddgan_deploy.weight_files.kinds import Kind, Weights

if TYPE_CHECKING:
    import torch
    from torch import nn

M = TypeVar("M")
"""A model's architecture: a frozen dataclass of what JSON holds."""
S = TypeVar("S")
"""How it is sampled from: a frozen dataclass of what JSON holds, with ``steps``."""


@dataclass(frozen=True)
class Given:
    """What is known beside a weight file.

    Attributes:
        config: a file of the training script's arguments.
        weights: of a training state.
        known: fields of the model and of its sampling that hold where neither the config nor the file says otherwise.
        guessed: of those, names that had been assumed, not stated.
        asked: fields of the family's flags (`registry.FLAGS`) that the user gave, which come before all else.
    """

    config: Path | None = None
    weights: Weights = "ema"
    known: Mapping[str, Any] = field(default_factory=dict)
    guessed: Collection[str] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)


class Reference(Protocol):
    """A sampler in PyTorch, as published: what everything else is held to.

    Attributes:
        landmarks: the kinds of modules whose outputs show where an engine drifts; nodes are named after modules.
    """

    @property
    def landmarks(self) -> tuple[type[nn.Module], ...]: ...

    def run(
        self, inputs: Mapping[str, torch.Tensor], step: int | None = None, state: torch.Tensor | None = None
    ) -> Iterator[torch.Tensor]:
        """The values of all probes of the family, in their order; the last is x_0 [N, C, H, W].

        Args:
            inputs: of the sampler's graph, on the device of the networks.
            step: gives the probes of this step alone.
            state: what that step starts from, in place of what comes before; None at the first.
        """
        ...

    def modules(self) -> Iterator[tuple[str, nn.Module]]:
        """All modules by the names that their nodes have within a step."""
        ...

    def mapped(self, transform: Callable[[Any], Any]) -> Self:
        """The same sampler with its networks transformed, such as compiled or moved."""
        ...

    def half(self) -> Self:
        """The same sampler with its networks in float16, as far as its authors would; they are changed in place."""
        ...


@dataclass(frozen=True)
class Checkpoint(abc.ABC, Generic[M, S]):
    """A trained model, read from a file.

    Attributes:
        family: whose it is.
        path: the file.
        sha256: of that file, hexadecimal.
        model: the architecture.
        weights: parameter name -> float32 tensor.
        kind: of weights, as far as the file tells.
        stated: names of the training arguments that the file or a config states.
    """

    family: Family
    path: Path
    sha256: str
    model: M
    weights: Mapping[str, torch.Tensor]
    kind: Kind = "as stored"
    stated: Collection[str] = ()

    @property
    def trained_steps(self) -> int | None:
        """The one number of steps that it can be sampled in, where the file or the config tells one."""
        return None

    @abc.abstractmethod
    def choose(self, steps: int | None = None) -> S:
        """How the model is sampled from.

        Args:
            steps: T; None: what the file or the config tells.

        Raises:
            InputError: it contradicts them, is out of range, or nothing tells it.
        """

    @abc.abstractmethod
    def assumed(self, sampling: S) -> tuple[Assumed, ...]:
        """What neither the file nor a config tells."""

    @abc.abstractmethod
    def reference(self, sampling: S) -> Reference:
        """The sampler in PyTorch, on the CPU in float32, in evaluation mode."""


class Family(Protocol):
    """One kind of generators.

    Attributes:
        name: in manifests; of its folder.
        title: in an error.
        model, sampling: its two dataclasses; both are rebuilt from a manifest.
        graphs: the module whose ``GRAPHS`` makes its ONNX graphs; imported by an export alone.
    """

    name: str
    title: str
    model: type[Any]
    sampling: type[Any]
    graphs: str

    def claims(self, contents: Mapping[str, Any]) -> bool:
        """Whether a weight file's contents are of this family."""
        ...

    def read(self, contents: dict[str, Any], path: Path, given: Given) -> Checkpoint[Any, Any]:
        """The model in a weight file.

        Args:
            contents: inert; see `weight_files.reading`.
            path: of the file.
            given: what is known beside it.

        Raises:
            InputError: it is not whole, or contradicts what is given.
        """
        ...

    def sampler(self, model: Any, sampling: Any) -> Sampler:
        """What the graphs take and give."""
        ...

    def probes(self, model: Any, sampling: Any) -> tuple[Probe, ...]:
        """Where the gates look, in running order; the last is x_0."""
        ...

    def facts(self, model: Any, sampling: Any) -> Mapping[str, str]:
        """What tables and the report tell of it: name -> text."""
        ...

    def untrained(self, model: Any, sampling: Any) -> Reference:
        """A sampler with random weights whose values stay of a trained one's size."""
        ...
