"""The command and the curl line that draw what is on the screen, as a shell takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.inputs import Array, Knobs, rows, seed_array, seed_ranges, served_knobs
from ddgan_deploy.knob_flags import argument
from ddgan_deploy.sampler import Knob
from ddgan_deploy.serving import curl


def given(known: Sequence[Knob], values: Mapping[str, Any]) -> dict[str, npt.ArrayLike]:
    """Of all knobs those that are not at their defaults, which are left out of commands.

    Args:
        known: all that there are.
        values: of the page's controls, by name; None where one is empty, which stands for the default.
    """
    told = {name: value for name, value in values.items() if value is not None}
    return {knob.name: told[knob.name] for knob in known if knob.name in told and _differs(knob, told[knob.name])}


def named(knobs: Knobs) -> list[str]:
    """Knobs that are given, for a reader."""
    return [name if np.ndim(value) else f"{name} {_number(value)}" for name, value in knobs.items()]


def sample_command(arguments: str, seeds: Sequence[int], knobs: Knobs, *others: str) -> str:
    """The line of ddgan-sample that draws the same into ``grid.png``.

    Args:
        arguments: of the source.
        seeds: from 0 on.
        knobs: that are given; a picture is in a file NAME.npz.
        others: further arguments.
    """
    told = [argument(name, f"{name}.npz" if np.ndim(value) else _number(value)) for name, value in knobs.items()]
    words = ["ddgan-sample", arguments, f"--seeds {seed_ranges(seeds)}", *told, *others, "--out grid.png"]
    return " ".join(words)


def requests(known: Sequence[Knob], batch: int, seeds: Sequence[int], knobs: Knobs) -> list[str]:
    """The bodies of the requests that ask a server for the same.

    Args:
        known: all knobs.
        batch: seeds in a request at most.
        seeds, knobs: as of `sample_command`.
    """
    words = seed_array(seeds)
    values: dict[str, Array] = served_knobs([knob for knob in known if knob.name in knobs], len(words), knobs)
    batches = [slice(start, start + batch) for start in range(0, len(words), batch)]
    return [curl.request(words[batch], rows(values, batch)) for batch in batches]


def curl_lines(url: str, bodies: Mapping[str, str], in_files: bool) -> str:
    """A line for each request.

    Args:
        url: of the server.
        bodies: of the requests, by the names of their files.
        in_files: whether they are read from these, as those with a picture are, which are long.
    """
    return "\n".join(curl.line(url, f"@{name}" if in_files else body) for name, body in bodies.items())


def body_names(count: int) -> list[str]:
    """The files of requests."""
    return ["request.json"] if count == 1 else [f"request-{number}.json" for number in range(1, count + 1)]


def _differs(knob: Knob, value: Any) -> bool:
    return knob.is_image or value != knob.default


def _number(value: Any) -> str:
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)
