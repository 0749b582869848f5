"""The C++ launcher of compiled kernels, on a fake CUDA driver that tells what it was asked.

What it tells is held against `launch.OpLaunches`, which the same plans are in Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddgan_deploy.kernels.launch import NCHW, NHWC
from tests.kernels.cases import ADAGN_LARGE, ADAGN_SHAPES
from tests.kernels.cuda_probe import (
    DTYPES,
    FLAGS,
    NATIVE,
    PROBES,
    Call,
    Folder,
    Probe,
    adagn_call,
    adagn_grad_call,
    build_probe,
    compile_cc,
    expected,
    integer_call,
    philox_at_call,
    philox_call,
    reverse_call,
    style_call,
)

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    return build_probe(tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Kernels for the fake's device."""
    return Folder(tmp_path_factory.mktemp("kernels")).write([80])


def check(probe: Probe, folder: Folder, calls: Sequence[Call]) -> None:
    told = probe(folder.path, *("run " + call.line for call in calls))
    wanted = list(expected(folder, calls))
    for one, other in zip(told, wanted, strict=True):
        if "error" in other:
            assert other["error"] in one["error"]
        else:
            assert one == other


@pytest.mark.parametrize("offset", [0, 4, 8])
@pytest.mark.parametrize("dtype", DTYPES)
def test_launches_as_python_does(probe: Probe, folder: Folder, dtype: str, offset: int) -> None:
    shapes = [
        *ADAGN_SHAPES,
        ADAGN_LARGE,
        (3, 96, 64, 64, 2),
        (2, 40, 33, 65, 1),
        (1, 2, 2**14, 2**14, 2),
        (1, 1, 2**14, 2**15, 1),
    ]
    rest = {"dtype": dtype, "offset": offset}
    calls = [adagn_call(*shape, layout=layout, **rest) for shape in shapes for layout in (NCHW, NHWC)]
    calls += [adagn_call(*shape, rows=shape[0], activation="none", **rest) for shape in shapes]
    calls += [adagn_grad_call(*shape, layout=layout, **rest) for shape in shapes for layout in (NCHW, NHWC)]
    for n, *image in ((1, 3, 32, 32), (5, 1, 7, 3), (2, 12, 1, 1), (65536, 1, 1, 1), (1, 1, 2**16, 2**15)):
        calls += [reverse_call(op, (n, *image), **rest) for op in ("step", "mean")]
        calls += [style_call((n, *image), (1, 1, 1, 1), layout=layout, **rest) for layout in (NCHW, NHWC)]
        calls += [philox_call(n, number, image, **rest) for number in (0, 128, 2**32 - 1)]
        calls += [philox_at_call(n, image, **rest), integer_call(n, 2**32 - 1, image, 2**31, **rest)]
    check(probe, folder, calls)


_DIMENSION = st.one_of(st.integers(1, 70), st.sampled_from([64, 256, 1024, 4096, 65535, 65536, 2**20]))
_REST = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(DTYPES),
        "offset": st.sampled_from([0, 2, 4, 8, 16]),
        "stream": st.sampled_from([0x70, 0x71, 0xFFF0]),
    }
)
_ADAGN = st.builds(
    lambda n, group_channels, groups, h, w, rows, layout, rest: adagn_call(
        n, group_channels * groups, h, w, groups, n if rows else 1, layout, **rest
    ),
    *(st.integers(1, 300), st.integers(1, 70), st.integers(1, 70), _DIMENSION, _DIMENSION, st.booleans()),
    st.sampled_from([NCHW, NHWC]),
    _REST,
)
_STEP = st.builds(
    lambda op, image, rest: reverse_call(op, image, **rest),
    st.sampled_from(["step", "mean"]),
    st.tuples(*[_DIMENSION] * 4),
    _REST,
)
_PHILOX = st.builds(
    lambda n, number, shape, rest: philox_call(n, number, shape, **rest),
    _DIMENSION,
    st.integers(0, 2**32 - 1),
    st.lists(_DIMENSION, max_size=3),
    _REST,
)


def _in_range(call: Call) -> bool:
    return all(-(2**31) <= value < 2**31 for value in call.sizes.values())


