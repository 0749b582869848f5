"""TensorRT's engine class over stand-ins for TensorRT and the GPU: results, batches, graphs, memory, messages."""

from __future__ import annotations

import dataclasses
import gc
import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.cli import sample as sample_command
from ddgan_deploy.cli import verify as verify_command
from ddgan_deploy.engines.tensorrt.engine import TensorRt
from ddgan_deploy.engines.tensorrt.loaded_plan import KEPT_BATCH_SIZES
from ddgan_deploy.engines.tensorrt.plan import (
    RTX_PLAN,
    SAMPLER_PLAN,
    SERVED_PLAN,
    BatchProfile,
    info_path,
    write_plan_info,
)
from ddgan_deploy.errors import GateError, InputError, NotInstalled
from ddgan_deploy.inputs import Inputs, draw
from ddgan_deploy.parity.verify import verify
from tests.ddgan_deploy.engines.tensorrt.fake_tensorrt import HostDevice, add_plans, plan_info
from tests.export.conftest import export_golden


@pytest.fixture(scope="module")
def folder(exported, tmp_path_factory):
    return shutil.copytree(exported, tmp_path_factory.mktemp("tensorrt") / "artifact")


@pytest.fixture
def artifact(folder, trt):
    yield add_plans(folder, "tensorrt")
    for path in folder.glob("*.plan*"):
        path.unlink()


def _noise(seeds, artifact) -> Inputs:
    return draw(artifact.manifest.sampler, seeds)


@pytest.fixture(scope="module")
def expected(folder):
    """x_0 and images of the first seeds by ONNX Runtime, one at a time, as the stand-in's smallest batch."""
    engine = open_artifact(folder, threads=1)
    x_0 = np.concatenate([engine.sample(_noise([seed], engine.artifact)) for seed in range(11)])
    images = np.concatenate([engine.generate([seed]) for seed in range(11)])
    return x_0, images


def _same(x_0, expected) -> bool:
    return x_0.dtype == np.float32 and x_0.shape == expected.shape and np.abs(x_0 - expected).max() < 1e-5


# Results


@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
@pytest.mark.parametrize("count", [1, 3, 4, 11])
def test_it_computes_what_onnx_runtime_computes(folder, artifact, device, expected, runtime, count):
    add_plans(folder, runtime)
    x_0, images = expected
    with TensorRt(artifact, runtime, device) as engine:
        assert engine.name == runtime and engine.artifact is artifact
        assert _same(engine.sample(_noise(range(count), artifact)), x_0[:count])
        drawn = engine.generate(range(count))
        assert drawn.dtype == np.uint8 and drawn.shape == (count, 32, 32, 3)
        assert np.abs(drawn.astype(int) - images[:count]).max() <= 1


def test_batches_are_split_at_the_largest(artifact, device, trt):
    with TensorRt(artifact, device=device) as engine:
        engine.generate(range(11))
        assert trt.api.runs == [("ddgan.onnx", 4), ("ddgan.onnx", 4), ("ddgan.onnx", 3)]


def test_batches_below_the_smallest_are_padded(folder, artifact, device, trt, expected):
    add_plans(folder, "tensorrt", BatchProfile(3, 3, 4))
    x_0, images = expected
    with TensorRt(artifact, device=device) as engine:
        assert _same(engine.sample(_noise([0, 1], artifact)), x_0[:2])
        drawn = engine.generate(range(5))
        assert len(drawn) == 5 and np.abs(drawn.astype(int) - images[:5]).max() <= 1
        assert trt.api.runs == [("sampler.onnx", 3), ("ddgan.onnx", 4), ("ddgan.onnx", 3)]
        assert trt.api.fed["seed"].tolist() == [[4], [4], [4]]


def test_no_rows_give_an_empty_array(artifact, device, trt):
    with TensorRt(artifact, device=device) as engine:
        one = _noise([0], artifact)
        empty = engine.sample({name: value[:0] for name, value in one.items()})
        assert empty.shape == (0, 3, 32, 32) and empty.dtype == np.float32
        assert not trt.api.runs
        with pytest.raises(InputError, match="no seeds are given"):
            engine.generate([])


