"""The ahead-of-time compiler: every kernel for every GPU, on this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddgan_deploy.kernels import ops
from ddgan_deploy.kernels.launch import launches
from ddgan_deploy.kernels.occupancy import occupancy

ARCHS = (75, 80, 86, 89, 90, 100, 120)
FIELDS = {"op", "name", "arch", "dtype", "layout", "registers", "spills", "shared_bytes", "file"}


def _environment() -> dict[str, str]:
    # Not interpreted, as the rest of the tests are.
    return {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}


def _aot(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ddgan_deploy.kernels.aot", *map(str, arguments)]
    return subprocess.run(command, env=_environment(), capture_output=True, text=True)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    """float32, which needs the most registers, for every architecture."""
    out = tmp_path_factory.mktemp("aot") / "kernels"
    done = _aot("--out", out, *(word for arch in ARCHS for word in ("--arch", arch)), "--dtype", "float32")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("0 of them spill registers\n")
    return out


@pytest.fixture(scope="module")
def narrow(tmp_path_factory) -> Path:
    """float16 and bfloat16, for one architecture, in a folder whose name is no text."""
    out = tmp_path_factory.mktemp("aot") / os.fsdecode(b"kernels\xff")
    done = _aot("--out", out, "--arch", 90, "--dtype", "float16", "--dtype", "bfloat16")
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def _rows(folder: Path) -> list[dict[str, object]]:
    return json.loads((folder / "manifest.json").read_text())["kernels"]


def test_every_kernel_is_there_for_every_architecture_and_type(compiled, narrow):
    names = {plan.kernel_name(launch) for _, plan, launch in launches(ops.all_launches())}
    for folder, archs, dtypes in ((compiled, set(ARCHS), ["float32"]), (narrow, {90}, ["float16", "bfloat16"])):
        rows = _rows(folder)
        found = [(row["name"], row["arch"], row["dtype"]) for row in rows]
        assert sorted(found) == sorted((name, arch, dtype) for name in names for arch in archs for dtype in dtypes)
        assert all((folder / row["file"]).stat().st_size > 1000 for row in rows)
        assert {path.name for path in folder.iterdir()} == {
            "manifest.json", "launches.txt", *(row[key] for row in rows for key in ("file", "ptx"))
        }  # fmt: skip


def test_no_kernel_spills_and_every_one_fits(compiled, narrow):
    for row in (*_rows(compiled), *_rows(narrow)):
        assert set(row) >= FIELDS
        assert row["spills"] == 0, row["file"]
        assert 0 < row["registers"] <= 255
        assert row["shared_bytes"] <= 48 * 1024
        assert row["layout"] in ("nchw", "nhwc", "linear")
        assert 0 < row["occupancy"] <= 1


def test_ptx_takes_the_arguments_in_their_order(compiled, narrow):
    by_file = {}
    for op, plan, launch in launches(ops.all_launches()):
        by_file[plan.kernel_name(launch)] = (op, launch)
    for folder in (compiled, narrow):
        for row in _rows(folder):
            op, launch = by_file[row["name"]]
            ptx = (folder / row["ptx"]).read_text()
            entry = ptx[ptx.index(".entry") : ptx.index(")", ptx.index(".entry"))]
            kinds = re.findall(r"\.param \.(u64|u32)", entry)
            # The compiler adds two pointers of its own.
            expected = ["u64" if name in op.tensors else "u32" for name in launch.arguments]
            assert kinds == [*expected, "u64", "u64"], row["ptx"]
            assert re.search(rf"\.entry {launch.kernel}\b", ptx) and row["symbol"] == launch.kernel


def test_the_index_names_every_kernel(compiled):
    lines = (compiled / "launches.txt").read_text().splitlines()
    assert lines[0] == "ddgan-launches 1"
    named = {line.split()[1] for line in lines if line.startswith("launch ")}
    assert named == {row["file"] for row in _rows(compiled)}
    assert sum(line.startswith("plan ") for line in lines) == len(ARCHS) * sum(
        len(op.plans) for op in ops.all_launches()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--arch", "90"), "File exists: give another place"),
        (("--arch", "70"), "invalid choice: 70"),
        (("--dtype", "float64"), "invalid choice: 'float64'"),
        (("--jobs", "0"), "--jobs must be 1 or more"),
    ],
)
def test_wrong_input_is_refused(tmp_path, arguments, message):
    out = tmp_path / "kernels"
    if "File exists" in message:
        out.mkdir()
    done = _aot("--out", out, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == ([out] if out.exists() else [])


def test_an_unusable_place_is_one_line_and_nothing_is_left(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "kernels", Path("/proc/none/ker\nnels")):
        done = _aot("--out", place, "--arch", 90)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interruption_leaves_nothing(tmp_path, name):
    command = [sys.executable, "-m", "ddgan_deploy.kernels.aot", "--out", str(tmp_path / "deep" / "kernels")]
    process = subprocess.Popen([*command, "--jobs", "1"], env=_environment(), stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("deep/.kernels-*/*.cubin")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(getattr(signal, name))
    assert process.wait(timeout=60) == 130
    assert process.stderr.read() == "error: interrupted\n"
    assert list(tmp_path.iterdir()) == []


# PyTorch's launcher compiles an int argument that happens to be 1 as a constant.
ONES = """
import importlib
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler.compiler import make_backend
from ddgan_deploy.kernels import ops
from ddgan_deploy.kernels.compile import argument_type
from ddgan_deploy.kernels.launch import launches

target = GPUTarget("cuda", 90, 32)
backend = make_backend(target)
tried = 0
# Plans share kernels; here they do not know of aligned ones either.
distinct = {launch.name: (op, launch) for op, plan, launch in launches(ops.all_launches())}
for op, launch in distinct.values():
    kernel = getattr(importlib.import_module(f"ddgan_deploy.kernels.{op.folder}.tl_kernel"), launch.kernel)
    for number, parameter in enumerate(kernel.params):
        if parameter.name in op.tensors or parameter.is_constexpr or parameter.do_not_specialize:
            continue
        signature = {name: argument_type(op, name, "float16") for name in launch.arguments}
        signature |= dict.fromkeys((*launch.constexprs, parameter.name), "constexpr")
        constants = {(kernel.arg_names.index(name),): value for name, value in launch.constexprs.items()}
        source = ASTSource(kernel, signature, {**constants, (number,): 1})
        context = ir.context()
        ir.load_dialects(context)
        backend.load_dialects(context)
        options = backend.parse_options(launch.options)
        source.make_ir(
            target, options, backend.get_codegen_implementation(options), backend.get_module_map(), context
        )
        tried += 1
print(tried)
"""


def test_every_size_may_be_one():
    done = subprocess.run([sys.executable, "-c", ONES], env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


@pytest.mark.parametrize(
    ("arch", "warps", "registers", "shared_bytes", "expected"),
    [
        (90, 4, 32, 0, 1.0),
        (90, 8, 64, 0, 0.5),
        (80, 16, 128, 0, 0.25),
        # 32 blocks of one warp are the most
        (90, 1, 32, 0, 0.5),
        (75, 4, 32, 0, 1.0),
        # 99 KiB of 100: one block
        (89, 4, 32, 99 * 1024, 4 / 48),
        # 33 registers are given as 40
        (86, 4, 33, 0, 1.0),
        (90, 8, 41, 0, 0.625),
    ],
)
def test_occupancy(arch, warps, registers, shared_bytes, expected):
    assert occupancy(arch, warps, registers, shared_bytes) == pytest.approx(expected)
