"""Snapshots as each version of pickle, NumPy and dill writes them."""

from __future__ import annotations

import collections
import importlib
import io
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ddgan_deploy.weight_files.objects import Named, Saved, state_dict
from ddgan_deploy.weight_files.reading import read
from tests.ddgan_deploy.weight_files.pickles import (
    call,
    dict_of,
    dotted,
    file,
    named,
    plain,
    snapshot,
    stored,
    stream,
    tensor,
    tuple_of,
)
from tests.packages import packages, python_with

NETWORK = """
import functools, pathlib
import numpy as np, torch
from torch import nn
from torch.nn.utils import spectral_norm

class EasyDict(dict):
    pass

class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = spectral_norm(nn.ConvTranspose2d(3, 4, 4))
        self.norm = nn.BatchNorm2d(4)
        self.twice = self.norm
        self.half = nn.Linear(2, 3).half()
        self.register_buffer("grid", torch.arange(12).reshape(3, 4).t()[1:])
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.register_buffer("nothing", None)
        self.register_parameter("shared", self.norm.weight)
        self.kept = {
            "number": np.float64(2.5), "array": np.arange(6.0).reshape(2, 3), "no axes": np.array(3),
            "large": np.zeros((100, 100)), "set": {3}, "frozen": frozenset({"a"}), "complex": 1j,
            "dtype": torch.float16, "device": torch.device("cuda:0"), "size": torch.Size([2, 3]), "bytes": b"\\xff\\0",
            "easy": EasyDict(a=1), "bytearray": bytearray(b"a"), "activation": torch.nn.functional.relu,
            "partial": functools.partial(torch.nn.functional.relu, inplace=True), 7: None, (1, "a"): -1, "big": 1 << 70,
            "path": pathlib.PurePosixPath("a"),
        }
"""


def generator(module: types.ModuleType) -> Any:
    torch.manual_seed(0)
    return module.Generator().eval()


@pytest.fixture(params=["training.networks_here", "pg_modules.networks_here"])
def networks(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[types.ModuleType]:
    """A module of a file, as dill writes out whole what is of none."""
    package = request.param.partition(".")[0]
    (tmp_path / package).mkdir()
    # A folder without it gives way to a module of that name anywhere on the path.
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / "networks_here.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    # Another test may have imported a module of that name.
    monkeypatch.delitem(sys.modules, package, raising=False)
    yield importlib.import_module(request.param)
    for name in (package, request.param):
        del sys.modules[name]


def read_from(folder: Path, content: bytes) -> dict[str, Any]:
    path = folder / "network-snapshot.pkl"
    path.write_bytes(content)
    return read(path)


def holds(found: Any, expected: nn.Module) -> None:
    """Names, order and numbers, and what else it was saved with."""
    weights, known = state_dict(found), expected.state_dict()
    assert list(weights) == list(known)
    for name, weight in known.items():
        assert weights[name].dtype == weight.dtype, name
        assert weights[name].stride() == weight.stride(), name
        assert torch.equal(weights[name], weight), name
    assert weights["shared"] is weights["norm.weight"]
    kept = found.state["kept"]
    assert {name: kept[name] for name in ("number", "array", "no axes", "large", "set", "frozen", "bytes")} == {
        "number": 2.5,
        "array": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]],
        "no axes": 3,
        "large": [],
        "set": [3],
        "frozen": ["a"],
        "bytes": b"\xff\0",
    }
    assert (kept["size"], kept["bytearray"], kept[7], kept[1, "a"], kept["big"]) == ((2, 3), b"a", None, -1, 1 << 70)
    assert (kept["dtype"].kind, kept["device"].kind, kept["device"].arguments) == (
        "torch.float16",
        "torch.device",
        ("cuda", 0),
    )
    (hook,) = found.state["_modules"]["conv"].state["_forward_pre_hooks"].values()
    assert hook.class_name == "SpectralNorm"
    assert hook.state["name"] == "weight"


@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_protocol(tmp_path, networks, protocol):
    made = generator(networks)
    found = read_from(tmp_path, pickle.dumps({"G": made, "G_ema": made, "progress": np.float32(0.5)}, protocol))
    assert found["progress"] == 0.5
    assert found["G"] is found["G_ema"]
    assert found["G_ema"].kind == f"{networks.__name__}.Generator"
    holds(found["G_ema"], made)


