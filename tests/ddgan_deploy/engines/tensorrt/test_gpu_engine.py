"""TensorRT on a GPU: engines that the export built, against PyTorch, in threads, and what they leave behind."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from ddgan_deploy import open_artifact
from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.artifact.reading import read_damaged
from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.engines.tensorrt.device import CudaDevice
from ddgan_deploy.engines.tensorrt.engine import TensorRt
from ddgan_deploy.engines.tensorrt.loaded_plan import KEPT_BATCH_SIZES
from ddgan_deploy.engines.tensorrt.plan import PLANS, SERVED_PLAN, read_plan_info, write_plan_info
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.gpu import driver_version, has_gpu
from ddgan_deploy.inputs import draw
from ddgan_deploy.parity.verify import verify

pytestmark = pytest.mark.gpu

MIB = 2**20


# The device alone


@pytest.fixture
def device() -> Iterator[CudaDevice]:
    device = CudaDevice()
    yield device
    with device.active():
        device.close()


def test_the_device_tells_what_it_is(device):
    assert has_gpu()
    assert device.name == torch.cuda.get_device_name()
    assert device.compute_capability == "{}.{}".format(*torch.cuda.get_device_capability())
    assert device.driver == driver_version()
    assert device.driver is None or device.driver[0].isdigit()
    assert device.stream not in (0, torch.cuda.current_stream().cuda_stream)


def test_values_go_there_and_back(device):
    with device.active():
        gpu, host = device.on_gpu((10, 100), "float32"), device.on_host((10, 100), "float32")
        assert gpu.is_cuda and gpu.data_ptr() % 256 == 0 and host.is_pinned()
        host[:] = torch.arange(1000).reshape(10, 100)
        device.copy(gpu, host)
        device.synchronize()
        host.zero_()
        device.copy(host[:6], gpu[:6])
        device.synchronize()
        assert torch.equal(host[:6].flatten(), torch.arange(600.0))
        assert not host[6:].any()


def test_captured_work_runs_when_it_is_replayed(device):
    with device.active():
        (one, there), (other, far) = ((device.on_host((64,), "uint8"), device.on_gpu((64,), "uint8")) for _ in range(2))

        def there_and_back() -> None:
            device.copy(there, one)
            device.copy(one, there)
            device.copy(far[:32], other[:32])

        def fetched() -> torch.Tensor:
            other.zero_()
            device.copy(other[:32], far[:32])
            device.synchronize()
            return other[:32]

        one[:], other[:] = 1, 2
        there_and_back()
        device.synchronize()
        other[:] = 5
        graph = device.capture(there_and_back)
        assert graph is not None
        device.synchronize()
        assert (fetched() == 2).all(), "captured work has run"
        for value in (7, 9):
            other[:] = value
            graph.replay()
            device.synchronize()
            assert (fetched() == value).all()
        graph.reset()


def test_work_that_cannot_be_captured_leaves_the_device_whole(device):
    with device.active():
        host, gpu = device.on_host((64,), "uint8"), device.on_gpu((64,), "uint8")

        def waiting() -> None:
            device.copy(gpu, host)
            device.synchronize()

        assert device.capture(waiting) is None
        host[:] = 3
        device.copy(gpu, host)
        device.synchronize()
        host.zero_()
        device.copy(host, gpu)
        device.synchronize()
        assert (host == 3).all()
        graph = device.capture(lambda: device.copy(gpu, host))
        assert graph is not None
        graph.reset()


def test_too_little_memory_is_one_line(device):
    with device.active(), pytest.raises(InputError, match="MiB of memory left, the engine needs 67108864 more"):
        device.on_gpu((2**44,), "float32")


# Engines


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def artifact(request, biggan, tmp_path_factory) -> Artifact:
    """The golden case with TensorRT's engines."""
    pytest.importorskip("tensorrt")
    options = ExportOptions(
        checkpoint=biggan.path,
        config=biggan.config,
        steps=biggan.steps,
        fp16=request.param == "fp16",
        out=tmp_path_factory.mktemp("gpu") / "artifact",
        engine="tensorrt",
    )
    return export(options).artifact


@pytest.fixture
def engine(artifact) -> Iterator[TensorRt]:
    with TensorRt(artifact) as engine:
        yield engine


@pytest.fixture(scope="module")
def most(artifact) -> int:
    return read_plan_info(artifact, SERVED_PLAN).profile.most


def test_auto_takes_it(artifact):
    with open_artifact(artifact.path) as engine:
        assert engine.name == "tensorrt"


def test_every_gate_passes(engine, biggan):
    result = verify(load_checkpoint(biggan.path, biggan.config), engine, range(6)).result
    assert result.passed, [gate.failure() for gate in result.failures]
    assert len(result.gates) == 5