def test_a_one_step_sampler_takes_no_noise(biggan, device, trt, tmp_path):
    one_step = dataclasses.replace(biggan, steps=1, config=None)
    path = export_golden(one_step, tmp_path, verify=False).artifact.path
    artifact = add_plans(path, "tensorrt")
    noise = _noise([5, 6], artifact)
    with TensorRt(artifact, device=device) as engine, open_artifact(path, "onnxruntime-portable") as other:
        assert _same(engine.sample(noise), other.sample(noise))


def test_arrays_of_any_layout_are_taken(artifact, device, expected):
    noise = _noise(range(3), artifact)
    strided = {name: np.asfortranarray(value) for name, value in noise.items()}
    with TensorRt(artifact, device=device) as engine:
        assert _same(engine.sample(strided), expected[0][:3])


def test_results_are_the_callers_own(artifact, device):
    with TensorRt(artifact, device=device) as engine:
        first = engine.generate([0])
        kept = first.copy()
        engine.generate([1])
        assert np.array_equal(first, kept)


def test_several_threads_get_their_own_results(artifact, device, expected):
    counts = [1, 2, 3, 5, 1, 7, 2, 4]
    with TensorRt(artifact, device=device) as engine, ThreadPoolExecutor(4) as threads:

        def draw_images(count: int) -> np.ndarray:
            return engine.generate(range(count))

        def draw_x_0(count: int) -> np.ndarray:
            return engine.sample(_noise(range(count), artifact))

        images, x_0 = list(threads.map(draw_images, counts)), list(threads.map(draw_x_0, counts))
    for count, drawn, sampled in zip(counts, images, x_0, strict=True):
        assert np.abs(drawn.astype(int) - expected[1][:count]).max() <= 1
        assert _same(sampled, expected[0][:count])


# Graphs and memory


def test_one_capture_a_batch_size_and_replays_after(artifact, device, trt, expected):
    with TensorRt(artifact, device=device) as engine:
        assert not device.events
        for _ in range(4):
            assert np.abs(engine.generate([0, 1]).astype(int) - expected[1][:2]).max() <= 1
        assert device.events == ["capture", "replay", "replay", "replay"]
        assert np.abs(engine.generate([2]).astype(int) - expected[1][2]).max() <= 1
        assert device.events[4:] == ["capture"]
        assert np.abs(engine.generate([3, 2]).astype(int) - expected[1][[3, 2]]).max() <= 1
        assert device.events[5:] == ["replay"]
        assert trt.api.contexts == 2
        assert len(trt.api.runs) == 6


def test_the_batch_size_used_longest_ago_goes(folder, artifact, device, trt):
    most = KEPT_BATCH_SIZES + 2
    add_plans(folder, "tensorrt", BatchProfile(1, 2, most))
    with TensorRt(artifact, device=device) as engine:
        for count in range(1, KEPT_BATCH_SIZES + 1):
            engine.generate(range(count))
        engine.generate([0])
        assert trt.api.contexts == KEPT_BATCH_SIZES and device.count("free context") == 0
        engine.generate(range(most - 1))
        assert device.events[-3:] == ["free graph", "free context", "capture"]
        # One row was used since, so it is two rows whose context went.
        engine.generate([0])
        assert trt.api.contexts == KEPT_BATCH_SIZES + 1
        engine.generate([0, 1])
        assert trt.api.contexts == KEPT_BATCH_SIZES + 2
        assert device.count("free graph") == device.count("free context") == 2


def test_without_graphs_it_runs_and_does_not_ask_again(artifact, trt, expected):
    device = HostDevice(capturable=False)
    with TensorRt(artifact, device=device) as engine:
        for _ in range(3):
            assert np.abs(engine.generate([0, 1]).astype(int) - expected[1][:2]).max() <= 1
    assert device.count("capture") == 1 and device.count("replay") == 0
    assert len(trt.api.runs) == 3


