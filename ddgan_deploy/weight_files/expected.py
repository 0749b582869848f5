"""Whether a file has exactly the weights that an architecture has."""

from __future__ import annotations

from collections.abc import Mapping

from ddgan_deploy.errors import InputError

Shapes = Mapping[str, tuple[int, ...]]


def check_shapes(shapes: Shapes, expected: Shapes) -> None:
    """Refuses what is missing, of another shape, or left over.

    Args:
        shapes: of the file's weights, by name.
        expected: of the architecture's.

    Raises:
        InputError: there is such a weight; the first is named.
    """
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
