"""Tensors as the python backend's stub sees them."""

from __future__ import annotations

import ctypes
import struct
import sys

import numpy as np
import pytest

from ddgan_deploy.serving.backend.dlpack import from_tensor, padding, serialize, to_bytes_tensor, to_tensor
from tests.ddgan_deploy.serving.backend import fake_backend_utils as fake

_ITEM_SIZE_OF_NUMPY_1 = 32
"""Where the stub looks for an item's size: behind the object's head, one pointer, 4 characters and an int."""


def test_bytes_have_the_same_size_in_the_layouts_of_both_numpys():
    values = np.array([[b"x" * 12], [b"y" * 28]], object)
    blocks = serialize(values)
    seen_by_the_stub = ctypes.c_int.from_address(id(blocks.dtype) + _ITEM_SIZE_OF_NUMPY_1).value
    assert blocks.size * seen_by_the_stub == blocks.nbytes == 48
    assert blocks.tobytes() == struct.pack("<I", 12) + b"x" * 12 + struct.pack("<I", 28) + b"y" * 28


@pytest.mark.parametrize("length", range(40))
def test_padding_fills_the_last_block(length):
    assert (length + padding(length) + 4) % 16 == 0 and 0 <= padding(length) < 16


def test_the_stub_serializes_by_ours():
    tensor = to_bytes_tensor(fake, "png", [b"a" * 12, b"b" * 12])
    assert fake.serialize_byte_tensor is serialize
    assert tensor.array.shape == (2, 1) and tensor.array[1, 0] == b"b" * 12


@pytest.mark.parametrize("array", [np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1), np.ones((2, 4, 4, 3), np.uint8)])
def test_arrays_arrive(array):
    tensor = to_tensor(fake, "image", array[:, ::-1])
    assert tensor.name == "image"
    np.testing.assert_array_equal(tensor.array, array[:, ::-1])


def test_a_capsule_that_was_taken_makes_no_complaint(monkeypatch):
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)

    class Stub(fake.Tensor):
        @staticmethod
        def from_dlpack(name, lent):
            capsule = lent.__dlpack__()
            ctypes.pythonapi.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
            ctypes.pythonapi.PyCapsule_SetName(capsule, Stub.used)
            return fake.Tensor(name, np.array(lent._array))

        used = b"used_dlpack"

    class Server:
        Tensor = Stub

    to_tensor(Server, "image", np.zeros((1, 2), np.uint8))
    assert not complaints


def test_inputs_are_read_without_a_copy():
    seeds = np.arange(3, dtype=np.int64)[:, None]
    assert np.shares_memory(from_tensor(fake.Tensor("seed", seeds)), seeds)