def test_a_failed_call_while_capturing_leaves_it_without_a_graph(artifact, device, trt, monkeypatch, expected):
    honest = device.capture

    def failing(work):
        trt.api.fails.add("execute_async_v3")
        try:
            return honest(work)
        finally:
            trt.api.fails.clear()

    monkeypatch.setattr(device, "capture", failing)
    with TensorRt(artifact, device=device) as engine:
        for _ in range(2):
            assert np.abs(engine.generate([0]).astype(int) - expected[1][0]).max() <= 1
    assert device.count("capture") == 1 and device.count("replay") == 0


def test_memory_is_allocated_once_for_the_largest_batch(artifact, device):
    with TensorRt(artifact, device=device) as engine:
        allocated = set(device.live)
        assert len(allocated) == 3  # seed, image, scratch
        for count in (1, 4, 9):
            engine.generate(range(count))
        assert set(device.live) == allocated


def test_the_sampler_is_loaded_at_first_use(artifact, device):
    with TensorRt(artifact, device=device) as engine:
        assert len(device.live) == 3
        engine.sample(_noise([0], artifact))
        assert len(device.live) == 3 + 5  # x_T, z, noise, x_0, scratch


FREED = ["free runtime", "close device"]


def test_closing_frees_everything_in_order(artifact, device):
    engine = TensorRt(artifact, device=device)
    engine.generate([0])
    engine.sample(_noise([0, 1], artifact))
    del device.events[:]
    engine.close()
    plan = ["free graph", "free context", "free engine", "free memory"]
    assert device.events == [*plan, *plan, *FREED]
    assert not device.live
    engine.close()
    assert device.count("close device") == 1
    with pytest.raises(ValueError, match="is closed"):
        engine.generate([0])


def test_a_forgotten_engine_frees_everything(artifact, device):
    engine = TensorRt(artifact, device=device)
    engine.generate([0])
    del device.events[:], engine
    gc.collect()
    assert device.events == ["free graph", "free context", "free engine", "free memory", *FREED]


def test_an_engine_that_cannot_be_opened_frees_everything(folder, artifact, trt, device):
    write_plan_info(
        folder / SERVED_PLAN, dataclasses.replace(plan_info(artifact, SERVED_PLAN), compute_capabilities=("7.5",))
    )
    # Held, so that it is not the end of the failed call that frees.
    with pytest.raises(InputError, match="compute capability") as refused:
        TensorRt(artifact, device=device)
    assert device.events == ["close device"] and refused
    add_plans(folder, "tensorrt")
    (folder / SERVED_PLAN).write_bytes(b"not an engine")
    device = HostDevice()
    with pytest.raises(InputError, match="magicTag"):
        TensorRt(artifact, device=device)
    gc.collect()
    assert device.closed and not device.live


def test_too_little_memory_frees_everything(artifact, trt):
    device = HostDevice(room=14_000)
    trt.api.events = device.events
    with pytest.raises(InputError, match="no memory left"):
        TensorRt(artifact, device=device)
    assert device.events == ["free memory", "free engine", *FREED] and not device.live


def test_a_failed_run_says_why_and_the_next_one_works(artifact, device, trt, expected):
    with TensorRt(artifact, device=device) as engine:
        for name, message in (
            ("create_execution_context", "TensorRT has no context for a batch of 2: out of memory"),
            ("execute_async_v3", "TensorRT could not run a batch of 2: an illegal memory access was encountered"),
        ):
            trt.api.fails = {name}
            with pytest.raises(GateError) as failed:
                engine.generate([0, 1])
            assert str(failed.value) == message
            trt.api.fails = set()
        assert np.abs(engine.generate([0, 1]).astype(int) - expected[1][:2]).max() <= 1
    assert not device.live


# Parity


@pytest.mark.parametrize("runtime", ["tensorrt", "tensorrt-rtx"])
def test_verify_runs_the_gates_that_need_no_inner_values(folder, artifact, biggan, gpu, capsys, runtime):
    add_plans(folder, runtime)
    with TensorRt(artifact, runtime) as engine:
        result = verify(biggan.load(), engine).result
    assert result.engine == runtime and result.passed and not result.probes and result.seconds > 0
    assert [gate.name for gate in result.gates] == [
        "no NaN or Inf",
        "x_0 against PyTorch",
        "identical rows stay identical",
        "a sample alone equals it in a batch",
        "seed to pixels",
    ]
    assert [gate.limit for gate in result.gates] == [0, 1e-4, 0, 1e-4, 1]


