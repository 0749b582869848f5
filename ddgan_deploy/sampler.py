"""What an artifact can be asked, as plain data: what it draws from a seed, what else it takes, where its proof looks.

An artifact runs, serves and reports by this alone; the family that it comes from is not asked any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ddgan_deploy.errors import InputError

Precision = Literal["fp32", "fp16", "int8"]
Dtype = Literal["float32", "bfloat16", "float16", "int8"]
"""What products are computed in."""
DTYPES = ("float32", "int64", "uint8")
SMALL_IMAGE = 64
"""Pixels along a side."""
MAX_SWEPT = 16
"""Values of a knob that a report has room for."""
LABEL_STREAM = 2**32 - 1
"""Draws a label."""
_SWEPT_CLASSES = 8
"""That the report shows."""
STAGE_STREAM = 2**32 - 3
"""Draws the seeds of a cascade's later artifacts."""
EXAMPLE_STREAM = 2**32 - 2
"""Draws what a proof or a benchmark gives for a knob that must be given; no image that is served depends on it."""


@dataclass(frozen=True)
class Streams:
    """The Philox streams of what every step draws anew: first, first + step, ..., in running order."""

    first: int
    step: int
    count: int

    def at(self, k: int) -> int:
        """The stream of the k-th step."""
        return self.first + k * self.step


@dataclass(frozen=True)
class Draw:
    """A tensor that is drawn from the seed.

    Attributes:
        name: of the sampler's input.
        shape: of one image's draw, or of one step's where there are several streams.
        streams: of Philox; where there are several, the steps stand before the shape.
        below: 0 for standard normal numbers, float32; n for integers 0..n-1, int64.
    """

    name: str
    shape: tuple[int, ...]
    streams: int | Streams
    below: int = 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the sampler's input, behind the batch."""
        return self.shape if isinstance(self.streams, int) else (self.streams.count, *self.shape)

    @property
    def dtype(self) -> str:
        """Of the sampler's input."""
        return "int64" if self.below else "float32"


@dataclass(frozen=True)
class Knob:
    """What an image is drawn with, beside its seed: an input of both graphs.

    Attributes:
        name: of the input, and of an argument of Python's.
        dtype: "float32", "int64", or "uint8" for an image: [h, w, C] in the served graph, and float32 [C, h, w] in
            [-1, 1] in the sampler's.
        shape: behind the batch, as the served graph has it.
        least, most: of every element.
        default: of every element, where a request leaves the knob out; None where it may not.
        drawn: what stands in place of values below 0.
        tried: values that the gates try beside the default.
        swept: values that the report shows side by side; a picture has none.
        help: a few words for a command line.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    least: float
    most: float
    default: float | None = None
    drawn: Draw | None = None
    tried: tuple[float, ...] = ()
    swept: tuple[float, ...] = ()
    help: str = ""

    @property
    def is_image(self) -> bool:
        """Whether it is a picture, which the two graphs take in different forms."""
        return self.dtype == "uint8"

    @property
    def input_dtype(self) -> str:
        """In the sampler's graph."""
        return "float32" if self.is_image else self.dtype

    @property
    def input_shape(self) -> tuple[int, ...]:
        """In the sampler's graph, behind the batch."""
        return (self.shape[-1], *self.shape[:-1]) if self.is_image else self.shape


