"""Tensors as a pickle of a network has them: the bytes of their storages, and how a tensor lies in one."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddgan_deploy.errors import InputError
from ddgan_deploy.weight_files.objects import Named, Saved
from ddgan_deploy.weight_files.snapshot.allowance import Allowance
from ddgan_deploy.weight_files.snapshot.machine import Machine

if TYPE_CHECKING:
    import torch

MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
"""What every file in PyTorch's older form begins with: two pickles."""
_DTYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexDouble": "complex128",
    "ComplexFloat": "complex64",
}
"""By the class of a storage: ``torch.FloatStorage``, or ``torch.cuda.FloatStorage``, and so on."""
_COUNT = 8
"""Bytes in which a storage's number of items is written."""
_MAX_DIMENSIONS = 64
_MAX_SIZE = (1 << 63) - 1


@dataclass(frozen=True, eq=False)
class Storage:
    """What several tensors may lie in.

    Attributes:
        numbers: one dimension, dense, on the CPU; of uint8 where it is untyped.
    """

    numbers: torch.Tensor


@dataclass(frozen=True)
class _Header:
    kind: str
    key: str
    count: int


class _OlderForm:
    """The `machine.Makers` of pickles that hold one storage and no object."""

    def named(self, module: str, name: str, offset: int) -> Named:
        return Named(f"{module}.{name}"[:200], offset)

    def persistent(self, identity: object, offset: int) -> _Header:
        # What is no text may take for ever to compare.
        match identity:
            case ("storage", Named(kind=kind), str(key), _, int(count)):
                return _Header(kind, key, count)
            case ("storage", Named(kind=kind), str(key), _, int(count), None):
                return _Header(kind, key, count)
        raise ValueError

    def called(self, what: object, arguments: tuple[Any, ...], offset: int) -> Any:
        raise ValueError

    created = called

    def state_set(self, target: object, state: object, offset: int) -> Any:
        raise ValueError


def storage(content: object, offset: int, allowance: Allowance) -> Storage | Saved:
    """A storage out of what ``torch.save`` has written of it in PyTorch's older form, whichever device it was on.

    Args:
        content: bytes.
        offset: of the object in the file, in bytes.
        allowance: of the file.

    Returns:
        A `Saved` without a state where it is of a class that no dense tensor has, such as quantized numbers.

    Raises:
        InputError: it is damaged, of another form, or written by a machine with the other order of bytes.
    """
    if not isinstance(content, bytes):
        raise InputError(f"is damaged, the tensor at byte {offset} has no bytes: copy it again")
    file = io.BytesIO(content)

    def pickled() -> Any:
        return Machine(file, len(content), _OlderForm(), allowance).run()

    try:
        magic, version, system, header, keys = (pickled() for _ in range(5))
        is_sound = (magic, version) == (MAGIC, _VERSION) and isinstance(header, _Header) and keys == [header.key]
        count = int.from_bytes(file.read(_COUNT), "little", signed=True)
        is_sound = is_sound and count == header.count >= 0
        is_little = system["little_endian"]
    except InputError as error:
        if allowance.opcodes < 0:
            raise
        raise InputError(f"is damaged, in the tensor at byte {offset}: copy it again") from error
    except Exception:  # what is no such stream ends in an error of almost any type
        is_sound, is_little = False, True
    if not is_sound:
        raise InputError(f"is damaged, the tensor at byte {offset} is not as torch.save writes it: copy it again")
    if is_little is not True:
        raise InputError(f"has a tensor in big-endian order at byte {offset}: save it anew on a little-endian machine")
    dtype = _dtype(header.kind)
    if dtype is None:
        return Saved(header.kind, offset)
    begin = file.tell()
    size = count * dtype.itemsize
    if size > len(content) - begin:
        raise InputError(f"is damaged, the tensor at byte {offset} claims more bytes than it has: copy it again")
    allowance.copy(size)
    return Storage(_numbers(memoryview(content)[begin : begin + size], dtype))


def _dtype(kind: str) -> torch.dtype | None:
    import torch

    package, _, name = kind.rpartition(".")
    if name == "UntypedStorage":
        return torch.uint8
    known = _DTYPES.get(name.removesuffix("Storage")) if package in ("torch", "torch.cuda") else None
    return getattr(torch, known) if known else None


def _numbers(content: memoryview, dtype: torch.dtype) -> torch.Tensor:
    import torch

    if not content:
        return torch.empty(0, dtype=dtype)
    return torch.frombuffer(bytearray(content), dtype=dtype)


def tensor(arguments: tuple[Any, ...], offset: int, dtype: object = None) -> torch.Tensor | Saved:
    """A tensor, as ``torch._utils._rebuild_tensor`` and its successors make it.

    Args:
        arguments: a storage, where the tensor begins in it, its shape and its strides, in numbers; more are ignored.
        offset: of the object in the file, in bytes.
        dtype: the name of one, where the storage has none.

    Raises:
        InputError: it reaches beyond its storage.
    """
    import torch

    if arguments and isinstance(arguments[0], Saved):
        return Saved("torch.Tensor", offset, arguments=arguments)
    match arguments:
        case (Storage(numbers=numbers), int(first), tuple(shape), tuple(strides), *_) if len(shape) == len(
            strides
        ) <= _MAX_DIMENSIONS and all(
            type(size) is int and 0 <= size <= _MAX_SIZE for size in (first, *shape, *strides)
        ):
            try:
                if isinstance(dtype, Named):
                    numbers = numbers.view(_named_dtype(dtype))
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return torch.as_strided(numbers, shape, strides, first)
            except Exception:  # also what PyTorch says of products that no number holds
                pass
    raise InputError(f"is damaged, the tensor at byte {offset} reaches beyond its numbers: copy it again")


def _named_dtype(dtype: Named) -> torch.dtype:
    import torch

    package, _, name = dtype.kind.rpartition(".")
    found = {str(known): known for known in vars(torch).values() if isinstance(known, torch.dtype)}
    return found[f"{package}.{name}"]