def test_commands_run_on_it(artifact, biggan, gpu, device, tmp_path, capsys):
    arguments = ["--ckpt", str(biggan.path), "--config", str(biggan.config), "--engine", "tensorrt"]
    assert verify_command.main([str(artifact.path), *arguments]) == 0
    assert capsys.readouterr().out.endswith("all 5 gates passed on tensorrt\n")
    assert not device.live


# Messages


def _message(path, capsys, tmp_path, engine="tensorrt") -> str:
    """The one line that ddgan-sample says, without the command at its end, if that is the right one."""
    out = tmp_path / "a.png"
    assert sample_command.main([str(path), "--seeds", "0", "--engine", engine, "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not out.exists()
    return (
        line.removeprefix("error: ")
        .replace(f"ddgan-export --rebuild {path} --engine {engine}", "COMMAND")
        .replace(str(path), "DIR")
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "11.3.0.9"}, "DIR/ddgan.plan was built by TensorRT 11.3.0.9, here is 11.4.0.106"),
        (
            {"compute_capabilities": ["9.0"]},
            "DIR/ddgan.plan was built for compute capability 9.0, the GPU here has 8.9",
        ),
        ({"graph_sha256": "0"}, "DIR/ddgan.plan was built from another ddgan.onnx than the artifact's"),
        ({"kernels": 3}, "DIR/ddgan.plan.json is damaged (kernels: Input should be 'fused' or 'portable')"),
    ],
)
def test_an_engine_that_does_not_fit_is_one_clear_line(artifact, gpu, capsys, tmp_path, change, message):
    path = info_path(artifact.path / SERVED_PLAN)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert _message(artifact.path, capsys, tmp_path) == f"{message}: build it anew with COMMAND"


def test_missing_files_are_one_clear_line(folder, artifact, gpu, capsys, tmp_path):
    info_path(folder / SAMPLER_PLAN).unlink()
    assert _message(folder, capsys, tmp_path) == (
        "DIR/sampler.plan.json is missing, which says what can run sampler.plan: build it anew with COMMAND"
    )
    (folder / SAMPLER_PLAN).unlink()
    assert _message(folder, capsys, tmp_path) == "DIR has no engine sampler.plan: build it with COMMAND"


def test_an_unreadable_engine_is_told_in_tensorrts_words(folder, artifact, gpu, capsys, tmp_path):
    (folder / SERVED_PLAN).write_bytes(b"not an engine")
    assert _message(folder, capsys, tmp_path) == (
        "TensorRT cannot run DIR/ddgan.plan (Serialization assertion header.magicTag failed.): "
        "build it anew with COMMAND"
    )


def test_an_invalid_rtx_engine_is_told_in_words(folder, artifact, gpu, capsys, tmp_path):
    add_plans(folder, "tensorrt-rtx")
    (folder / RTX_PLAN).write_bytes(b"not an engine")
    assert _message(folder, capsys, tmp_path, "tensorrt-rtx") == (
        "TensorRT-RTX cannot run DIR/sampler.rtx.plan (version mismatch, malformed engine): build it anew with COMMAND"
    )


def test_an_engine_of_another_model_is_refused(folder, artifact, gpu, capsys, tmp_path):
    (folder / SERVED_PLAN).write_bytes((folder / SAMPLER_PLAN).read_bytes())
    assert _message(folder, capsys, tmp_path) == (
        "TensorRT cannot run DIR/ddgan.plan (its inputs and outputs are not those of the graph, "
        "but noise, x_0, x_T, z): build it anew with COMMAND"
    )


def test_a_tensorrt_that_cannot_start_says_why(folder, artifact, gpu, trt, device, capsys, tmp_path):
    trt.api.fails = {"Runtime"}
    assert _message(folder, capsys, tmp_path) == "TensorRT cannot start: CUDA initialization failure with error: 35"
    assert device.events == ["close device"]


