"""Pickles put together by hand, opcode by opcode."""

from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path

import pytest
import torch

from ddgan_deploy.errors import InputError
from ddgan_deploy.weight_files.reading import read


def plain(value: object) -> bytes:
    """The opcodes of a value of Python's own kinds."""
    # Of protocol 3, as that has no frames; without PROTO and STOP.
    return pickle.dumps(value, protocol=3)[2:-1]


def named(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def dotted(module: str, name: str) -> bytes:
    """A name that may have dots, from protocol 4 on."""
    return plain(module) + plain(name) + b"\x93"


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(name: str, *arguments: bytes) -> bytes:
    return named(name) + tuple_of(*arguments) + b"R"


def dict_of(**items: bytes) -> bytes:
    return b"}(" + b"".join(plain(key) + value for key, value in items.items()) + b"u"


def built(name: str, **state: bytes) -> bytes:
    """An object of a class with its attributes."""
    return named(name) + b")\x81" + dict_of(**state) + b"b"


def file(content: bytes, protocol: int = 3) -> bytes:
    return b"\x80" + bytes([protocol]) + content + b"."


def snapshot(content: bytes) -> bytes:
    return file(dict_of(G_ema=content))


def stream(numbers: torch.Tensor) -> bytes:
    """What a pickle of a tensor has of its storage."""
    written = io.BytesIO()
    storage = torch.storage.TypedStorage(wrap_storage=numbers.untyped_storage(), dtype=numbers.dtype, _internal=True)
    torch.save(storage, written, _use_new_zipfile_serialization=False)
    return written.getvalue()


def stored(content: bytes) -> bytes:
    return call("torch.storage._load_from_bytes", plain(content))


def tensor(content: bytes, shape: tuple[int, ...], strides: tuple[int, ...], first: int = 0) -> bytes:
    """Of a storage's opcodes."""
    hooks = call("collections.OrderedDict")
    return call("torch._utils._rebuild_tensor_v2", content, *map(plain, (first, shape, strides, False)), hooks)


def module(parameters: bytes = b"}", modules: bytes = b"}") -> bytes:
    return built("torch.nn.modules.module.Module", _parameters=parameters, _buffers=b"}", _modules=modules)


def huge(opcode: bytes, size: int) -> bytes:
    """A text, or bytes, of eight bytes of length, which nothing follows."""
    return opcode + struct.pack("<Q", size)


def refusal(folder: Path, content: bytes) -> str:
    path = folder / "network-snapshot.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.isprintable()
    assert str(path) in message
    assert len(message) < 500
    return message
