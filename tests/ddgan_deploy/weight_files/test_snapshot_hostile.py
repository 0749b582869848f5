"""Pickles that run code where `pickle.load` reads them: here none of it runs, and what is named is said."""

from __future__ import annotations

import contextlib
import io
import pickle
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ddgan_deploy.weight_files.objects import Saved
from ddgan_deploy.weight_files.reading import read
from tests.ddgan_deploy.weight_files.pickles import (
    built,
    call,
    dict_of,
    dotted,
    file,
    module,
    named,
    plain,
    refusal,
    snapshot,
    stored,
    tuple_of,
)

OLD_NAMES = "Python 2's name of builtins.eval"


def runs(made: str) -> dict[str, bytes]:
    """Objects of snapshots of which ``pickle.load`` makes a file or a folder."""
    code = f"__import__('os').mkdir({made!r})"
    mkdir, path = named("os.mkdir"), plain(made)
    lazy = named("builtins.map") + tuple_of(mkdir, plain([made])) + b"\x81"
    return {
        "os.mkdir": call("os.mkdir", path),
        "posix.mkdir": call("posix.mkdir", path),
        "os.makedirs": call("os.makedirs", path),
        "os.system": call("os.system", plain(f"mkdir {made}")),
        "subprocess.getoutput": call("subprocess.getoutput", plain(f"mkdir {made}")),
        "subprocess.run": call("subprocess.run", plain(["mkdir", made])),
        "builtins.eval": call("builtins.eval", plain(code)),
        "builtins.exec": call("builtins.exec", plain(code)),
        OLD_NAMES: call("__builtin__.eval", plain(code)),
        "builtins.getattr": call("builtins.getattr", call("builtins.__import__", plain("os")), plain("mkdir"))
        + tuple_of(path)
        + b"R",
        "builtins.open": call("builtins.open", path, plain("w")),
        "STACK_GLOBAL": dotted("os", "mkdir") + tuple_of(path) + b"R",
        "INST": b"(" + path + b"ios\nmkdir\n",
        "OBJ": b"(" + mkdir + path + b"o",
        "NEWOBJ": call("builtins.list", lazy),
        "importlib": call("importlib._bootstrap._call_with_frames_removed", mkdir, path),
        "a pickle within": call("_pickle.loads", plain(file(call("os.mkdir", path)))),
        "a key": b"}" + call("os.mkdir", path) + plain(1) + b"s",
        "a state": built("types.SimpleNamespace", x=call("os.mkdir", path)),
        "timeit": call("timeit.timeit", plain(code), plain("pass"), named("time.time"), plain(1)),
        "cProfile": call("cProfile.run", plain(code)),
        "shutil": dotted("shutil", "os.mkdir") + tuple_of(path) + b"R",
        "pathlib": dotted("pathlib", "Path.mkdir") + tuple_of(call("pathlib.Path", path)) + b"R",
        "functools.partial": call("functools.partial", mkdir, path) + b")R",
        "functools.reduce": call("functools.reduce", mkdir, plain([made, 511])),
        "torch": dotted("torch", "os.mkdir") + tuple_of(path) + b"R",
        "numpy": call("numpy.save", path, plain(1)),
    }


HELD = {"pathlib", "torch", "numpy"}
"""What is not refused, but kept as a name and what it would have been given."""


@pytest.mark.parametrize("name", runs(""))
def test_what_pickle_runs_is_not_run(tmp_path, name):
    made = tmp_path / "made.npy"
    # From protocol 4 on a name may have dots.
    content = file(dict_of(G_ema=runs(str(made))[name]), 2 if name == OLD_NAMES else 4)
    with contextlib.suppress(Exception):
        pickle.loads(content)
    assert made.exists(), "pickle runs it"
    made.unlink() if made.is_file() else made.rmdir()
    if name in HELD:
        assert isinstance(read(_written(tmp_path, content))["G_ema"], Saved)
    else:
        assert ("which no snapshot has" if name == "INST" else "never run") in refusal(tmp_path, content)
    assert not made.exists()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_name_is_told_with_its_place(tmp_path, protocol):
    class Hostile:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            import os

            return os.system, ("true",)

    content = pickle.dumps({"D": [1, "x", Hostile()]}, protocol)
    found = re.search(r"names (posix\.system) at byte (\d+), which is never run: give a ", refusal(tmp_path, content))
    assert found
    place = int(found[2])
    assert content[place:].startswith((b"cposix\nsystem\n", b"\x93"))


