"""What is timed computes the images, whatever the engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.bench.engines import onnxruntime_cuda
from ddgan_deploy.bench.engines.plain import export_plain
from ddgan_deploy.bench.engines.reference import open_reference, x_0_of
from ddgan_deploy.bench.jobs import SampleJob
from ddgan_deploy.bench.names import COMPILE, EAGER, ONNXRUNTIME_CUDA, ONNXRUNTIME_CUDA_PORTABLE
from ddgan_deploy.bench.worker.sampling import SampleRunner, _imported, peak_mb
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.family import FAMILY
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.families.registry import model_and_sampling
from ddgan_deploy.inputs import draw
from tests.trajectories import published

TINY = GeneratorConfig(
    image_size=8, num_channels=1, num_channels_dae=8, ch_mult=(1,), num_res_blocks=1, nz=4, z_emb_dim=8, n_mlp=0,
    attn_resolutions=(),
)  # fmt: skip


def tensors(inputs):
    return {name: torch.from_numpy(value) for name, value in inputs.items()}


@pytest.fixture
def job(small, artifact) -> SampleJob:
    return SampleJob(EAGER, artifact, small.path, threads=1, first_batch=1)


@pytest.mark.parametrize("engine", [EAGER, "onnxruntime", "onnxruntime-portable"])
def test_engines_draw_the_golden_images(small, job, library, engine):
    threads = torch.get_num_threads()
    try:
        drawn = _imported(engine)(dataclasses.replace(job, engine=engine))(small.inputs)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(drawn, small.io["x_prev"][-1], atol=2e-5)


def test_the_sampler_of_tensors_is_the_reference(small, job):
    checkpoint = small.load()
    drawn = x_0_of(open_reference(job), tensors(small.inputs)).numpy()
    expected = published(checkpoint.generator(), checkpoint.choose(small.steps), small.inputs).x_prev[-1]
    np.testing.assert_array_equal(drawn, expected)


def test_float16_is_near_and_leaves_conditioning_alone(small, job):
    reference = open_reference(job)
    drawn = x_0_of(reference.half(), tensors(small.inputs))
    assert drawn.dtype == torch.float32
    error = np.abs(drawn.numpy() - small.io["x_prev"][-1]).max()
    assert 1e-5 < error < 0.05
    types = {name: weight.dtype for name, weight in reference.generator.named_parameters()}
    assert {dtype for name, dtype in types.items() if "Conv_" in name or "NIN" in name} == {torch.float16}
    assert {dtype for name, dtype in types.items() if "Dense" in name or "style" in name} == {torch.float32}


def test_a_plain_export_has_no_op_of_ours(tmp_path):
    # One step: the exporter takes seconds for each.
    reference, sampler = FAMILY.untrained(TINY, Schedule(1)), FAMILY.sampler(TINY, Schedule(1))
    path = tmp_path / "plain.onnx"
    export_plain(reference, sampler, path)
    model = onnx.load(path)
    assert {node.domain for node in model.graph.node} == {""}
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = draw(sampler, range(3))
    np.testing.assert_allclose(session.run(None, inputs)[0], x_0_of(reference, tensors(inputs)).numpy(), atol=1e-5)


def test_random_weights_give_ordinary_numbers(job):
    manifest = read_artifact(job.artifact).manifest
    first, second = (FAMILY.untrained(*model_and_sampling(manifest.family)).generator for _ in range(2))
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    inputs = tensors(draw(manifest.sampler, [0]))
    with torch.inference_mode():
        x = first.denoise(
            inputs["x_T"],
            first.condition(torch.zeros(1, dtype=torch.int64), inputs["z"][:, 0]),
        )
    assert 0.05 < x.std() < 20


def test_a_runner_times_what_it_prepared(job, monkeypatch):
    batches = []
    monkeypatch.setattr(
        "ddgan_deploy.bench.worker.sampling._imported",
        lambda engine: lambda job: lambda inputs: batches.append(len(inputs["x_T"])),
    )
    runner = SampleRunner(dataclasses.replace(job, first_batch=2))
    assert batches == [2]
    runner.prepare(3)
    assert runner.measure() > 0 and batches == [2, 3, 3]
    opened = runner.opened()
    assert opened.import_s >= 0 and opened.load_s >= 0
    megabytes, gpu = runner.memory()
    assert megabytes == pytest.approx(peak_mb(), rel=0.2) and megabytes > 50 and gpu is None


def test_what_is_missing_is_said(job, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="no-such-compiler is not there"):
        _imported(COMPILE)(dataclasses.replace(job, engine=COMPILE))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match="needs ONNX Runtime's build for CUDA"):
        _imported(ONNXRUNTIME_CUDA)(dataclasses.replace(job, engine=ONNXRUNTIME_CUDA))
    with pytest.raises(InputError, match="does not exist"):
        _imported("onnxruntime-portable")(dataclasses.replace(job, engine="onnxruntime", artifact=Path("nowhere")))


@pytest.fixture
def cuda(monkeypatch):
    """ONNX Runtime's build for CUDA on a GPU, as far as it can be told from outside."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [onnxruntime_cuda.PROVIDER])
    monkeypatch.setattr(onnxruntime_cuda, "open_device", lambda engine: None)
    monkeypatch.delenv(onnxruntime_cuda.KERNELS_VARIABLE, raising=False)
    return monkeypatch


def test_a_cuda_provider_that_does_not_load_is_no_engine(job, cuda):
    """ONNX Runtime itself goes on with the CPU, which would be measured for it."""
    engine = ONNXRUNTIME_CUDA_PORTABLE
    with pytest.raises(InputError, match=f"engine {engine}: ONNX Runtime .* did not load its CUDA provider"):
        _imported(engine)(dataclasses.replace(job, engine=engine))


def test_our_kernels_are_never_silently_left_out(job, cuda):
    job = dataclasses.replace(job, engine=ONNXRUNTIME_CUDA)
    cuda.setattr(onnxruntime_cuda, "ort_library", lambda: Path("library.so"))
    cuda.setattr(onnxruntime_cuda.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs compiled kernels: install Triton"):
        _imported(ONNXRUNTIME_CUDA)(job)
    cuda.setattr(onnxruntime_cuda, "ort_library", lambda: None)
    with pytest.raises(InputError, match="needs the native library.*: measure onnxruntime-cuda-portable"):
        _imported(ONNXRUNTIME_CUDA)(job)
