"""Times of nodes -> shares by type and layer, each beside its own limit."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ddgan_deploy.bench.jobs import PerOpJob
from ddgan_deploy.bench.limits.graph_cost import GraphCost, NodeCost
from ddgan_deploy.bench.per_op import TOP, shares
from ddgan_deploy.bench.results import OpShare, Rates
from ddgan_deploy.bench.worker import op_times
from ddgan_deploy.bench.worker.op_times import OpRunner, median_times, read_profile
from ddgan_deploy.engines.base import OpTime
from ddgan_deploy.errors import InputError


def node(name: str, op_type: str, output: str, flops: int) -> NodeCost:
    return NodeCost(name, op_type, output, (1, 8), flops, weight_bytes=0, bytes=0)


COST = GraphCost(
    1,
    (
        node("step0/a.Conv_0", "Conv", "v1", 2_000_000),
        node("step1/a.Conv_0", "Conv", "v2", 2_000_000),
        node("step0/b/MatMul", "MatMul", "v3", 1_000_000),
    ),
    io_bytes=0,
)
RATES = Rates({"float32": 1e9}, 1e9)


def test_shares_by_type_and_by_layer():
    times = [
        OpTime("v1_nchwc", "Conv", 4.0, (1, 8)),
        OpTime("step1/a.Conv_0", "Conv", 6.0, (1, 8)),
        OpTime("step0/b/MatMul/MatmulTransposeFusion/", "FusedMatMul", 2.0),
        OpTime("ReorderInput_7", "ReorderInput", 8.0, (1, 8)),
    ]
    by_type, top = shares(times, COST, RATES, "float32")
    assert by_type == (
        OpShare("Conv", "", (), 2, 10.0, 0.5, 0.4),
        OpShare("ReorderInput", "", (), 1, 8.0, 0.4, None),
        OpShare("FusedMatMul", "", (), 1, 2.0, 0.1, 0.5),
    )
    assert top == (
        OpShare("Conv", "a.Conv_0", (1, 8), 2, 10.0, 0.5, 0.4),
        OpShare("ReorderInput", "", (1, 8), 1, 8.0, 0.4, None),
        OpShare("FusedMatMul", "b/MatMul", (1, 8), 1, 2.0, 0.1, 0.5),
    )


def test_of_what_a_node_became_the_slowest_has_its_limit():
    times = [
        OpTime("step0/a.Conv_0", "Convolution", 4.0),
        OpTime("step0/a.Conv_0/bias", "Add", 1.0),
        OpTime("step0/a.Conv_0/layout", "Reorder", 9.0),
    ]
    by_type, _ = shares(times, COST, RATES, "float32")
    assert {share.op_type: share.roofline_share for share in by_type} == {
        "Convolution": 0.5,
        "Add": None,
        "Reorder": None,
    }


def test_without_rates_there_are_shares_alone():
    by_type, top = shares([OpTime(f"n{i}", f"Op{i}", 1.0) for i in range(TOP + 5)], COST, None, "float32")
    assert len(by_type) == TOP + 5 and len(top) == TOP
    assert {share.roofline_share for share in by_type} == {None}


def test_a_nodes_time_is_its_median_without_the_first_run():
    runs = [[OpTime("a", "Conv", ms), OpTime("b", "Add", 1.0), OpTime("b", "Add", ms)] for ms in (99, 5, 3, 4)]
    assert median_times(runs) == [OpTime("a", "Conv", 4), OpTime("b", "Add", 1.0), OpTime("b", "Add", 4)]


def test_onnxruntimes_profile_is_cut_into_runs():
    def event(name: str, duration: int) -> dict[str, object]:
        args = {"op_name": "Conv", "output_type_shape": [{"float": [1, 8]}]}
        return {"cat": "Node", "name": name, "dur": duration, "args": args}

    end = {"cat": "Session", "name": "model_run", "dur": 1}
    start = {"cat": "Session", "name": "session_initialization", "dur": 1}
    events = [start, event("a_kernel_time", 2000), event("a_fence_before", 9), end, event("a_kernel_time", 4000), end]
    assert read_profile(events) == [[OpTime("a", "Conv", ms, (1, 8))] for ms in (2.0, 4.0)]


def test_an_engines_own_profile_is_asked(artifact, monkeypatch):
    seen = []

    def profile(inputs):
        seen.append(len(inputs["x_T"]))
        return [OpTime("a", "Conv", float(len(seen)))]

    monkeypatch.setattr(op_times, "open_engine", lambda *arguments: SimpleNamespace(profile=profile))
    assert OpRunner(PerOpJob("openvino-f32", artifact, 1, batch=3, runs=2)).measure() == [OpTime("a", "Conv", 2.5)]
    assert seen == [3, 3, 3]


def test_an_engine_that_does_not_tell(artifact, monkeypatch):
    monkeypatch.setattr(op_times, "open_engine", lambda *arguments: SimpleNamespace())
    with pytest.raises(InputError, match="does not tell how long its ops take"):
        OpRunner(PerOpJob("openvino-f32", artifact, 1, 1, 1))