@given(st.lists(st.one_of(_ADAGN, _STEP, _PHILOX).filter(_in_range), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_any_sizes(probe: Probe, folder: Folder, calls: list[Call]) -> None:
    check(probe, folder, calls)


def test_loads_a_module_once_a_context(probe: Probe, folder: Folder) -> None:
    calls = [adagn_call(1, 64, 256, 256, 16, stream=stream) for stream in (0x70, 0x70, 0x80, 0x71, 0x71)]
    check(probe, folder, calls)
    told = probe(folder.path, *("run " + call.line for call in calls))
    # Two kernels in each of two contexts.
    assert [record["context"] for record in told if record["call"] == "cuModuleLoadData"] == [0xC000] * 2 + [0xC001] * 2


def test_threads_load_a_module_once(probe: Probe, folder: Folder) -> None:
    told = [record["call"] for record in probe(folder.path, f"parallel 8 {philox_call(2, 0, (3, 8, 8)).line}")]
    assert told.count("cuInit") == told.count("cuModuleLoadData") == 1
    assert told.count("cuLaunchKernel") == told.count("cuCtxPopCurrent") == 8


def test_stays_in_the_current_context(probe: Probe, folder: Folder) -> None:
    for current, stream in (("0xc000", 0x70), ("0xc003", 0)):
        told = probe(folder.path, "run " + philox_call(1, 0, (8,), stream=stream).line, FAKE_CUDA_CURRENT=current)
        # A kernel may ask for its shared memory besides.
        calls = [record["call"] for record in told if record["call"] != "cuFuncSetAttribute"]
        assert calls == ["cuInit", "cuModuleLoadData", "cuLaunchKernel"]
        assert told[-1]["context"] == int(current, 0)


@pytest.mark.parametrize(("rows", "copies"), [(1, 1), (2, 2), (5, 4), (8, 4)])
def test_repeats_rows(probe: Probe, folder: Folder, rows: int, copies: int) -> None:
    told = probe(folder.path, f"repeat 6 {rows} 112", FAKE_CUDA_MEMORY="1")
    assert told[-1]["hex"] == "010203040506" * rows
    assert [record.get("stream") for record in told if record["call"] == "cuMemcpyDtoDAsync"] == [112] * copies


@pytest.mark.parametrize(
    ("device", "compiled", "chosen"),
    [
        (80, (75, 80, 90), 80),
        (86, (75, 80, 90), 80),
        (89, (80, 86, 90), 86),
        (86, (89, 80), 80),
        (80, (86, 90), None),
        (75, (80,), None),
        # From 9.0 on the compiler targets one architecture alone, sm_90a.
        (90, (90,), 90),
        (103, (100,), None),
        (121, (120,), None),
    ],
)
def test_architecture(probe: Probe, tmp_path: Path, device: int, compiled: Sequence[int], chosen: int | None) -> None:
    kernels = Folder(tmp_path).write(compiled, ["float32"])
    for arch in compiled:
        for file in tmp_path.glob(f"*.sm{arch}.cubin"):
            file.write_text(file.read_text() + f"arch{arch} {'p' * arch}\n")
    call = philox_call(1, 0, (16,))
    told = probe(tmp_path, "run " + call.line, FAKE_CUDA_ARCH=str(device))
    if chosen is not None:
        assert told == list(expected(kernels, [call], chosen))
    else:
        archs = ", ".join(str(arch) for arch in sorted(compiled))
        assert f"whose architecture is {device}; {tmp_path} has those for {archs}: add --arch {device}" in last_error(
            told
        )


def last_error(told: Sequence[Mapping[str, Any]]) -> str:
    return str(told[-1]["error"])


def test_dtype_that_was_not_compiled(probe: Probe, tmp_path: Path) -> None:
    Folder(tmp_path).write([80], ["float32"])
    told = probe(tmp_path, "run " + reverse_call("step", (1, 3, 8, 8), dtype="float16").line)
    assert "ReverseStep linear float16: no compiled kernels for this device" in last_error(told)
    assert "has none" in last_error(told)


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        ("cuInit=100", "CUDA_ERROR_NO_DEVICE while initializing the driver: no CUDA-capable device"),
        ("cuDeviceGetAttribute=700", "CUDA_ERROR_ILLEGAL_ADDRESS while asking what the device is"),
        ("cuModuleLoadData=200", "CUDA_ERROR_INVALID_IMAGE while loading philox_normal_blocks256_aligned.float32"),
        ("cuModuleGetFunction=500", "CUDA_ERROR_NOT_FOUND while looking for philox_normal in philox_normal_blocks256"),
        ("cuLaunchKernel=700", "CUDA_ERROR_ILLEGAL_ADDRESS while launching philox_normal: an illegal memory access"),
        ("cuLaunchKernel=12345", "error 12345 while launching philox_normal"),
    ],
)
def test_driver_errors(probe: Probe, folder: Folder, fail: str, said: str) -> None:
    told = probe(folder.path, *["run " + philox_call(1, 0, (16,)).line] * 2, FAKE_CUDA_FAIL=fail)
    errors = [record["error"] for record in told if "error" in record]
    assert len(errors) == 2 and all(error.startswith("CUDA: " + said) for error in errors), errors
    calls = [record.get("call") for record in told]
    assert calls.count("cuCtxPushCurrent") == calls.count("cuCtxPopCurrent")


