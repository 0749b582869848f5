"""ONNX Runtime's CUDA ops, as far as they go without a GPU: on the CPU provider, with the fake driver.

They get host memory and a null stream, launch nothing, and tell what they would have launched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from ddgan_deploy.kernels.adagn.spec import ADAGN_SILU, BY_ACTIVATION
from ddgan_deploy.kernels.adagn_grad.spec import BY_ACTIVATION as GRAD_BY_ACTIVATION
from ddgan_deploy.kernels.op import OpSpec
from ddgan_deploy.kernels.philox_normal.spec import INTEGER, NORMAL_AT
from ddgan_deploy.kernels.philox_normal.spec import SPEC as PHILOX
from ddgan_deploy.kernels.style_lrelu.spec import SPEC as STYLE_LRELU
from tests.kernels import cases
from tests.kernels.conftest import op_model
from tests.kernels.cuda_probe import (
    NATIVE,
    POINTERS,
    PROBES,
    ROOT,
    SOURCES,
    Folder,
    adagn_call,
    adagn_grad_call,
    compile_cc,
    compute_in,
    expected,
    integer_call,
    philox_at_call,
    philox_call,
    reverse_call,
    style_call,
)
from tests.kernels.older_ops import OLDER_ADAGN

_RUN = """
import json, os, sys
import numpy, onnxruntime

library, folder, entry, runs = sys.argv[1:]
start = os.getcwd()
for case in json.loads(sys.stdin.read()):
    os.chdir(start)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if entry:
        options.add_session_config_entry("ddgan.cuda_kernels", entry)
    options.register_custom_ops_library(library)
    try:
        session = onnxruntime.InferenceSession(folder + "/" + case, options, providers=["CPUExecutionProvider"])
        inputs = numpy.load(folder + "/" + case + ".npz")
        feeds = {name: onnxruntime.OrtValue.ortvalue_from_numpy(inputs[name]) for name in inputs.files}
        os.chdir("/")  # a session does not mind where the process goes
        for _ in range(int(runs)):
            (output,) = session.run_with_ort_values(None, feeds)
        print(json.dumps({"shape": output.shape()}))
    except Exception as error:
        print(json.dumps({"error": str(error)}))
