"""All steps as one ONNX Loop: what the copies compute, in every engine, gated step by step as they are."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from ddgan_deploy import engines, open_artifact
from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.artifact.subgraphs import body_of, with_bodies
from ddgan_deploy.bench.jobs import PerOpJob
from ddgan_deploy.bench.limits.graph_cost import graph_cost
from ddgan_deploy.bench.per_op import shares
from ddgan_deploy.bench.worker.op_times import OpRunner
from ddgan_deploy.engines.onnxruntime.conv3x3 import specialize
from ddgan_deploy.errors import InputError
from ddgan_deploy.export import cli, pipeline
from ddgan_deploy.export.refit import RefitOptions, refit, structural_difference
from ddgan_deploy.inputs import draw
from ddgan_deploy.parity.comparison import psnr
from ddgan_deploy.parity.verify import verify
from tests.conftest import DATA
from tests.export.conftest import export_golden, make_one_step_wrong
from tests.export.structure import structure
from tests.trajectories import traced

SEEDS = [0, 5, 2**63 + 1]
GRAPHS = ("sampler.onnx", "ddgan.onnx")
ENGINES = ("onnxruntime", "onnxruntime-portable")
PINNED = json.loads((DATA / "pinned.json").read_text())["biggan, one Loop"]
"""Its graphs' structure: a change is made knowingly, here."""


@pytest.fixture(scope="module")
def looped(biggan, tmp_path_factory):
    """As many steps as there are in copies, which `biggan_fp32` has."""
    return export_golden(biggan, tmp_path_factory.mktemp("loop"), loop="always", verify=False).artifact


@pytest.fixture(scope="module")
def long(biggan, tmp_path_factory):
    """64 steps, for which nobody asked for a Loop."""
    golden = dataclasses.replace(biggan, steps=64, config=None)
    return export_golden(golden, tmp_path_factory.mktemp("long")).artifact


def loaded(artifact, name="sampler.onnx"):
    return onnx.load(artifact.path / name, load_external_data=False)


def test_published_numbers_step_by_step(looped, biggan):
    for name in ENGINES:
        with open_artifact(looped.path, name) as engine:
            trajectory = traced(engine, biggan.inputs)
            np.testing.assert_allclose(trajectory.x0, biggan.io["x0"], atol=1e-4)
            np.testing.assert_allclose(trajectory.x_prev, biggan.io["x_prev"], atol=1e-4)
            np.testing.assert_allclose(engine.sample(biggan.inputs), biggan.io["x_prev"][-1], atol=1e-4)


@pytest.mark.parametrize("engine", [*ENGINES, "openvino-f32"])
def test_a_seed_is_the_image_that_copies_draw(looped, biggan_fp32, engine, library):
    with open_artifact(looped.path, engine) as one, open_artifact(biggan_fp32.path, engine) as copies:
        images = one.generate(SEEDS)
        assert np.abs(images.astype(int) - copies.generate(SEEDS)).max() <= 1
        # Alone as in a batch.
        np.testing.assert_array_equal(one.generate(SEEDS[1:2])[0], images[1])


def test_noise_of_every_step_is_that_of_the_copies(looped, biggan):
    """A sampler whose x_0 is the noise of a step alone shows it: no image hides a wrong stream among sums."""
    model = loaded(looped, "ddgan.onnx")
    body = body_of(next(node for node in model.graph.node if node.name == "steps"))
    (drawn,) = (node for node in body.node if node.op_type == "PhiloxNormalAt")
    body.output.append(onnx.helper.make_tensor_value_info(drawn.output[0], onnx.TensorProto.FLOAT, None))
    latents = next(node for node in model.graph.node if node.name == "draw/z")
    for node in model.graph.node:
        if node.name == "steps":
            node.output.append("noise")
    del model.graph.output[:]
    for name in ("noise", latents.output[0]):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    onnx.save(model, looped.path / "noise.onnx")
    from ddgan_deploy.engines.onnxruntime.session import new_session

    try:
        session = new_session(looped.path / "noise.onnx")
    finally:
        (looped.path / "noise.onnx").unlink()
    noise, z = session.run(None, {"seed": np.array(SEEDS, np.uint64).view(np.int64)[:, None]})
    expected = draw(looped.manifest.sampler, SEEDS)
    np.testing.assert_array_equal(z, expected["z"])
    # The last step draws some too, and multiplies it by nothing.
    np.testing.assert_array_equal(noise[: biggan.steps - 1].swapaxes(0, 1), expected["noise"])


