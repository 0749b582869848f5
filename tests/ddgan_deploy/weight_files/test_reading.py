"""A file is read whole, or refused in one line that names the thing; nothing in it ever runs."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.errors import InputError
from tests.ddgan_deploy.weight_files.golden_files import (
    NET_G,
    STATE,
    refusal,
    saved,
    silent,
    training_state,
    written,
)

_silent = pytest.fixture(autouse=True)(silent)


# Files that are no checkpoint.


def test_absent_file(tmp_path):
    assert "does not exist" in refusal(tmp_path / "netG.pth")


def test_folder(tmp_path):
    assert "is a folder" in refusal(tmp_path)


def test_file_as_if_it_were_a_folder(tmp_path):
    assert "cannot be read" in refusal(written(tmp_path, b"x") / "netG.pth")


def test_link_to_itself(tmp_path):
    path = tmp_path / "netG.pth"
    path.symlink_to(path)
    assert "cannot be read" in refusal(path)


def test_name_that_no_file_can_have(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_checkpoint(tmp_path / ("x" * 300))


def test_reading_that_fails_half_way(monkeypatch, tmp_path):
    def unreadable(self: Path, *args: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", unreadable)
    assert "cannot be read (Permission denied)" in refusal(NET_G)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"epoch 1200, loss 0.3\n" * 20, ""),
        (b"{}", ""),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(200), ""),
        (random.Random(0).randbytes(5000), ""),
        (bytes(5000), ""),
        (b"\x80", ""),
        (b"PK\x03\x04", ""),
        (b"\xff" * 64, ""),
    ],
    ids=["empty", "text", "json", "png", "random", "zeros", "pickle-start", "zip-start", "ones"],
)
def test_other_content(tmp_path, content, says, suffix):
    message = refusal(written(tmp_path, content, f"netG{suffix}"))
    assert (says or "damaged") in message


def test_other_zip_archive(tmp_path):
    path = tmp_path / "netG.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "damaged or not a PyTorch checkpoint" in refusal(path)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_archive(tmp_path):
    path = tmp_path / "netG.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    assert "compressed records (TorchScript?)" in refusal(path)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_truncated_at_any_length(tmp_path, form):
    whole = saved(tmp_path, STATE, _use_new_zipfile_serialization=form == "zip").read_bytes()
    path = tmp_path / "cut.pth"
    few = [*range(0, 64, 7), *range(64, 4000, 307)]
    for length in [*few, *range(4000, len(whole), len(whole) // 25), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert "never run" not in (message := refusal(path)) or form == "legacy"
        assert "damaged" in message or "empty" in message or "never run" in message


def test_damaged_bytes_end_in_a_line_or_in_other_weights(tmp_path):
    whole = saved(tmp_path, {"module.x": torch.ones(3)}, _use_new_zipfile_serialization=False).read_bytes()
    rng = random.Random(7)
    path = tmp_path / "flipped.pth"
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3, 20])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        refusal(path)


@pytest.mark.parametrize("damage", ["truncated", "header", "length", "offsets", "dtype"])
def test_damaged_safetensors(tmp_path, damage):
    path = tmp_path / "netG.safetensors"
    save_file(dict(STATE), path)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    entry = header[next(iter(STATE))]
    if damage == "offsets":
        entry["data_offsets"] = [0, 1]
    elif damage == "dtype":
        entry["dtype"] = "F32X"
    text = json.dumps(header).encode()
    changed = {
        "truncated": content[:-100],
        "header": content[:20] + b"\x00" + content[21:],
        "length": (2**62).to_bytes(8, "little") + content[8:],
        "offsets": len(text).to_bytes(8, "little") + text + content[8 + size :],
        "dtype": len(text).to_bytes(8, "little") + text + content[8 + size :],
    }[damage]
    assert "damaged" in refusal(written(tmp_path, changed, path.name))


# Pickled code.


class Payload:
    """Runs a command when it is unpickled by anything that trusts it."""

    def __init__(self, sentinel: Path) -> None:
        self.command = f"touch {sentinel}"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (self.command,)


class Foreign:
    """A class of the training code, which we do not have."""


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_bare_pickled_code_never_runs(tmp_path, protocol):
    sentinel = tmp_path / "ran"
    refusal(written(tmp_path, pickle.dumps(Payload(sentinel), protocol)))
    assert not sentinel.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "place",
    [
        lambda payload: payload,
        lambda payload: {**STATE, "module.extra": payload},
        lambda payload: {"netG_dict": STATE, "args": payload},
        lambda payload: {**training_state(), "args": argparse.Namespace(num_timesteps=payload)},
    ],
    ids=["alone", "among the weights", "as args", "within args"],
)
def test_pickled_code_in_a_checkpoint_never_runs(tmp_path, place, zipped):
    sentinel = tmp_path / "ran"
    path = saved(tmp_path, place(Payload(sentinel)), _use_new_zipfile_serialization=zipped)
    message = refusal(path)
    assert "pickled code (posix.system), which is never run" in message
    assert not sentinel.exists()


def test_the_payload_of_these_tests_would_run(tmp_path):
    sentinel = tmp_path / "ran"
    pickle.loads(pickle.dumps(Payload(sentinel)))
    assert sentinel.exists()


def test_code_in_a_safetensors_file_never_runs(tmp_path):
    sentinel = tmp_path / "ran"
    refusal(written(tmp_path, pickle.dumps(Payload(sentinel)), "netG.safetensors"))
    assert not sentinel.exists()


def test_args_with_a_class_of_the_training_code(tmp_path):
    state = training_state()
    state["args"].logger = Foreign()
    assert "Foreign" in refusal(saved(tmp_path, state))
