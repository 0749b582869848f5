"""Arrays to and from the python backend, by DLPack.

The stub of Triton Inference Server 2.51 reads NumPy arrays by the memory layout of NumPy 1: under NumPy 2 it sees
wrong sizes. DLPack's layout is its own. BYTES, which DLPack has not, go as blocks whose size is right in either layout.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK = 16
"""Bytes that a BYTES tensor must be a multiple of, with the length of 4 bytes before every element."""
_LENGTH = struct.Struct("<I")
# NumPy 2 keeps an item's size 8 bytes behind where NumPy 1 did, and there the type's flags: those of a
# record are 16, so a record of 16 bytes has the same size in both.
_BLOCKS = np.dtype([("block", f"V{BLOCK}")])
_USED = b"used_dltensor"
_set_capsule_name = ctypes.pythonapi.PyCapsule_SetName
_set_capsule_name.argtypes = [ctypes.py_object, ctypes.c_char_p]
_set_capsule_name.restype = ctypes.c_int


class _Lent:
    """An array whose DLPack capsule stays at hand."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array
        self.capsule: Any = None

    def __dlpack_device__(self) -> tuple[Any, Any]:
        return self._array.__dlpack_device__()

    def __dlpack__(self, **kwargs: Any) -> Any:
        self.capsule = self._array.__dlpack__()
        return self.capsule


def from_tensor(tensor: Any) -> npt.NDArray[Any]:
    """The content of a ``pb_utils.Tensor``, without a copy."""
    return np.from_dlpack(tensor)


@dataclass(frozen=True)
class Input:
    """A tensor that a request brings, as the model's configuration has it; the batch comes before ``dims``.

    Attributes:
        strict: whether another shape is refused, instead of read as the batch that its data make.
    """

    name: str
    dims: tuple[int, ...]
    optional: bool
    strict: bool

    def read(self, server: Any, request: Any) -> npt.NDArray[Any] | None:
        """The tensor [n, *dims], n >= 1; None where the request may do without it and does.

        Raises:
            ValueError: it cannot be read, or has another shape. The server itself checks most of that, but not a batch
                of 2^32, which 2.51 takes for one of 0 and passes on without a batch.
        """
        tensor = server.get_input_tensor_by_name(request, self.name)
        if tensor is None and self.optional:
            return None
        if tensor is None:
            # With optional inputs 2.51 counts a request's inputs, and no more.
            raise ValueError(f"input {self.name} must be given")
        try:
            array = from_tensor(tensor)
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"input {self.name} cannot be read: {error}") from None
        if not self.strict:
            return array.reshape(-1, *self.dims)
        if array.shape[1:] != self.dims or array.size == 0:
            right = f"[batch, {', '.join(map(str, self.dims))}] with a batch of 1 or more"
            raise ValueError(f"input {self.name} has shape {list(array.shape)}: give {right}")
        return array


def to_tensor(server: Any, name: str, array: npt.NDArray[Any]) -> Any:
    """An array as a ``pb_utils.Tensor``.

    Args:
        server: the module ``triton_python_backend_utils``.
        name: of the output.
        array: of any type but BYTES.
    """
    # NumPy lends only what may be written to.
    lent = _Lent(np.require(array, requirements=("C", "W")))
    tensor = server.Tensor.from_dlpack(name, lent)
    # DLPack's consumer marks a capsule as used by this name; the stub takes another, and NumPy then
    # complains on the server's log at every answer.
    _set_capsule_name(lent.capsule, _USED)
    return tensor


def to_bytes_tensor(server: Any, name: str, values: Sequence[bytes]) -> Any:
    """Byte strings as a BYTES tensor [n, 1].

    Args:
        server: the module ``triton_python_backend_utils``.
        name: of the output.
        values: each with its length before it must fill whole blocks, as `padding` tells.
    """
    server.serialize_byte_tensor = serialize
    array = np.empty((len(values), 1), object)
    array[:, 0] = values
    return server.Tensor(name, array)


def serialize(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Each element with its length before it (Triton's binary form of BYTES), as an array of blocks."""
    data = b"".join(_LENGTH.pack(len(value)) + value for value in values.ravel())
    return np.frombuffer(data, _BLOCKS)


def padding(length: int) -> int:
    """Bytes that an element of a length lacks to whole blocks, 0..15."""
    return -(length + _LENGTH.size) % BLOCK