def test_no_gpu_is_one_clear_line(folder, artifact, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("ddgan_deploy.gpu.has_gpu", lambda: False)
    assert _message(folder, capsys, tmp_path) == (
        "engine tensorrt needs an NVIDIA GPU and its driver, and here is none: choose --engine onnxruntime"
    )


def test_pytorch_without_cuda_is_one_clear_line(folder, artifact, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("ddgan_deploy.gpu.has_gpu", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    message = _message(folder, capsys, tmp_path)
    assert message.startswith("engine tensorrt needs PyTorch with CUDA, and PyTorch 2.")


@pytest.mark.parametrize(
    ("runtime", "module", "message"),
    [
        ("tensorrt", "tensorrt", "TensorRT, which is not installed: pip install 'ddgan-deploy[gpu]'"),
        (
            "tensorrt-rtx",
            "tensorrt_rtx_bindings",
            "TensorRT-RTX, which is not installed: pip install 'ddgan-deploy[tensorrt-rtx]'",
        ),
    ],
)
def test_a_missing_package_names_the_command(folder, artifact, gpu, monkeypatch, device, runtime, module, message):
    add_plans(folder, runtime)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NotInstalled) as refused:
        open_artifact(folder, runtime)
    assert str(refused.value) == f"engine {runtime} needs {message}"
    assert not device.events


def test_a_broken_package_says_what_is_wrong(folder, artifact, gpu, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorrt")
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.11: cannot open\\nshared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError) as refused:
        open_artifact(folder, "tensorrt")
    assert str(refused.value) == (
        "TensorRT cannot be loaded (libnvinfer.so.11: cannot open shared object file): "
        "install it anew with pip install 'ddgan-deploy[gpu]'"
    )


def test_the_real_tensorrt_rtx_refuses_what_is_no_engine(folder, device, monkeypatch):
    """The one part of the real interface that needs no GPU: the logger, the run time, the check of a file."""
    trt = pytest.importorskip("tensorrt_rtx_bindings")
    artifact = read_artifact(folder)
    (folder / RTX_PLAN).write_bytes(b"not an engine" * 100)
    write_plan_info(folder / RTX_PLAN, dataclasses.replace(plan_info(artifact, RTX_PLAN), version=trt.__version__))
    try:
        with pytest.raises(InputError, match=r"TensorRT-RTX cannot run .*plan \(malformed engine\): build it anew"):
            TensorRt(artifact, "tensorrt-rtx", device)
        # As an engine for TensorRT is read, which has no such check.
        monkeypatch.setattr(trt.EngineValidity, "INVALID", None)
        with pytest.raises(InputError, match=r"\(IRuntime::deserializeCudaEngine: Error Code 1: .* failed\."):
            TensorRt(artifact, "tensorrt-rtx", HostDevice())
    finally:
        for path in folder.glob("*.plan*"):
            path.unlink()
    assert device.events == ["close device"]


def test_the_real_interface_has_what_is_called():
    trt = pytest.importorskip("tensorrt_rtx_bindings")
    engine = ("num_io_tensors", "get_tensor_name", "get_tensor_mode", "get_tensor_dtype", "get_tensor_profile_shape")
    context = ("set_device_memory", "set_input_shape", "set_tensor_address", "execute_async_v3")
    assert all(hasattr(trt.ICudaEngine, name) for name in (*engine, "device_memory_size_v2", "create_runtime_config"))
    assert all(hasattr(trt.IExecutionContext, name) for name in context)
    assert trt.ExecutionContextAllocationStrategy.USER_MANAGED and trt.DynamicShapesKernelSpecializationStrategy.EAGER
    options = vars(trt.IRuntimeConfig)
    assert {"dynamic_shapes_kernel_specialization_strategy", "set_execution_context_allocation_strategy"} <= set(
        options
    )
    assert [trt.nptype(kind) for kind in (trt.float32, trt.int64, trt.uint8)] == [np.float32, np.int64, np.uint8]
