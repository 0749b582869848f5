"""The inputs of the served models, as ``config.pbtxt`` has them."""

from __future__ import annotations

from dataclasses import dataclass

from ddgan_deploy.inputs import examples, served_inputs
from ddgan_deploy.sampler import Sampler
from ddgan_deploy.serving.knobs import TYPES


@dataclass(frozen=True)
class ServedInput:
    """The seed, or a knob.

    Attributes:
        dims: behind the batch.
        optional: whether a request may do without it.
        example: its bytes for one image.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]
    optional: bool
    example: bytes

    def type(self) -> str:
        """Its type and dims."""
        return f"data_type: {TYPES[self.dtype]} dims: [ {', '.join(map(str, self.dims))} ]"

    def tensor(self, prefix: str = "") -> str:
        """The whole; with a prefix it is the output, or an input, that tells what an image was drawn from."""
        optional = " optional: true" if self.optional and not prefix else ""
        return f'{{ name: "{prefix}{self.name}" {self.type()}{optional} }}'


def inputs_of(sampler: Sampler, may_lack: bool) -> tuple[ServedInput, ...]:
    """The inputs of the served graph.

    Args:
        sampler: what it takes.
        may_lack: whether the backend knows what to put in where a request leaves a knob out.
    """
    left_out = {knob.name for knob in sampler.knobs if may_lack and knob.default is not None}
    values = served_inputs(sampler, [0], examples(sampler.knobs, [0]))
    return tuple(
        ServedInput(name, value.dtype.name, value.shape[1:], name in left_out, value.tobytes())
        for name, value in values.items()
    )
