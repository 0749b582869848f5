"""What every engine does."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.noise import Noise


class Engine(Protocol):
    """An opened artifact on one runtime; as a context manager it closes itself.

    Several threads may share one.

    Attributes:
        name: the runtime, as in ``ddgan-bench`` tables.
        artifact: what it runs.
    """

    name: str
    artifact: Artifact

    def sample(self, noise: Noise) -> npt.NDArray[np.float32]:
        """x_0 [N, C, H, W] from given noise."""
        ...

    def generate(self, seeds: Sequence[int]) -> npt.NDArray[np.uint8]:
        """Images [N, H, W, C] of the seeds, in their order.

        Raises:
            InputError: there are no seeds, or one is no 64-bit integer.
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


def feeds(noise: Noise) -> dict[str, npt.NDArray[np.float32]]:
    """The sampler's inputs; a one-step sampler takes no ``noise``."""
    inputs = {"x_T": noise.x_T, "z": noise.z, "noise": noise.noise}
    return inputs if noise.noise.shape[1] else {name: inputs[name] for name in ("x_T", "z")}