def test_shared_memory_the_device_lacks(probe: Probe, tmp_path: Path) -> None:
    Folder(tmp_path).write([80])
    index = tmp_path / "launches.txt"
    lines = [line.rpartition(" ")[0] + " 200000" if line.startswith("launch ") else line for line in text_lines(index)]
    index.write_text("\n".join(lines) + "\n")
    said = last_error(probe(tmp_path, "run " + philox_call(1, 0, (16,)).line))
    assert "needs 200000 bytes of shared memory a block, the device has 101376" in said


def text_lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_arguments_the_kernels_cannot_take(probe: Probe, folder: Folder) -> None:
    call = philox_call(1, 0, (16,))
    too_large = Call(call.op, call.layout, {**call.sizes, "stream": 2**31})
    assert "stream is 2147483648, the kernels take 32-bit" in last_error(probe(folder.path, "run " + too_large.line))
    unknown = call.line.replace("stream=", "strum=")
    assert "the size 'stream', which the op does not state" in last_error(probe(folder.path, "run " + unknown))
    unknown = call.line.replace("noise=", "noises=")
    assert "the tensor 'noise', which the op does not have" in last_error(probe(folder.path, "run " + unknown))
    overflow = adagn_call(1, 64, 256, 256, 16).line.replace("batch=1,", f"batch={2**62},")
    assert "the temporary partials is too large" in last_error(probe(folder.path, "run " + overflow))
    told = probe(folder.path, "run " + adagn_call(1, 64, 256, 256, 16).line, PROBE_MISALIGNED="4")
    assert "scratch memory is not aligned to 16 bytes" in last_error(told)


def test_no_compiled_kernels(probe: Probe, folder: Folder, tmp_path: Path) -> None:
    line = "run " + philox_call(1, 0, (16,)).line
    said = last_error(probe(tmp_path / "none", line))
    assert f"{tmp_path}/none/launches.txt cannot be read" in said
    assert "python -m ddgan_deploy.kernels.aot --out DIR" in said and "ddgan.cuda_kernels" in said
    shutil.copy(folder.path / "launches.txt", tmp_path)
    assert f"{tmp_path}/philox_normal_blocks256_aligned.float32.sm80.cubin cannot be read" in last_error(
        probe(tmp_path, line)
    )


_PLAN = """\
ddgan-launches 1
plan PhiloxNormal linear float32 80 16
fits elements 1 100
multiple elements
derived chunks ceil(batch*elements/4)*2
temporary partials batch chunks 2
launch a.cubin philox 128 0
grid 1 batch 1
arguments seed:pointer stream:int32
end
""".splitlines()


