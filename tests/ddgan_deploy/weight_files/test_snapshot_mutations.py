"""Whatever has happened to a snapshot: it gives contents, or an error of one line, and soon."""

from __future__ import annotations

import pickletools
import time
import warnings
from pathlib import Path

import pytest
from hypothesis import example, given

from ddgan_deploy.errors import InputError
from ddgan_deploy.weight_files.objects import Saved, state_dict
from ddgan_deploy.weight_files.reading import read
from ddgan_deploy.weight_files.tensors import checked_tensors
from tests.conftest import DATA
from tests.ddgan_deploy.weight_files.pickles import (
    built,
    call,
    dict_of,
    file,
    module,
    plain,
    stored,
    stream,
    tensor,
    tuple_of,
)
from tests.ddgan_deploy.weight_files.test_mutations import anything, mutated, mutations


def small() -> bytes:
    """A file with one of everything."""
    import torch

    weight = tensor(stored(stream(torch.arange(6.0))), (2, 3), (3, 1))
    state = dict_of(_parameters=dict_of(weight=weight), _buffers=b"}", _modules=dict_of(inside=module()))
    meta = dict_of(type=plain("class"), module_src=plain("# text"), class_name=plain("Generator"), state=state)
    dtype = call("numpy.dtype", plain("f8"))
    array = call("numpy._core.multiarray._reconstruct", call("numpy.ndarray"), plain((0,)), plain(b"b"))
    return file(
        dict_of(
            G_ema=call("torch_utils.persistence._reconstruct_persistent_obj", meta),
            D=built(
                "training.networks.Discriminator", a=plain([1, 2.5, "text", {3}, (4, 5, 6, 7), None, True, 1 << 70])
            ),
            progress=call("numpy._core.multiarray.scalar", dtype, plain(bytes(8))),
            array=array + tuple_of(plain(1), plain((2,)), dtype, plain(False), plain(bytes(16))) + b"b",
            table=call("collections.OrderedDict", plain([["a", 1]])),
            dill=call("dill._dill._get_attr", call("dill._dill._import_module", plain("numpy.core")), plain("x")),
            text=call("_codecs.encode", plain("\xff"), plain("latin1")),
        ),
        4,
    )


SMALL = small()
GOLDEN = (DATA / "stylegan2" / "dgan_sg2_skip" / "snapshot.pkl").read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated")


def outcome(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            generator = read(path).get("G_ema")
            if isinstance(generator, Saved):
                checked_tensors(state_dict(generator), path)
        except InputError as error:
            message = str(error)
            assert message.isprintable() and len(message) < 500
    assert time.process_time() - begin < 10


def test_the_small_one_is_whole(folder):
    path = folder / "whole.pkl"
    path.write_bytes(SMALL)
    assert list(state_dict(read(path)["G_ema"])) == ["weight"]
    assert read(path)["array"] == [0.0, 0.0]


@anything
@example(changed=[(0.03125, ("insert", b"\x00"))])  # within a name
@given(changed=mutations)
def test_a_small_snapshot(folder, changed):
    outcome(folder / "small.pkl", SMALL[:2] + mutated(SMALL[2:], changed))


@anything
@given(changed=mutations)
def test_a_golden_snapshot(folder, changed):
    outcome(folder / "golden.pkl", GOLDEN[:2] + mutated(GOLDEN[2:], changed))


def test_every_byte_as_every_kind_of_wrong_byte(folder):
    places = [place for _, _, place in pickletools.genops(SMALL) if place]
    for place in places:
        for wrong in (0, 0x80, 0xFF, *b"R.b(u\x81\x93"):
            outcome(folder / "byte.pkl", SMALL[:place] + bytes([wrong]) + SMALL[place + 1 :])