@dataclass(frozen=True)
class Sampler:
    """What goes into an artifact's graphs, and what comes out.

    Attributes:
        image: (C, H, W) of x_0 and of an image.
        steps: T, 1 or more.
        draws: what a seed becomes, in the order of the sampler's inputs.
        knobs: what else is taken, after them.

    Raises:
        InputError: two inputs have one name, or a size, a range or a type cannot be.
    """

    image: tuple[int, int, int]
    steps: int
    draws: tuple[Draw, ...]
    knobs: tuple[Knob, ...] = ()

    def __post_init__(self) -> None:
        names = [*(draw.name for draw in self.draws), *(knob.name for knob in self.knobs)]
        if len(set(names)) < len(names) or "seed" in names or not all(names):
            raise InputError(f"the sampler's inputs {', '.join(names)} need names of their own")
        if min(*self.image, self.steps) < 1:
            raise InputError(f"image {list(self.image)} in {self.steps} steps has no size")
        for draw in self.draws:
            count = 1 if isinstance(draw.streams, int) else draw.streams.count
            if min(count, 1, *draw.shape) < 1 or draw.below < 0:
                raise InputError(f"{draw.name} {list(draw.input_shape)} has no size")
        for knob in self.knobs:
            _check(knob)

    @property
    def is_small(self) -> bool:
        """Whether several images at once cost little."""
        return max(self.image[1:]) <= SMALL_IMAGE

    def inputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The inputs of the sampler's graph: name -> dtype and shape behind the batch."""
        return {
            **{draw.name: (draw.dtype, draw.input_shape) for draw in self.draws},
            **{knob.name: (knob.input_dtype, knob.input_shape) for knob in self.knobs},
        }

    def served_inputs(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """The inputs of the served graph: name -> dtype and shape behind the batch."""
        return {"seed": ("int64", (1,)), **{knob.name: (knob.dtype, knob.shape) for knob in self.knobs}}


def label_knob(classes: int) -> Knob:
    """The class of an image, drawn from the seed unless it is asked for.

    Args:
        classes: how many there are, 1 or more.
    """
    drawn = Draw("label", (1,), LABEL_STREAM, below=classes)
    last = classes - 1
    swept = tuple(range(min(classes, _SWEPT_CLASSES)))
    return Knob("label", "int64", (1,), -1, last, default=-1, drawn=drawn, tried=(0, last), swept=swept, help="class")


def _check(knob: Knob) -> None:
    values = [] if knob.default is None else [knob.default]
    if not (knob.name.isascii() and knob.name.isidentifier()):
        raise InputError(f"a knob cannot be named {knob.name!r}: give letters, digits and underscores")
    if knob.dtype not in DTYPES or (knob.is_image and len(knob.shape) != 3) or min(1, *knob.shape) < 1:
        raise InputError(f"{knob.name} is no input: {knob.dtype} {list(knob.shape)}")
    values += [*knob.tried, *knob.swept]
    if not knob.least <= knob.most or any(not knob.least <= value <= knob.most for value in values):
        raise InputError(f"{knob.name} has values out of its range {knob.least:g}..{knob.most:g}")
    if knob.swept and knob.is_image:
        raise InputError(f"{knob.name} is a picture: a report cannot show it value by value")
    if len(knob.swept) > MAX_SWEPT or (knob.dtype != "float32" and any(value % 1 for value in knob.swept)):
        raise InputError(f"{knob.name} cannot be swept over {list(knob.swept)}: give {MAX_SWEPT} {knob.dtype} at most")


@dataclass(frozen=True)
class Probe:
    """A value inside the sampler's graph that the gates compare with the reference's.

    Attributes:
        place: where it is, such as "step 2 (t=1)"; empty where there are no steps.
        value: what it is, such as "x0"; with the place it is the name of the gate.
        node: whose first output it is, by its name in the sampler's graph.
        step: k in running order; None where there are no steps.
        series: what is told together along the steps; empty: the value's own name.
        scale: by how much fp32's limit is wider than for values that nothing has amplified.
        psnr: precision -> dB, where another limit than the general one holds.
        state: whether the next step starts from it.
        shown: whether it is a picture that a person looks at, [batch, C, H, W].
    """

    place: str
    value: str
    node: str
    step: int | None = None
    series: str = ""
    scale: float = 1.0
    psnr: Mapping[Precision, float] = field(default_factory=dict)
    state: bool = False
    shown: bool = False

    @property
    def name(self) -> str:
        """Of the gate."""
        return f"{self.place} {self.value}".strip()

    @property
    def column(self) -> str:
        """What it is listed under."""
        return self.series or self.value