def test_from_5000_nodes_on_the_steps_are_one_loop(long):
    manifest = long.manifest
    names = [gate.name for gate in manifest.parity.gates]
    assert manifest.looped and read_artifact(long.path).manifest.looped
    assert names[1:4] == ["step 0 (t=63) x0", "step 0 (t=63) x_prev", "step 1 (t=62) x0"]
    assert manifest.parity.passed and len(names) == 2 * 64 + 5
    for name in GRAPHS:
        nodes = sum(len(graph.node) for graph in with_bodies(loaded(long, name).graph))
        assert nodes == manifest.graphs[name].nodes < 250
    assert (long.path / "weights.bin").stat().st_size <= 1.1 * 4 * manifest.checkpoint.parameters
    page = (long.path / "report.html").read_text(encoding="utf-8")
    assert "(the steps are one Loop)" in page and "a step)" not in page


def test_every_engine_runs_64_steps(long, library):
    inputs = draw(long.manifest.sampler, SEEDS)
    found = {}
    for name in (*ENGINES, "openvino-f32"):
        with open_artifact(long.path, name) as engine:
            found[name] = engine.sample(inputs)
            assert np.abs(found[name] - found["onnxruntime"]).max() < 1e-4, name


def test_fp16_reaches_into_the_loop(biggan, tmp_path, library, monkeypatch):
    artifact = export_golden(biggan, tmp_path, fp16=True, loop="always").artifact
    assert artifact.manifest.looped and artifact.manifest.parity.passed and artifact.manifest.kept_fp32 == ()
    graph = loaded(artifact).graph
    body = body_of(next(node for node in graph.node if node.op_type == "Loop"))
    weights = {tensor.name: tensor.data_type for tensor in body.initializer}
    half = onnx.TensorProto.FLOAT16
    assert {weights[node.input[1]] for node in body.node if node.op_type == "Conv"} == {half}
    assert weights["step/coefficients/rows"] == onnx.TensorProto.FLOAT
    # In the body, too, a CPU's own kernels compute in float32, or with products of bfloat16.
    monkeypatch.setattr(engines, "has_bfloat16", lambda: True)
    portable = open_artifact(artifact.path, "onnxruntime-portable").sample(biggan.inputs)
    for name, least in (("onnxruntime", 60), ("onnxruntime-bf16", 40)):
        with open_artifact(artifact.path, name) as engine:
            assert psnr(engine.sample(biggan.inputs), portable) > least, name
            assert traced(engine, biggan.inputs).x_prev.shape == biggan.io["x_prev"].shape
    # The state goes in, and the network's output comes out.
    assert sum(node.op_type == "Cast" for node in body.node) == 2


def test_its_graphs_are_as_they_were(looped):
    assert {name: structure(looped.path / name) for name in GRAPHS} == PINNED


def test_a_wrong_weight_is_named_by_step_and_layer(looped, biggan):
    checkpoint, key = biggan.load(), "all_modules.10.Conv_0.weight"
    wrong = dataclasses.replace(checkpoint, weights={**checkpoint.weights, key: 1.5 * checkpoint.weights[key]})
    first = verify(wrong, open_artifact(looped.path, ENGINES[1]), seeds=[0, 1]).result.failures[0]
    assert first.name == "step 0 (t=3) x0" and first.where.startswith("step0/all_modules.10.GroupNorm_1")


def test_a_step_that_is_wrong_alone_is_named(looped, biggan):
    generator = biggan.load().generator()
    make_one_step_wrong(generator)
    from ddgan_deploy.families.ddgan.reference import reference

    class Checkpoint:
        def reference(self, sampling):
            return reference(generator, sampling)

    failures = verify(Checkpoint(), open_artifact(looped.path, ENGINES[1]), seeds=[0, 1]).result.failures
    assert failures[0].name == "step 2 (t=1) x0" and failures[0].where.startswith("step2/")


def test_steps_start_from_given_states(looped, biggan):
    """Each step's error alone, as int8's gates ask for."""
    states = biggan.io["x_prev"][:-1] + np.float32(0.5)
    engine = open_artifact(looped.path, ENGINES[1])
    given, free = traced(engine, biggan.inputs, states), traced(engine, biggan.inputs)
    np.testing.assert_array_equal(given.x0[0], free.x0[0])
    assert (np.abs(given.x0[1:] - free.x0[1:]).max(axis=(1, 2, 3, 4)) > 1e-3).all()


@pytest.mark.parametrize("name", [*ENGINES, "openvino-f32"])
def test_weights_that_are_written_over_change_no_image(looped, tmp_path, name, library):
    copy = shutil.copytree(looped.path, tmp_path / "copy")
    with open_artifact(copy, name) as engine:
        before = engine.generate([0, 5])
        weights = copy / "weights.bin"
        # In place, as cp does it.
        weights.write_bytes(os.urandom(weights.stat().st_size))
        np.testing.assert_array_equal(engine.generate([0, 5]), before)
        weights.write_bytes(b"")
        np.testing.assert_array_equal(engine.generate([0, 5]), before)