_BY_DILL = """
import importlib, sys
import dill, torch
torch.manual_seed(0)
made = importlib.import_module(sys.argv[1]).Generator().eval()
with open(sys.argv[2], "wb") as file:
    dill.dump({"G_ema": made, "progress": made.kept["number"]}, file, protocol=int(sys.argv[3]))
"""


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("version", ["0.3.4", "0.3.5.1", "0.3.6", "0.4.0"])
@pytest.mark.parametrize("networks", ["training.networks_here"], indirect=True)
def test_dill(tmp_path, networks, version, protocol):
    path = tmp_path / "best_model.pkl"
    folder = packages(f"dill=={version}")
    done = python_with(folder, "-c", _BY_DILL, networks.__name__, path, str(protocol), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = read(path)
    assert found["progress"] == 2.5
    holds(found["G_ema"], generator(networks))


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray", "numpy._core._multiarray_umath"])
def test_numpy_names(tmp_path, module):
    dtype = call("numpy.dtype", plain("f4"), plain(False), plain(True)) + tuple_of(plain(3), plain(">")) + b"b"
    by_name = call(f"{module}.scalar", dtype, plain(b"\x3f\0\0\0"))
    found = read_from(tmp_path, file(dict_of(progress=by_name, G_ema=call("collections.OrderedDict"))))
    assert found == {"progress": 0.5, "G_ema": {}}


@pytest.mark.parametrize("package", ["torch_utils", "sg2.torch_utils", "pg_modules.sg2.torch_utils"])
def test_objects_that_carry_their_source(tmp_path, package):
    meta = {"type": "class", "version": 6, "module_src": "# text", "class_name": "Generator", "state": {"z_dim": 4}}
    name = f"{package}.persistence._reconstruct_persistent_obj"
    found = read_from(tmp_path, snapshot(call(name, plain(meta))))["G_ema"]
    assert (found.kind, found.source, found.state) == ("Generator", "# text", {"z_dim": 4})
    bare = read_from(tmp_path, snapshot(call(name, plain({**meta, "state": None}))))["G_ema"]
    assert bare.state == {}


def test_dicts_of_other_classes(tmp_path):
    for name in ("dnnlib.util.EasyDict", "training.dnnlib.util.EasyDict", "collections.OrderedDict"):
        filled = named(name) + b")\x81" + dict_of(a=b"N")[1:]
        assert read_from(tmp_path, snapshot(filled))["G_ema"] == {"a": None}
    factory = call("collections.defaultdict", named("builtins.list")) + dict_of(a=b"N")[1:]
    assert read_from(tmp_path, snapshot(factory))["G_ema"] == {"a": None}
    python_2 = call("collections.OrderedDict", plain([["a", 1], ["b", 2]]))
    assert read_from(tmp_path, snapshot(python_2))["G_ema"] == {"a": 1, "b": 2}


def test_objects_that_are_dicts_or_lists_keep_their_items(tmp_path):
    filled = named("training.x.Table") + b")\x81" + dict_of(a=b"N")[1:] + b"(K\1e"
    assert read_from(tmp_path, snapshot(filled))["G_ema"].items == [("a", None), 1]


def test_objects_made_by_functions(tmp_path):
    reconstructed = call("copy_reg._reconstructor", named("training.x.Y"), named("__builtin__.object"), b"N")
    found = read_from(tmp_path, file(dict_of(G_ema=reconstructed + dict_of(a=plain(1)) + b"b"), 2))["G_ema"]
    assert (found.kind, found.state) == ("training.x.Y", {"a": 1})
    by_name = named("training.x.Y") + plain((1,)) + plain({"b": 2}) + b"\x92"
    found = read_from(tmp_path, file(dict_of(G_ema=by_name), 4))["G_ema"]
    assert (found.kind, found.arguments) == ("training.x.Y", ((1,), {"b": 2}))
    in_slots = named("training.x.Y") + b")\x81" + tuple_of(plain({"a": 1}), plain({"b": 2})) + b"b"
    assert read_from(tmp_path, snapshot(in_slots))["G_ema"].state == {"a": 1, "b": 2}
    otherwise = named("training.x.Y") + b")\x81K\7b"
    assert read_from(tmp_path, snapshot(otherwise))["G_ema"].state == {"__setstate__": 7}


@pytest.mark.parametrize(
    "dtype",
    ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64"],
)
def test_numbers_of_every_type(tmp_path, dtype):
    numbers = torch.arange(6).to(getattr(torch, dtype))
    found = read_from(tmp_path, snapshot(tensor(stored(stream(numbers)), (3, 2), (1, 3))))["G_ema"]
    assert found.dtype == numbers.dtype
    assert torch.equal(found, numbers.reshape(2, 3).t())


@pytest.mark.parametrize("dtype", ["uint16", "float8_e4m3fn"])
def test_numbers_of_newer_types(tmp_path, dtype):
    numbers = torch.arange(6).to(getattr(torch, dtype))
    found = read_from(tmp_path, pickle.dumps({"G_ema": numbers}))["G_ema"]
    assert found.dtype == numbers.dtype
    assert torch.equal(found.view(torch.uint8), numbers.view(torch.uint8))


def test_tensors_of_any_device(tmp_path):
    numbers = torch.arange(6.0)
    on_cpu = stream(numbers)
    for device, storage in (("cuda:0", b"ctorch\nFloatStorage"), ("mps", b"ctorch.cuda\nFloatStorage")):
        place = b"X\3\0\0\0cpu"
        elsewhere = on_cpu.replace(place, plain(device)[: 5 + len(device)]).replace(b"ctorch\nFloatStorage", storage)
        assert elsewhere != on_cpu
        found = read_from(tmp_path, snapshot(tensor(stored(elsewhere), (6,), (1,))))["G_ema"]
        assert torch.equal(found, numbers)


def test_tensors_share_a_storage(tmp_path):
    once = stored(stream(torch.arange(6.0))) + b"q\x07"
    shared = dict_of(a=tensor(once, (6,), (1,)), b=tensor(b"h\x07", (4,), (1,), 2))
    found = read_from(tmp_path, file(shared))
    assert found["b"].tolist() == [2, 3, 4, 5]
    assert len({value.untyped_storage().data_ptr() for value in found.values()}) == 1


def test_parameters_with_attributes_and_empty_tensors(tmp_path):
    bare = read_from(tmp_path, pickle.dumps({"a": nn.Parameter(torch.ones(2))}))["a"]
    assert type(bare) is torch.Tensor
    assert not bare.requires_grad
    parameter = nn.Parameter(torch.ones(2))
    parameter.note = "kept nowhere"
    plain_one = torch.ones(3)
    plain_one.note = "kept nowhere"
    found = read_from(tmp_path, pickle.dumps({"a": parameter, "b": torch.empty(0, 3), "c": plain_one}))
    assert torch.equal(found["a"], torch.ones(2))
    assert found["b"].shape == (0, 3)
    assert torch.equal(found["c"], torch.ones(3))


def test_tensors_that_are_not_dense_are_held(tmp_path):
    quantized = stream(torch.arange(6.0)).replace(b"FloatStorage", b"QInt8Storage")
    content = file(dict_of(a=plain(torch.ones(2).to_sparse()), b=tensor(stored(quantized), (6,), (1,))))
    found = read_from(tmp_path, content)
    assert all(isinstance(value, Saved) for value in found.values())


def test_names_are_held_and_not_looked_up(tmp_path):
    found = read_from(tmp_path, snapshot(named("torch.nothing.of_this_name")))["G_ema"]
    assert isinstance(found, Named)
    assert "nothing" not in vars(torch)
    nested = read_from(tmp_path, file(dict_of(G_ema=dotted("training.x", "Outer.Inner")), 4))["G_ema"]
    assert nested.kind == "training.x.Outer.Inner"


def test_pytorchs_own_files_are_still_its_own(tmp_path):
    for protocol in (2, 3):
        written = io.BytesIO()
        torch.save({"a": torch.ones(2)}, written, _use_new_zipfile_serialization=False, pickle_protocol=protocol)
        assert torch.equal(read_from(tmp_path, written.getvalue())["a"], torch.ones(2))


def test_a_pickled_state_dict_is_one(tmp_path):
    weights = collections.OrderedDict(a=torch.ones(2))
    weights._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    found = read_from(tmp_path, pickle.dumps(weights))
    assert torch.equal(found["a"], torch.ones(2))


def test_a_large_snapshot_takes_little_more_memory_than_it_has(tmp_path):
    path = tmp_path / "network-snapshot.pkl"
    path.write_bytes(pickle.dumps({"G_ema": [torch.full((1 << 20,), float(place)) for place in range(50)]}))
    code = (
        "import resource, sys, torch; from pathlib import Path\n"
        "from ddgan_deploy.weight_files.reading import read\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; found = read(Path(sys.argv[1]))\n"
        "assert all((part == place).all() for place, part in enumerate(found['G_ema']))\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10)\n"
    )
    said = python_with(tmp_path, "-c", code, path)
    assert said.returncode == 0, said.stderr
    assert int(said.stdout) < 2.5 * path.stat().st_size