"""


def _headers() -> Path | None:
    roots = [ROOT / "build/onnxruntime-headers", Path("/usr/include/onnxruntime"), Path("/usr/local/include")]
    if named := os.environ.get("ONNXRUNTIME_ROOT"):
        roots.insert(0, Path(named))
    found = (path for root in roots if root.is_dir() for path in root.rglob("onnxruntime_cxx_api.h"))
    return next((path.parent for path in found), None)


Case = tuple[OpSpec, Sequence[np.ndarray], dict[str, Any]]


class Runtime:
    """Runs one-node models in a process that has the fake driver."""

    def __init__(self, folder: Path) -> None:
        headers = _headers()
        if headers is None or shutil.which("g++") is None:
            pytest.skip("needs g++ and ONNX Runtime's headers")
        self.folder = folder
        self.driver = compile_cc(folder / "driver/libcuda.so.1", "-shared", "-fPIC", PROBES / "fake_cuda.cc")
        self.shared_object = compile_cc(
            *(folder / "lib/libprobe.so", "-shared", "-fPIC", "-fvisibility=hidden", "-Wl,-z,defs"),
            *("-isystem", headers, PROBES / "ort_cuda_probe.cc", NATIVE / "ort_cuda.cc", *SOURCES),
        )

    def __call__(
        self, cases: Sequence[Case], entry: str = "", cast: int | None = None, runs: int = 1, **environment: str
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """(outcome of each case, what the driver was asked)."""
        log = self.folder / "log"
        log.write_text("")
        names = []
        for number, (spec, inputs, attributes) in enumerate(cases):
            names.append(f"{number}.onnx")
            model = op_model(spec, inputs, **attributes)
            if cast is not None:
                compute_in(model, cast)
            (self.folder / names[-1]).write_bytes(model.SerializeToString())
            named = {name: value for (name, _), value in zip(spec.inputs, inputs, strict=True)}
            np.savez(self.folder / f"{number}.onnx.npz", **named)
        result = subprocess.run(
            [sys.executable, "-c", _RUN, self.shared_object, self.folder, entry, str(runs)],
            input=json.dumps(names),
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "LD_LIBRARY_PATH": str(self.driver.parent),
                "FAKE_CUDA_LOG": str(log),
                "FAKE_CUDA_CURRENT": "0xc000",
                "FAKE_CUDA_MEMORY": "1",
                **environment,
            },
        )
        assert result.returncode == 0, result.stderr
        outcomes = [json.loads(line) for line in result.stdout.splitlines()]
        return outcomes, [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return Runtime(tmp_path_factory.mktemp("runtime"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return Folder(tmp_path_factory.mktemp("kernels")).write([80])


def adagn_case(shape: cases.AdaGNShape, dtype: str = "float32", rows: tuple[int | None, int | None] = (1, 1)) -> Case:
    (x, scale, _), (_, _, shift) = (cases.adagn_inputs(shape, dtype, each) for each in rows)
    return ADAGN_SILU, (x, scale, shift), {"groups": shape[-1], "epsilon": 1e-6}


def check(record: dict[str, Any], wanted: dict[str, Any], tensors: Sequence[np.ndarray | None]) -> None:
    """One launch as expected, its first pointers those of the tensors; None: one that holds no input."""
    for key in ("symbol", "grid", "block", "shared", "stream", "extra"):
        assert record[key] == wanted[key], key
    pointers = [place for place, value in enumerate(wanted["values"]) if value >= POINTERS]
    for place, (value, other) in enumerate(zip(record["values"], wanted["values"], strict=True)):
        assert value > 2**32 if place in pointers else value == other, place
    for place, tensor in zip(pointers, tensors, strict=False):
        assert tensor is None or record["heads"][place] == int(tensor.reshape(-1).view(np.uint16)[0])


def launched(told: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in told if record["call"] == "cuLaunchKernel"]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("rows", [(1, 1), (None, None), (1, None), (None, 1)])
def test_adagn(runtime: Runtime, folder: Folder, dtype: str, rows: tuple[int | None, int | None]) -> None:
    shapes = [*cases.ADAGN_SHAPES, cases.ADAGN_LARGE, (2, 8, 256, 256, 1)]
    nodes = [adagn_case(shape, dtype, rows) for shape in shapes]
    outcomes, told = runtime(nodes, str(folder.path))
    assert outcomes == [{"shape": list(shape[:4])} for shape in shapes]
    records = iter(launched(told))
    repeated = 0
    for shape, (_, (x, scale, shift), _) in zip(shapes, nodes, strict=True):
        style_rows = 1 if rows == (1, 1) else shape[0]
        wanted = launched(list(expected(folder, [adagn_call(*shape, rows=style_rows, dtype=dtype, stream=0)])))
        ours = [next(records) for _ in wanted]
        check(ours[-1], wanted[-1], [x, scale, shift] if len(wanted) == 1 else [x, None, scale, shift])
        if len(wanted) == 2:
            check(ours[0], wanted[0], [x])
            assert ours[0]["values"][5] == ours[1]["values"][1], "one temporary"
        if shape[0] > 1 and rows in ((1, None), (None, 1)):
            repeated += shape[0] * shape[1] * x.itemsize
    assert next(records, None) is None
    assert sum(record["bytes"] for record in told if record["call"] == "cuMemcpyDtoDAsync") == repeated


@pytest.mark.parametrize("activation", ["none", "silu"])
def test_activations(runtime: Runtime, folder: Folder, activation: str) -> None:
    """By the op's name, or in older files by AdaGN's attribute."""
    shape = (2, 12, 8, 8, 3)
    _, inputs, attributes = adagn_case(shape)
    older = (OLDER_ADAGN, inputs, {**attributes, "activation": activation})
    _, told = runtime([(BY_ACTIVATION[activation], inputs, attributes), older], str(folder.path))
    (wanted,) = launched(list(expected(folder, [adagn_call(*shape, activation=activation, stream=0)])))
    for record in launched(told):
        check(record, wanted, inputs)


@pytest.mark.parametrize("activation", GRAD_BY_ACTIVATION)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_adagn_grad(runtime: Runtime, folder: Folder, dtype: str, activation: str) -> None:
    shapes = [*cases.ADAGN_GRAD_SHAPES, cases.ADAGN_LARGE]
    attributes = [{"groups": shape[-1], "epsilon": 1e-6} for shape in shapes]
    every = [cases.adagn_grad_inputs(shape, dtype, 1) for shape in shapes]
    spec = GRAD_BY_ACTIVATION[activation]
    outcomes, told = runtime([(spec, *case) for case in zip(every, attributes, strict=True)], str(folder.path))
    assert outcomes == [{"shape": list(shape[:4])} for shape in shapes]
    records = iter(launched(told))
    for shape, (dy, x, scale, shift) in zip(shapes, every, strict=True):
        call = adagn_grad_call(*shape, activation=activation, dtype=dtype, stream=0)
        wanted = launched(list(expected(folder, [call])))
        ours = [next(records) for _ in wanted]
        if len(wanted) == 1:
            check(ours[0], wanted[0], [dy, x, scale, shift])
            continue
        stats, sums, apply = ours
        check(stats, wanted[0], [x])
        check(sums, wanted[1], [dy, x, None, scale, shift])
        check(apply, wanted[2], [dy, x, None, None, scale, shift])
        partials, summed = apply["values"][2:4]
        assert (partials, summed) == (sums["values"][2], sums["values"][-3]), "two temporaries"
        assert partials == stats["values"][-3] != summed
    assert next(records, None) is None


@pytest.mark.parametrize("op", cases.REVERSE_OPS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_reverse_step(runtime: Runtime, folder: Folder, dtype: str, op: str) -> None:
    shapes = cases.REVERSE_SHAPES
    nodes = [(cases.REVERSE_OPS[op], cases.reverse_inputs(op, shape, dtype), {}) for shape in shapes]
    outcomes, told = runtime(nodes, str(folder.path))
    assert outcomes == [{"shape": list(shape)} for shape in shapes]
    calls = [reverse_call(op, shape, dtype=dtype, stream=0) for shape in shapes]
    for record, wanted, node in zip(launched(told), launched(list(expected(folder, calls))), nodes, strict=True):
        check(record, wanted, node[1])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("noise", cases.STYLE_NOISES)
def test_style_lrelu(runtime: Runtime, folder: Folder, dtype: str, noise: str) -> None:
    shapes = cases.STYLE_SHAPES
    nodes = [(STYLE_LRELU, cases.style_inputs(shape, dtype, noise), {"alpha": 0.2}) for shape in shapes]
    outcomes, told = runtime(nodes, str(folder.path))
    assert outcomes == [{"shape": list(shape)} for shape in shapes]
    calls = [style_call(node[1][0].shape, node[1][2].shape, dtype=dtype, stream=0) for node in nodes]
    for record, wanted, node in zip(launched(told), launched(list(expected(folder, calls))), nodes, strict=True):
        check(record, wanted, node[1])


def test_philox_normal(runtime: Runtime, folder: Folder) -> None:
    seed = cases.PHILOX_SEEDS[:, None]
    stream = 2**32 - 1
    nodes = [(PHILOX, (seed,), {"stream": stream, "shape": list(shape)}) for shape in cases.PHILOX_SHAPES]
    outcomes, told = runtime(nodes, str(folder.path))
    assert outcomes == [{"shape": [len(seed), *shape]} for shape in cases.PHILOX_SHAPES]
    calls = [philox_call(len(seed), stream, shape, stream=0) for shape in cases.PHILOX_SHAPES]
    for record, wanted in zip(launched(told), launched(list(expected(folder, calls))), strict=True):
        check(record, wanted, [seed])


def test_philox_normal_at_and_integer(runtime: Runtime, folder: Folder) -> None:
    seed, stream, shape, below = cases.PHILOX_SEEDS[:, None], np.array(5), (5, 1, 3), 2**31
    nodes = [
        (NORMAL_AT, (seed, stream), {"shape": shape}),
        (INTEGER, (seed,), {"stream": 2**32 - 1, "shape": shape, "below": below}),
    ]
    outcomes, told = runtime(nodes, str(folder.path))
    assert outcomes == [{"shape": [len(seed), *shape]}] * 2
    calls = [philox_at_call(len(seed), shape, stream=0), integer_call(len(seed), 2**32 - 1, shape, below, stream=0)]
    for record, wanted, (_, inputs, _) in zip(
        launched(told), launched(list(expected(folder, calls))), nodes, strict=True
    ):
        check(record, wanted, inputs)


def test_bfloat16(runtime: Runtime, folder: Folder) -> None:
    shape = (2, 12, 8, 8, 3)
    (outcome,), told = runtime([adagn_case(shape, rows=(1, None))], str(folder.path), cast=TensorProto.BFLOAT16)
    assert outcome == {"shape": list(shape[:4])}
    call = adagn_call(*shape, rows=2, dtype="bfloat16", stream=0)
    check(*launched(told), *launched(list(expected(folder, [call]))), [])
    copied = sum(record["bytes"] for record in told if record["call"] == "cuMemcpyDtoDAsync")
    assert copied == 2 * 12 * 2


def test_scratch_memory_is_given_back(runtime: Runtime, folder: Folder) -> None:
    _, told = runtime([adagn_case((1, 64, 512, 512, 16))], str(folder.path), runs=8)
    assert len({record["values"][5] for record in launched(told)[::2]}) < 8


def test_nothing_is_launched_for_nothing(runtime: Runtime, folder: Folder) -> None:
    nothing = [
        adagn_case((0, 12, 4, 4, 3)),
        adagn_case((2, 12, 0, 4, 3)),
        (
            GRAD_BY_ACTIVATION["silu"],
            cases.adagn_grad_inputs((0, 12, 4, 4, 3), "float32", 1),
            {"groups": 3, "epsilon": 1e-6},
        ),
        (cases.REVERSE_OPS["step"], cases.reverse_inputs("step", (0, 3, 4, 4), "float32"), {}),
        (STYLE_LRELU, cases.style_inputs((0, 3, 4, 4), "float32", "one"), {"alpha": 0.2}),
        (PHILOX, (np.zeros((0, 1), np.int64),), {"stream": 0, "shape": [3, 4]}),
        (PHILOX, (np.zeros((2, 1), np.int64),), {"stream": 0, "shape": [3, 0]}),
    ]
    outcomes, told = runtime(nothing, str(folder.path))
    assert [outcome["shape"] for outcome in outcomes] == [
        [0, 12, 4, 4],
        [2, 12, 0, 4],
        [0, 12, 4, 4],
        [0, 3, 4, 4],
        [0, 3, 4, 4],
        [0, 3, 4],
        [2, 3, 0],
    ]
    assert told == []


def test_errors_are_statuses(runtime: Runtime, folder: Folder) -> None:
    case = adagn_case((2, 12, 8, 8, 3))
    spec, (x, scale, shift), attributes = case
    (outcome,), _ = runtime([(spec, (x, scale, shift[:, :3]), attributes)], str(folder.path))
    assert "AdaGNSilu: shift has shape [1, 3], it must be [N or 1, 12]" in outcome["error"]
    dy, *rest = cases.adagn_grad_inputs((2, 12, 8, 8, 3), "float32", 1)
    (outcome,), _ = runtime([(GRAD_BY_ACTIVATION["none"], (dy[:1], *rest), attributes)], str(folder.path))
    assert "AdaGNGrad: dy and x must have one shape" in outcome["error"]
    (outcome,), _ = runtime([case], str(folder.path), FAKE_CUDA_FAIL="cuLaunchKernel=700")
    assert "CUDA: CUDA_ERROR_ILLEGAL_ADDRESS while launching adagn_fused_nchw" in outcome["error"]
    (outcome,), _ = runtime([case], str(folder.path), FAKE_CUDA_ARCH="70")
    assert "AdaGN nchw float32: no compiled kernels for this device" in outcome["error"]


def test_where_the_kernels_are(runtime: Runtime, folder: Folder, tmp_path: Path) -> None:
    case = adagn_case((2, 12, 8, 8, 3))
    beside = runtime.shared_object.parent / "cuda_kernels"
    for entry, variable, named in (
        (f"{tmp_path}/entry", f"{tmp_path}/variable", tmp_path / "entry"),
        ("", f"{tmp_path}/variable", tmp_path / "variable"),
        ("", "", beside),
    ):
        (outcome,), _ = runtime([case], entry, DDGAN_CUDA_KERNELS=variable)
        assert f"CUDA: no compiled kernels, {named}/launches.txt cannot be read" in outcome["error"]
        named.symlink_to(folder.path)
        try:
            (outcome,), _ = runtime([case], entry, DDGAN_CUDA_KERNELS=variable)
        finally:
            named.unlink()
        assert "shape" in outcome


@pytest.mark.parametrize("given", ["entry", "variable"])
def test_a_relative_folder_is_that_of_when_the_session_opened(runtime: Runtime, folder: Folder, given: str) -> None:
    relative = os.path.relpath(folder.path)
    nodes = [adagn_case((2, 12, 8, 8, 3))] * 2
    if given == "entry":
        outcomes, _ = runtime(nodes, relative)
    else:
        outcomes, _ = runtime(nodes, DDGAN_CUDA_KERNELS=relative)
    assert outcomes == [{"shape": [2, 12, 8, 8]}] * 2