def test_where_the_weights_cannot_be_copied_it_says_so(looped, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"weights.bin cannot be copied to .*nowhere \(No such file .*: name another"):
        open_artifact(looped.path, ENGINES[1]).generate([0])


def test_the_native_library_has_its_convolutions_in_the_loop(looped, biggan_fp32):
    assert biggan_fp32.manifest.steps * specialize(loaded(looped)) == specialize(loaded(biggan_fp32)) > 0


def test_it_costs_what_the_copies_cost(looped, biggan_fp32):
    loop, copies = (graph_cost(loaded(artifact), 2) for artifact in (looped, biggan_fp32))
    # Time biases are added to images, since no step's is constant.
    assert copies.flops < loop.flops < 1.002 * copies.flops
    assert copies.least_bytes == pytest.approx(loop.least_bytes, rel=0.03)
    assert copies.io_bytes == loop.io_bytes
    assert {node.times for node in loop.nodes} == {1, 4}


def test_ops_are_timed_inside_the_loop(looped, biggan):
    job = PerOpJob("onnxruntime-portable", looped.path, 1, 1, 2)
    times = OpRunner(job).measure()
    assert not any(time.op_type == "Loop" for time in times)
    by_type, top = shares(times, graph_cost(loaded(looped)), None, "float32")
    convolutions = {share.layer: share.count for share in top if "Conv" in share.op_type}
    assert set(convolutions.values()) == {biggan.steps}
    # A convolution that takes in the sum after it is told by that one's name.
    assert any(re.match(r"all_modules\.\d+", layer) for layer in convolutions)
    assert not any(layer.startswith("step") for layer in convolutions)
    assert sum(share.share for share in by_type) == pytest.approx(1)


def test_refit(looped, biggan, tmp_path):
    folder = Path(shutil.copytree(looped.path, tmp_path / "artifact"))
    weights = {name: 1.01 * weight for name, weight in torch.load(biggan.path, weights_only=True).items()}
    torch.save(weights, tmp_path / "new.pth")
    result = refit(RefitOptions(folder, tmp_path / "new.pth", biggan.config, verify=False))
    assert result.artifact.manifest.looped
    for name in GRAPHS:
        assert structural_difference(looped.path / name, folder / name) == ""
    with open_artifact(folder) as new, open_artifact(looped.path) as old:
        assert (new.generate(SEEDS) != old.generate(SEEDS)).any()


def test_another_graph_is_told_by_what_is_inside_the_loop(looped, tmp_path):
    model = loaded(looped)
    body = body_of(next(node for node in model.graph.node if node.op_type == "Loop"))
    body.initializer[0].dims[0] += 1
    onnx.save(model, tmp_path / "other.onnx")
    assert structural_difference(looped.path / "sampler.onnx", tmp_path / "other.onnx") != ""


def test_rebuild_makes_its_engine(long, tmp_path, capsys):
    pytest.importorskip("tensorrt_rtx_bindings")
    folder = shutil.copytree(long.path, tmp_path / "artifact")
    assert cli.main(["--rebuild", str(folder), "--engine", "tensorrt-rtx", "--target", "8.9"]) == 0
    assert (folder / "sampler.rtx.plan").stat().st_size > 1e6
    assert read_artifact(folder).manifest.looped


# What is asked for.


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--loop", "sometimes"), "--loop: invalid choice: 'sometimes'"),
        (("--loop", "always", "--int8"), "--int8 does not go with --loop always"),
        (("--loop", "always", "--refit", "DIR"), "--loop does not go with --refit"),
    ],
)
def test_wrong_input(argv, says, capsys):
    assert cli.main(["--ckpt", str(DATA / "biggan" / "netG.pth"), "--steps", "4", *argv]) == 2
    output = capsys.readouterr()
    assert says in output.err and output.err.count("\n") == 1


def test_int8_has_copies_however_many_steps_there_are(biggan, tmp_path, monkeypatch):
    asked = []

    class Graphs:
        def build(self, reference, sampler, without, loop):
            asked.append(loop)
            raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "graph_family", lambda _: Graphs())
    for precision in ({"int8": True}, {}):
        with pytest.raises(KeyboardInterrupt):
            export_golden(dataclasses.replace(biggan, steps=64, config=None), tmp_path, **precision)
    assert asked == ["never", "auto"]
