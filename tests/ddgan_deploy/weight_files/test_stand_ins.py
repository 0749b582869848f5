"""NumPy's numbers and paths in training arguments are read as numbers and texts; nothing else is, and nothing runs."""

from __future__ import annotations

import argparse
import datetime
import enum
import pathlib
import re
from typing import Any

import numpy as np
import pytest
import torch

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.weight_files import torch_file
from ddgan_deploy.weight_files.reading import read
from ddgan_deploy.weight_files.stand_ins import MAX_ITEMS
from tests.ddgan_deploy.families.ddgan.tiny import EMA, holds, refusal, training_state
from tests.ddgan_deploy.weight_files.golden_files import saved


def read_back(folder: pathlib.Path, value: object, **kwargs: Any) -> Any:
    return read(saved(folder, {"args": value}, **kwargs))["args"]


class Color(enum.Enum):
    RED = 1


class Foreign:
    """A class of the training code, which we do not have."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.1),
        np.float32(20),
        np.float16(2),
        np.int64(-3),
        np.uint8(255),
        np.bool_(True),
        np.str_("ünï"),
        np.array(2),
        np.array(0.5, dtype=">f4"),
        np.array(True),
        np.array("ab"),
        np.array([2]),
        np.array([1.5, 2.5]),
        np.array([[1, 2], [3, 4]], order="F"),
        np.array(["a", "bc"]),
        np.arange(3, dtype=">i4"),
        np.zeros((2, 0)),
        np.arange(6)[::2],
    ],
    ids=repr,
)
def test_numbers_and_arrays(tmp_path, value, zipped):
    ours = read_back(tmp_path, value, _use_new_zipfile_serialization=zipped)
    assert ours == value.tolist()
    assert not isinstance(ours, np.generic)
    assert isinstance(ours, list) or type(ours) is type(value.item())


def test_arrays_of_no_axes_are_numbers_wherever_they_are(tmp_path):
    two = np.array(2)
    shared = [two, (two, [two])]
    value = argparse.Namespace(a=two, b={"c": two}, d=(1, (two, shared)), e=shared, f=np.array([2]))
    ours = read_back(tmp_path, value)
    assert vars(ours) == {"a": 2, "b": {"c": 2}, "d": (1, (2, [2, (2, [2])])), "e": [2, (2, [2])], "f": [2]}
    assert type(ours.a) is int


def test_an_argument_that_is_an_array_of_no_axes(tmp_path):
    path = saved(tmp_path, training_state(num_timesteps=np.array(4), beta_max=np.array(15.5)))
    assert load_checkpoint(path).training_args == {"num_timesteps": 4, "beta_max": 15.5}


def test_tuples_that_hold_the_same_tuple_many_times_take_no_time(tmp_path):
    value: Any = (np.array(2),)
    for _ in range(90):
        value = (value, value)
    ours = read_back(tmp_path, value)
    for _ in range(90):
        ours = ours[0]
    assert ours == (2,)


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_the_names_of_both_versions_of_numpy(tmp_path, module):
    path = saved(tmp_path, {"args": [np.float64(0.5), np.ones(2)]}, _use_new_zipfile_serialization=False)
    content = re.sub(rb"numpy\.(_core|core)\.multiarray", module.encode(), path.read_bytes())
    assert module.encode() + b"\nscalar" in content and module.encode() + b"\n_reconstruct" in content
    path.write_bytes(content)
    assert read(path)["args"] == [0.5, [1, 1]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pathlib.PurePosixPath("/data/faces"), "/data/faces"),
        (pathlib.Path("runs/1"), "runs/1"),
        (pathlib.PureWindowsPath(r"C:\data\faces"), r"C:\data\faces"),
    ],
)
def test_paths_are_texts(tmp_path, value, text):
    assert read_back(tmp_path, value) == text


def test_a_training_state_with_them_gives_its_averages_and_arguments(tmp_path):
    args = {
        "num_timesteps": np.int64(4),
        "beta_max": np.float64(15.5),
        "image_size": np.int32(16),
        "ch_mult": np.array([1, 2]),
        "datadir": pathlib.PurePosixPath("/data"),
        "not_use_tanh": np.bool_(True),
    }
    checkpoint = load_checkpoint(saved(tmp_path, training_state(**args)))
    assert holds(checkpoint, EMA)
    assert checkpoint.training_args == {"num_timesteps": 4, "beta_max": 15.5}
    assert checkpoint.model.not_use_tanh is True


def test_an_empty_array_that_is_long_stays_unread(tmp_path):
    assert read_back(tmp_path, np.zeros((1 << 40, 0))) == []


def test_a_large_array_stays_unread(tmp_path):
    assert read_back(tmp_path, np.zeros(MAX_ITEMS + 1)) == []


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Color.RED, "Color"),
        (Foreign(), "Foreign"),
        (datetime.datetime(2026, 1, 1), "datetime.datetime"),
        (np.datetime64("2026-01-01"), "numpy.dtype('M8')"),
        (np.array([Foreign()]), "numpy.dtype('O8')"),
        (np.complex64(1), "numpy.dtype('c8')"),
    ],
    ids=["enum", "object", "datetime", "datetime64", "array of objects", "complex"],
)
def test_other_values_are_named_with_advice_that_keeps_the_averages(tmp_path, value, says):
    message = refusal(saved(tmp_path, training_state(custom=value)))
    assert "holds pickled code (" in message and says in message and "never run" in message
    assert "optimizerG (which has the EMA weights)" in message
    assert "netG.state_dict()" not in message


def test_a_whole_network_is_told_to_save_its_state_dict(tmp_path):
    assert "torch.save(netG.state_dict(), ...)" in refusal(saved(tmp_path, Foreign()))


class Chain:
    """Bytes that double with every codec."""

    def __init__(self, count: int, codec: str) -> None:
        self.count, self.codec = count, codec

    def __reduce__(self) -> tuple[Any, ...]:
        import _codecs

        return _codecs.encode, (Chain(self.count - 1, self.codec) if self.count else b"x", self.codec)


@pytest.mark.parametrize("codec", ["hex", "HEX_codec", "hex codec", "base64", "bz2"])
def test_codecs_do_not_make_gigabytes_of_bytes(tmp_path, codec, monkeypatch):
    path = saved(tmp_path, {"args": Chain(40, codec)})
    # It would take all memory.
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it is read"))
    assert "encoded as no text is" in refusal(path)


def test_texts_that_are_codecs_pass_where_nothing_is_encoded(tmp_path):
    assert read_back(tmp_path, ["hex", "zip"]) == ["hex", "zip"]


def test_the_globals_of_a_process_are_left_as_they_were(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    read_back(tmp_path, np.float64(1))
    assert set(torch.serialization.get_safe_globals()) == before
    assert torch_file.safe_globals()