def test_any_number_of_images(engine, most):
    images = engine.generate(range(most + 3))
    assert images.shape == (most + 3, 32, 32, 3)
    tolerance = 1 if engine.artifact.manifest.precision == "fp32" else 3
    for count in (1, 2, 5):
        for _ in range(3):  # as it is, and twice by its graph
            apart = np.abs(engine.generate(range(count)).astype(int) - images[:count])
            assert apart.max() <= tolerance
    assert engine.sample(_noise(engine, [])).shape == (0, 3, 32, 32)


def test_replays_are_the_first_run_bit_for_bit(engine):
    noise = _noise(engine, range(3))
    first = engine.sample(noise)
    # Something else in between, so that nothing is left over from the first run.
    engine.sample(_noise(engine, [7, 8, 9]))
    assert np.array_equal(engine.sample(noise), first)
    seeds = [2**64 - 1, 2**63, 0]
    assert np.array_equal(engine.generate(seeds), engine.generate(seeds))
    assert np.array_equal(engine.generate([-1]), engine.generate([2**64 - 1]))


def test_several_threads_get_their_own_results(engine):
    counts = [1, 3, 2, 5, 4, 1, 2, 3] * 3
    expected = {count: engine.generate(range(count)) for count in set(counts)}
    with ThreadPoolExecutor(6) as threads:
        drawn = list(threads.map(lambda count: engine.generate(range(count)), counts))
    for count, images in zip(counts, drawn, strict=True):
        assert np.array_equal(images, expected[count])


def test_other_work_on_the_gpu_goes_on_beside_it(engine):
    """PyTorch's stream and the current stream of the thread stay as they are."""
    before = torch.cuda.current_stream()
    x = torch.randn(512, 512, device="cuda")
    product = x @ x
    engine.generate([0, 1])
    assert torch.cuda.current_stream() == before
    assert torch.equal(x @ x, product)


def _noise(engine: TensorRt, seeds):
    inputs = draw(engine.artifact.manifest.sampler, list(seeds) or [0])
    count = len(list(seeds))
    return {name: value[:count] for name, value in inputs.items()}


def _free() -> int:
    gc.collect()
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


def test_closing_gives_all_memory_back(artifact):
    def use() -> None:
        with TensorRt(artifact) as engine:
            engine.generate(range(3))
            engine.sample(_noise(engine, range(2)))

    # What CUDA and TensorRT load once a process stays.
    use()
    before = _free()
    for _ in range(3):
        use()
    assert before - _free() < 8 * MIB


def test_an_engine_that_cannot_be_opened_gives_all_memory_back(artifact, tmp_path):
    # Links, so that damage here is none to the artifact of the other tests.
    for file in artifact.path.iterdir():
        if file.is_file():
            (tmp_path / file.name).symlink_to(file)
    damaged = tmp_path / SERVED_PLAN
    content = damaged.read_bytes()
    damaged.unlink()
    damaged.write_bytes(content[: len(content) // 2])
    before = _free()
    with pytest.raises(InputError, match=r"^TensorRT cannot run .*ddgan\.plan \(.+\): build it anew with ddgan-export"):
        TensorRt(read_damaged(tmp_path)[0])
    assert before - _free() < 8 * MIB


def test_many_batch_sizes_need_no_more_memory_than_a_few(artifact, most):
    """Contexts and graphs that were used longest ago are freed: NVIDIA/TensorRT issue 4849 is of such leaks."""
    sizes = range(1, min(most, 2 * KEPT_BATCH_SIZES) + 1)
    if len(sizes) <= KEPT_BATCH_SIZES:
        pytest.skip("the engine takes few batch sizes")
    with TensorRt(artifact) as engine:

        def every_size() -> int:
            for size in sizes:
                engine.generate(range(size))
            return _free()

        every_size()
        before = every_size()
        for _ in range(4):
            after = every_size()
    assert before - after < 16 * MIB


def test_another_gpus_engine_is_refused_before_tensorrt_is_asked(artifact, tmp_path):
    for file in artifact.path.iterdir():
        if file.is_file():
            (tmp_path / file.name).symlink_to(file)
    copy, _ = read_damaged(tmp_path)
    for name in PLANS["tensorrt"]:
        (tmp_path / f"{name}.json").unlink()
        info = read_plan_info(artifact, name)
        other = dataclasses.replace(info, compute_capabilities=("5.0",), hardware_compatibility="none")
        write_plan_info(tmp_path / name, other)
    with pytest.raises(InputError, match="was built for compute capability 5.0, the GPU here has"):
        TensorRt(copy)