def test_source_text_is_text(tmp_path, monkeypatch):
    marker = tmp_path / "made"
    source = f"import os; os.mkdir({str(marker)!r})\nclass Generator: pass"
    state = dict_of(_parameters=b"}", _buffers=b"}", _modules=b"}")
    meta = dict_of(
        type=plain("class"),
        version=plain(6),
        module_src=plain(source),
        class_name=plain("Generator"),
        state=state,
    )
    path = tmp_path / "network-snapshot.pkl"
    content = snapshot(call("torch_utils.persistence._reconstruct_persistent_obj", meta))
    path.write_bytes(content)
    found = read(path)["G_ema"]
    assert (found.kind, found.source) == ("Generator", source)
    assert not marker.exists()
    persistence = types.ModuleType("torch_utils.persistence")
    persistence.__dict__["_reconstruct_persistent_obj"] = lambda meta: exec(meta["module_src"], {})
    for module_ in (types.ModuleType("torch_utils"), persistence):
        monkeypatch.setitem(sys.modules, module_.__name__, module_)
    pickle.loads(content)
    assert marker.is_dir(), "the published code runs it"


def test_a_tensor_that_runs_code(tmp_path):
    marker = tmp_path / "made"

    class Hostile:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            import os

            return os.mkdir, (str(marker),)

    for zipped in (False, True):
        written = io.BytesIO()
        torch.save(Hostile(), written, _use_new_zipfile_serialization=zipped)
        content = snapshot(stored(written.getvalue()))
        pickle.loads(content)
        assert marker.is_dir()
        marker.rmdir()
        assert "is damaged, " in refusal(tmp_path, content)
        assert not marker.exists()


@pytest.mark.parametrize(
    "name",
    [
        *("os", "sys", "builtins.open", "builtins.compile", "builtins.__import__", "builtins.getattr", "builtins.vars"),
        *("builtins.globals", "builtins.setattr", "builtins.breakpoint", "torchx.load", "numpyx.x", "shutil.rmtree"),
        *("pickle.loads", "dill._dill._eval_repr", "dill.loads", "importlib.import_module", "operator.attrgetter"),
        *("io.open", "_io.FileIO", "ctypes.CDLL", "nt.system", "socket.socket", "webbrowser.open", "pty.spawn"),
        *("os.torch_utils.persistence._reconstruct_persistent_objx", "__main__.Generator", "site.main"),
    ],
)
def test_names_that_no_snapshot_has(tmp_path, name):
    for content in (named(name) if "." in name else b"", call("dill._dill._import_module", plain(name))):
        if content:
            assert f"names {name} at byte" in refusal(tmp_path, snapshot(content))


def test_an_attribute_of_a_module_is_a_name(tmp_path):
    path = tmp_path / "network-snapshot.pkl"
    for whose, attribute in (("os", "system"), ("builtins", "eval")):
        found = call("dill._dill._get_attr", call("dill._dill._import_module", plain(whose)), plain(attribute))
        assert f"names {whose}" in refusal(tmp_path, snapshot(found))
    found = call("dill._dill._get_attr", call("dill._dill._import_module", plain("numpy.core")), plain("multiarray"))
    path.write_bytes(snapshot(found))
    assert read(path)["G_ema"].kind == "numpy.core.multiarray"


def test_names_that_are_no_line(tmp_path):
    for name in ("a\nb", "\x1b[31m", "x" * 10**6, "\ud800", ""):
        content = dotted(name, name)
        assert "never run" in refusal(tmp_path, snapshot(content))


def test_hostile_parts_that_nothing_needs_are_refused_too(tmp_path):
    content = file(dict_of(G_ema=module(), D=call("os.system", plain("true"))))
    assert "names os.system" in refusal(tmp_path, content)


def _written(folder: Path, content: bytes) -> Path:
    path = folder / "network-snapshot.pkl"
    path.write_bytes(content)
    return path
