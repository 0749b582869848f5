"""What every engine does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.inputs import Array, Inputs


class Engine(Protocol):
    """An opened artifact on one runtime; as a context manager it closes itself.

    Several threads may share one.

    Attributes:
        name: the runtime, as in ``ddgan-bench`` tables.
        artifact: what it runs.
    """

    name: str
    artifact: Artifact

    def sample(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """x_0 [N, C, H, W] from the sampler's inputs; see `inputs.draw`."""
        ...

    def generate(self, seeds: Sequence[int], **knobs: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Images [N, H, W, C] of the seeds, in their order.

        Args:
            seeds: N integers.
            knobs: of the artifact, where others than the defaults are wanted: one value, or one for each seed.

        Raises:
            InputError: there are no seeds, one is no 64-bit integer, or a knob is unknown or out of its range.
        """
        ...

    def close(self) -> None:
        """Frees what the engine holds; closing it again does nothing."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class OpTime(NamedTuple):
    """What a node took in one run.

    Attributes:
        name: of the node.
        op_type: and, where the runtime tells, its kernel.
        ms: milliseconds.
        shape: of its first output; None where the runtime does not tell.
    """

    name: str
    op_type: str
    ms: float
    shape: tuple[int, ...] | None = None


@runtime_checkable
class Probing(Protocol):
    """An engine that tells values inside its sampler.

    Attributes:
        nodes: the names of the sampler's nodes, in running order.
    """

    @property
    def nodes(self) -> Sequence[str]: ...

    def probe(self, inputs: Inputs, nodes: Sequence[str], states: Mapping[str, Array] | None = None) -> list[Array]:
        """The first outputs of nodes, as float32, in one run.

        Args:
            inputs: as of `Engine.sample`.
            nodes: by their names in the sampler's graph.
            states: what readers of a node's first output get instead of it, by the node's name.
        """
        ...


@runtime_checkable
class Profiling(Protocol):
    """An engine that tells what its nodes take."""

    def profile(self, inputs: Inputs) -> list[OpTime]:
        """Of every node in one run."""
        ...
