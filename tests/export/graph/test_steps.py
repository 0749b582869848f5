"""A step stated once, as copies and as a Loop, on a sampler that is small enough to be computed by hand."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from ddgan_deploy.engines.onnxruntime.probes import probed
from ddgan_deploy.engines.onnxruntime.session import new_session
from ddgan_deploy.engines.onnxruntime.step_graph import NUMBER, STATE, node_names, one_step, place_of
from ddgan_deploy.export.graph import steps as steps_module
from ddgan_deploy.export.graph.save import save
from ddgan_deploy.export.graph.served import seed_to_pixels
from ddgan_deploy.export.graph.steps import SamplerBuilder
from ddgan_deploy.export.precision import ranges
from ddgan_deploy.export.precision.float16 import to_float16
from ddgan_deploy.export.precision.ranges import activation_ranges
from ddgan_deploy.inputs import draw
from ddgan_deploy.kernels.reverse_step.spec import Coefficients
from ddgan_deploy.sampler import Draw, Sampler, Streams

IMAGE = (1, 2, 3)
STEPS = 5
SEEDS = [1, 2, 3]
GAINS = np.linspace(0.5, 1.5, STEPS, dtype=np.float32).reshape(STEPS, 1)
STATED = 3
"""Nodes of a step: a pick of a draw, a product and ReverseStep."""


def sampler(steps=STEPS, rows=STEPS - 1):
    noise = (Draw("noise", IMAGE, Streams(2, 2, rows)),) if rows else ()
    return Sampler(IMAGE, steps, (Draw("x_T", IMAGE, 0), *noise))


def coefficients(steps, last):
    rows = [Coefficients(c0=0.5 + 0.1 * k, ct=0.25, s=0.5) for k in range(steps - 1)]
    return np.array([*rows, last], np.float32)


def built(loop, steps=STEPS, rows=STEPS - 1, last=Coefficients(), scaled=False):  # noqa: B008
    to = SamplerBuilder(sampler(steps, rows), loop)
    table = coefficients(steps, last)

    def body(x, step):
        out = step.op("Mul", [x, step.row("gain", GAINS)], name="out", float32=True)
        return step.reverse(out, x, step.row("coefficients", table, float32=True), step.draw("noise"))

    x = to.inputs["x_T"]
    if scaled:
        x = to.op("Mul", [x, to.constant("start/by", np.float32(3))], name="start", shape=IMAGE)
    model = to.model(to.op("Neg", [to.steps(x, body)], name="x_0"))
    assert to.looped == any(node.op_type == "Loop" for node in model.graph)
    return model


def expected(inputs, steps=STEPS, last=Coefficients(), start=1.0):  # noqa: B008
    """The states, by NumPy."""
    x, states = start * inputs["x_T"], []
    for k, row in enumerate(coefficients(steps, last)):
        c0, *_, ct, s = row
        noise = inputs["noise"][:, k] if "noise" in inputs and k < inputs["noise"].shape[1] else np.float32(0)
        x = c0 * GAINS[k] * x + ct * x + s * noise
        states.append(x)
    return states


def run(model, inputs, folder):
    save({"model.onnx": model}, folder, {"ddgan_deploy_version": ""})
    return new_session(folder / "model.onnx").run(None, inputs)[0]


def op_types(model):
    return [node.op_type for node in model.graph.all_nodes()]


@pytest.mark.parametrize("loop", ["never", "always"])
def test_both_forms_are_what_is_stated(loop, tmp_path):
    inputs = draw(sampler(), SEEDS)
    np.testing.assert_allclose(run(built(loop), inputs, tmp_path), -expected(inputs)[-1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loop", ["never", "always"])
def test_without_noise_there_is_the_mean_alone(loop, tmp_path):
    model, inputs = built(loop, rows=0), draw(sampler(rows=0), SEEDS)
    assert "ReverseStep" not in op_types(model) and "ReverseMean" in op_types(model)
    np.testing.assert_allclose(run(model, inputs, tmp_path), -expected(inputs)[-1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loop", ["never", "always"])
def test_a_last_step_that_is_not_the_identity(loop, tmp_path):
    last = Coefficients(c0=2.0, ct=0.5)
    inputs = draw(sampler(), SEEDS)
    found = run(built(loop, last=last), inputs, tmp_path)
    np.testing.assert_allclose(found, -expected(inputs, last=last)[-1], rtol=1e-5, atol=1e-6)


def test_copies_leave_out_what_changes_nothing():
    assert op_types(built("never")).count("ReverseStep") == STEPS - 1 and "ReverseMean" not in op_types(built("never"))


@pytest.mark.parametrize(("most", "is_loop"), [(STEPS * STATED, False), (STEPS * STATED - 1, True)])
def test_auto_goes_by_the_nodes_of_all_copies(monkeypatch, most, is_loop):
    monkeypatch.setattr(steps_module, "MOST_NODES", most)
    model = built("auto")
    assert ("Loop" in op_types(model)) is is_loop
    # What was counted is forgotten.
    assert len(model.graph.inputs[0].uses()) == (1 if is_loop else 2)
    assert op_types(model).count("Mul") == (1 if is_loop else STEPS)


def test_one_step_is_no_loop():
    assert "Loop" not in op_types(built("always", steps=1, rows=0))


def test_any_step_starts_from_what_the_one_before_made(tmp_path):
    """Also where the first does not start from an input."""
    inputs = draw(sampler(), SEEDS)
    save({"model.onnx": built("always", scaled=True)}, tmp_path, {"ddgan_deploy_version": ""})
    step = one_step(onnx.load(tmp_path / "model.onnx"))
    assert step is not None and (step.trips, step.maker) == (STEPS, "step/ReverseStep")
    session = new_session(probed(step.model, ["step/out", "start"]).SerializeToString())
    x = np.zeros_like(inputs["x_T"])
    for k, want in enumerate(expected(inputs, start=3.0)):
        fed = {**inputs, NUMBER: np.array(k, np.int64), STATE: x}
        x_0, x, start = session.run(["x_0", step.state, "start"], fed)
        np.testing.assert_allclose(x, want, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(start, 3 * inputs["x_T"], rtol=1e-6)
    np.testing.assert_allclose(x_0, -x)
    # The file itself does the same.
    np.testing.assert_allclose(new_session(tmp_path / "model.onnx").run(None, inputs)[0], x_0, rtol=1e-6)


def test_nodes_go_by_the_names_that_copies_have(tmp_path):
    save({"loop.onnx": built("always"), "copies.onnx": built("never")}, tmp_path, {"ddgan_deploy_version": ""})
    loop, copies = (set(node_names(onnx.load(tmp_path / f"{name}.onnx").graph)) for name in ("loop", "copies"))
    assert copies < loop and "step3/ReverseStep" in copies
    assert one_step(onnx.load(tmp_path / "copies.onnx")) is None
    assert place_of("step3/out", STEPS - 1) == (3, "step/out") and place_of("x_0", STEPS - 1) == (4, "x_0")


def test_the_served_loop_draws_what_copies_draw(tmp_path):
    models = {f"{loop}.onnx": seed_to_pixels(built(loop), sampler()) for loop in ("always", "never")}
    save(models, tmp_path, {"ddgan_deploy_version": ""})
    seeds = np.array(SEEDS, np.int64)[:, None]
    one, other = (new_session(tmp_path / name).run(None, {"seed": seeds})[0] for name in models)
    np.testing.assert_array_equal(one, other)
    assert one.std() > 10


def test_integers_are_drawn_side_by_side(tmp_path):
    """Their op has no form that takes its stream as an input."""
    draws = (Draw("x_T", IMAGE, 0), Draw("noise", IMAGE, Streams(2, 2, STEPS), below=5))
    of_integers = Sampler(IMAGE, STEPS, draws)
    models: dict[str, ir.Model] = {}
    for loop in ("always", "never"):
        to = SamplerBuilder(of_integers, loop)

        def body(x, step):
            drawn = step.draw("noise")
            float_ = step.op("Cast", [drawn], name="float", float32=True, to=ir.DataType.FLOAT)
            return step.op("Sub", [x, float_], name="x", float32=True)

        models[f"{loop}.onnx"] = seed_to_pixels(to.model(to.steps(to.inputs["x_T"], body)), of_integers)
    save(models, tmp_path, {"ddgan_deploy_version": ""})
    seeds = np.array(SEEDS, np.int64)[:, None]
    one, other = (new_session(tmp_path / name).run(None, {"seed": seeds})[0] for name in models)
    np.testing.assert_array_equal(one, other)


def test_ranges_are_those_of_all_trips(tmp_path):
    inputs = draw(sampler(), SEEDS)
    found = activation_ranges(built("always"), inputs, tmp_path)
    copies = activation_ranges(built("never"), inputs, tmp_path)
    of_steps = [copies[f"step{k}/out"] for k in range(STEPS)]
    assert found["step/out"].low == pytest.approx(min(each.low for each in of_steps))
    assert found["step/out"].high == pytest.approx(max(each.high for each in of_steps))


def test_of_many_trips_some_are_looked_at(tmp_path, monkeypatch):
    """The first, the last and some between, with their own numbers, each from the state that the one before it made."""
    monkeypatch.setattr(ranges, "_MOST_TRIPS", 3)
    model, inputs = built("always"), draw(sampler(), SEEDS)
    found = activation_ranges(model, inputs, tmp_path)
    x, outs = inputs["x_T"], []
    for k in (0, 2, 4):
        c0, *_, ct, s = coefficients(STEPS, Coefficients())[k]
        outs.append(GAINS[k] * x)
        x = c0 * outs[-1] + ct * x + (s * inputs["noise"][:, k] if k < STEPS - 1 else 0)
    assert found["step/out"].low == pytest.approx(np.min(outs), rel=1e-5)
    assert found["step/out"].high == pytest.approx(np.max(outs), rel=1e-5)
    # The model itself has all of them.
    np.testing.assert_allclose(run(model, inputs, tmp_path), -expected(inputs)[-1], rtol=1e-5)


def test_what_fp16_needs_in_the_loop_is_cast_once_outside(tmp_path):
    to = SamplerBuilder(sampler(rows=0), "always")

    def body(x, step):
        # The state is cast at every step, the input once for all of them.
        half = step.op("Mul", [x, to.inputs["x_T"]], name="half")
        return step.op("Add", [half, x], name="x", float32=True)

    model, inputs = to.model(to.steps(to.inputs["x_T"], body)), draw(sampler(rows=0), SEEDS)
    before = run(model.clone(), inputs, tmp_path)
    assert to_float16(model, activation_ranges(model, inputs, tmp_path)) == ()
    casts = [node.inputs[0].name for node in model.graph if node.op_type == "Cast"]
    assert casts == ["x_T"] and op_types(model).count("Cast") == 3
    after = run(model, inputs, tmp_path)
    assert 0 < np.abs(after - before).max() < 1e-2 * np.abs(before).max()


def test_what_fp16_leaves_of_a_trip_s_weights_is_not_stored(tmp_path):
    to = SamplerBuilder(sampler(rows=0), "always")

    def body(x, step):
        weight = step.constant("weight", np.full((1000, *IMAGE), 0.5, np.float32))
        half = step.op("ReduceMean", [step.op("Mul", [weight, x], name="products")], name="half")
        return step.op("Add", [half, x], name="x", float32=True)

    model = to.model(to.steps(to.inputs["x_T"], body))
    to_float16(model, activation_ranges(model, draw(sampler(rows=0), SEEDS[:1]), tmp_path))
    save({"model.onnx": model}, tmp_path, {"ddgan_deploy_version": ""})
    assert 2 * 6000 <= (tmp_path / "weights.bin").stat().st_size < 3 * 6000