@pytest.mark.parametrize(
    ("number", "line", "said"),
    [
        (1, "ddgan-launches 2", "the first line is not 'ddgan-launches 1'"),
        (2, "plan PhiloxNormal linear float32 80", "not complete"),
        (2, "plan PhiloxNormal linear float32 8x 16", "'8x' is not a number"),
        (2, "plan PhiloxNormal linear float32 80 12", "not a power of two"),
        (2, "fits elements 1 100", "not at its place"),
        (3, "fits elements 5 4", "'4' is not a number from 5"),
        (3, "fits elements 1 99999999999999999999", "is not a number"),
        (3, "fit elements 1 100", "'fit' is no kind of line"),
        (3, "", "'' is no kind of line"),
        (4, "multiple 4elements", "'4elements' is not a name"),
        (5, "derived chunks ceil(batch/0)", "'0' is not a number from 1"),
        (5, "derived chunks ceil(batch", "is not an extent"),
        (5, "derived chunks batch**2", "'*2' is not an extent"),
        (5, "derived chunks batch*", "is not an extent"),
        (5, "derived chunks -2", "'-2' is not a name"),
        (6, "temporary partials", "not complete"),
        (7, "launch ../a.cubin philox 128 0", "not the name of a file in this folder"),
        (7, "launch a.cubin philox 2048 0", "'2048' is not a number from 1 to 1024"),
        (8, "grid 1 batch", "not complete"),
        (8, "arguments seed:pointer", "not at its place"),
        (9, "arguments seed:int64", "is not NAME:pointer or NAME:int32"),
        (9, "end", "not at its place"),
        (10, "plan PhiloxNormal linear float32 80 16", "not at its place"),
        (10, None, "the last plan has no end"),
    ],
)
def test_malformed_index(probe: Probe, tmp_path: Path, number: int, line: str | None, said: str) -> None:
    lines = list(_PLAN)
    lines[number - 1 : number] = [] if line is None else [line]
    (tmp_path / "launches.txt").write_text("".join(each + "\n" for each in lines))
    error = last_error(probe(tmp_path, "run " + philox_call(1, 0, (16,)).line))
    assert error.startswith(f"{tmp_path}/launches.txt:{min(number, len(lines))}: ") and said in error, error


def test_empty_index(probe: Probe, tmp_path: Path) -> None:
    (tmp_path / "launches.txt").write_text("")
    assert "the file is empty" in last_error(probe(tmp_path, "run " + philox_call(1, 0, (16,)).line))


def test_well_formed_index(probe: Probe, tmp_path: Path) -> None:
    """The base of the malformed ones is right, and derived sizes and temporaries are as it says."""
    (tmp_path / "launches.txt").write_text("".join(line + "\n" for line in _PLAN))
    (tmp_path / "a.cubin").write_text("fake-cubin\nphilox pipp\n")
    told = probe(tmp_path, "run " + philox_call(3, 7, (16,)).line)
    (allocated,) = (record["bytes"] for record in told if record["call"] == "allocate")
    assert allocated == 4 * 3 * (-(-3 * 16 // 4) * 2) * 2
    overflow = philox_call(2**62, 7, (16,))
    assert "a product of sizes exceeds 2^63 - 1" in last_error(probe(tmp_path, "run " + overflow.line))


def test_no_driver(probe: Probe, folder: Folder, tmp_path: Path) -> None:
    line = "run " + philox_call(1, 0, (16,)).line
    compile_cc(tmp_path / "libcuda.so.1", "-shared", "-xc++", os.devnull)
    assert "libcuda.so.1 has no cuInit: update the NVIDIA driver" in last_error(
        probe(folder.path, line, LD_LIBRARY_PATH=str(tmp_path))
    )
    (tmp_path / "libcuda.so.1").write_text("no library")
    assert "the NVIDIA driver cannot be opened, is one installed?" in last_error(
        probe(folder.path, line, LD_LIBRARY_PATH=str(tmp_path))
    )


def test_declarations_are_those_of_the_driver() -> None:
    include = Path(pytest.importorskip("triton").__file__).parent / "backends/nvidia/include"
    if not (include / "cuda.h").exists():
        pytest.skip("no cuda.h")
    command = ["g++", *FLAGS, "-fsyntax-only", f"-I{NATIVE}", "-isystem", include, PROBES / "cuda_abi.cc"]
    subprocess.run(command, check=True)
