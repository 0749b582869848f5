"""Whatever has happened to a file: it gives a checkpoint, or an error of one line."""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from ddgan_deploy.checkpoint import Checkpoint, load_checkpoint
from ddgan_deploy.errors import InputError
from tests.ddgan_deploy.families.ddgan.tiny import EMA, RAW, holds, training_state

OPCODES = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
PICKLES_OF_THE_OLDER_FORM = 5


def in_bytes(content: object, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def pickled(older: bytes) -> int:
    """How many bytes of a file in the older form are pickles."""
    file = io.BytesIO(older)
    for _ in range(PICKLES_OF_THE_OLDER_FORM):
        list(pickletools.genops(file))
    return file.tell()


STATE = training_state(beta_max=np.float64(20), ch_mult=np.array([1, 2]))
ARCHIVES = {"netG.pth": (in_bytes(RAW, True), RAW), "content.pth": (in_bytes(STATE, True), EMA)}
OLDER = {"netG.pth": in_bytes(RAW, False), "content.pth": in_bytes(STATE, False)}
SAFETENSORS = save(RAW)

# Where, as a fraction of what is mutated, and what happens there.
places = st.floats(0, 1, exclude_max=True)
changes = st.one_of(
    st.tuples(st.just("flip"), st.integers(1, 255)),
    st.tuples(st.just("opcode"), st.sampled_from(OPCODES)),
    st.tuples(st.just("insert"), st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from(OPCODES))),
    st.tuples(st.just("cut"), st.sampled_from([1, 2, 8, 100, 10**6])),
    st.tuples(st.just("splice"), st.tuples(places, st.sampled_from([1, 4, 20, 60, 500]))),
)
mutations = st.lists(st.tuples(places, changes), min_size=1, max_size=4)
anything = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))


def mutated(content: bytes, changed: list[tuple[float, tuple[str, object]]]) -> bytes:
    found = bytearray(content)
    for fraction, (kind, what) in changed:
        place = int(fraction * len(found))
        match kind, what:
            case "flip", int(mask):
                found[place : place + 1] = bytes(byte ^ mask for byte in found[place : place + 1])
            case "opcode", bytes(code):
                found[place : place + 1] = code
            case "insert", bytes(more):
                found[place:place] = more
            case "cut", int(count):
                del found[place : place + count]
            case "splice", (float(other), int(count)):
                start = int(other * len(found))
                found[place : place + count] = found[start : start + count]
    return bytes(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated")


def outcome(path: Path, content: bytes) -> Checkpoint | str:
    path.write_bytes(content)
    try:
        return load_checkpoint(path)
    except InputError as error:
        message = str(error)
    assert message.isprintable() and str(path) in message and len(message) < 500
    return message


@pytest.mark.parametrize("name", ARCHIVES)
@anything
@given(changed=mutations)
def test_archives_give_the_same_weights_or_none(folder, name, changed):
    whole, weights = ARCHIVES[name]
    found = outcome(folder / name, mutated(whole, changed))
    assert isinstance(found, str) or holds(found, weights)


@pytest.mark.parametrize("name", ARCHIVES)
@anything
@given(changed=mutations)
def test_pickles_in_archives(folder, name, changed):
    found = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(ARCHIVES[name][0])) as old, zipfile.ZipFile(found, "w") as new:
        for record in old.infolist():
            content = old.read(record)
            new.writestr(record.filename, mutated(content, changed) if record.filename.endswith(".pkl") else content)
    outcome(folder / name, found.getvalue())


@pytest.mark.parametrize("name", OLDER)
@anything
@given(changed=mutations)
def test_the_older_form(folder, name, changed):
    end = pickled(OLDER[name])
    outcome(folder / name, mutated(OLDER[name][:end], changed) + OLDER[name][end:])
    outcome(folder / name, mutated(OLDER[name], changed))


@anything
@given(changed=mutations)
def test_safetensors(folder, changed):
    header = int.from_bytes(SAFETENSORS[:8], "little") + 8
    path = folder / "netG.safetensors"
    outcome(path, mutated(SAFETENSORS[:header], changed) + SAFETENSORS[header:])
    outcome(path, mutated(SAFETENSORS, changed))
