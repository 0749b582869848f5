"""From rates to the least time, and from seconds to rows."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from ddgan_deploy.artifact.reading import read_artifact
from ddgan_deploy.bench.limits.gpu_data_sheets import data_sheet
from ddgan_deploy.bench.limits.graph_cost import GraphCost, NodeCost, graph_cost
from ddgan_deploy.bench.limits.roofline import graph_ms, medians, node_ms, with_data_sheet
from ddgan_deploy.bench.names import all_engines, device_of, dtype_of
from ddgan_deploy.bench.results import Opened, Rates
from ddgan_deploy.bench.rows import Timed, rows_of
from ddgan_deploy.bench.series import Series
from ddgan_deploy.engines import ENGINES

NODE = NodeCost("a", "Conv", "a", (1,), flops=8_000_000, weight_bytes=1000, bytes=4000)
COST = GraphCost(1, (NODE, NODE), io_bytes=500)


@pytest.mark.parametrize(
    ("flops", "moved", "milliseconds"),
    [(1e9, 1e9, 16.0), (1e12, 1e3, 2500.0)],
    ids=["bound by operations", "bound by bytes"],
)
def test_the_least_time_of_a_graph(flops, moved, milliseconds):
    assert graph_ms(COST, Rates({"float32": flops}, moved), "float32") == pytest.approx(milliseconds)


def test_a_node_moves_its_data_too():
    assert node_ms(NODE, Rates({"float32": 1e12}, 1e3), "float32") == pytest.approx(4000.0)


def test_a_type_that_a_machine_only_emulates_limits_nothing():
    rates = Rates({"float32": 2e9, "bfloat16": 1e9, "int8": 4e9}, 1e9)
    assert [graph_ms(COST, rates, dtype) for dtype in ("float32", "bfloat16", "int8")] == pytest.approx([8, 8, 4])


def test_without_a_rate_there_is_no_limit():
    assert graph_ms(COST, None, "float32") is None
    assert graph_ms(COST, Rates({}, 1e9), "float32") is None


def test_rates_are_medians_and_a_data_sheet_fills_in():
    rounds = [{"cpu": {"float32": value, "copy": 10 * value}} for value in (3.0, 1.0, 2.0)]
    rates = medians(rounds)
    assert rates == {"cpu": Rates({"float32": 2.0}, 20.0)}
    filled = with_data_sheet(rates, "NVIDIA L4")
    assert filled["cpu"] == rates["cpu"] and filled["cuda"].bytes == 300e9
    measured = {**rates, "cuda": rates["cpu"]}
    assert with_data_sheet(measured, "NVIDIA L4") == measured
    assert with_data_sheet(rates, "") == rates and medians([]) == {}


@pytest.mark.parametrize(
    ("gpu", "float16", "bytes_"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5e12, 3350e9),
        ("NVIDIA H100 PCIe", 756e12, 2000e9),
        ("NVIDIA L40S", 362e12, 864e9),
        ("NVIDIA A100-SXM4-40GB", 312e12, 1555e9),
        ("NVIDIA GeForce RTX 4090", 165.2e12, 1008e9),
    ],
)
def test_data_sheets_are_found_by_whole_words(gpu, float16, bytes_):
    rates = data_sheet(gpu)
    assert rates is not None
    assert rates.flops["float16"] == pytest.approx(float16) and rates.bytes == pytest.approx(bytes_)
    assert rates.source.startswith("data sheet")


def test_an_unknown_gpu_has_no_data_sheet():
    assert data_sheet("NVIDIA A1000") is None


def test_what_engines_multiply_in():
    assert dtype_of("onnxruntime", "fp16") == "float32"
    assert dtype_of("onnxruntime-cuda", "fp16") == dtype_of("pytorch-cudagraph", "fp32") == "float16"
    assert dtype_of("openvino-bf16", "fp32") == "bfloat16" and dtype_of("openvino-bf16", "int8") == "int8"
    assert dtype_of("pytorch-eager", "int8") == "float32" and dtype_of("onnxruntime", "int8") == "int8"


def test_every_engine_that_opens_artifacts_can_be_measured():
    names = all_engines()
    assert set(ENGINES) < set(names) and len(set(names)) == len(names)
    assert names[0] == "pytorch-eager"
    assert {device_of(name) for name in ENGINES if name.startswith("tensorrt")} == {"cuda"}
    assert device_of("onnxruntime") == "cpu" and device_of("onnxruntime-cuda") == "cuda"


def test_rows(artifact):
    opened, whole = Opened(0.5, 1.5), read_artifact(artifact)
    graphs = {artifact: onnx.load(artifact / "sampler.onnx", load_external_data=False)}
    timed = [
        Timed(Series("pytorch-eager", whole), opened, 4, (0.5, 0.2, 0.4), 200.0, None),
        Timed(Series("onnxruntime", whole), opened, 4, (0.1, 0.3, 0.1), 100.0, None),
        Timed(Series("tensorrt", whole), opened, 4, (0.01,), 100.0, 50.0),
    ]
    eager, ours, gpu = rows_of(timed, graphs, {"cpu": Rates({"float32": 1e9}, 1e12)})
    assert (ours.median_ms, ours.images_per_s, ours.speedup_vs_eager) == pytest.approx((100, 40, 4))
    assert ours.p95_ms == pytest.approx(280) and ours.runs == 3
    assert (eager.artifact, Path(str(ours.artifact))) == (None, artifact)
    limit = graph_cost(graphs[artifact], 4).flops / 1e6
    assert (ours.roofline_ms, ours.roofline_share) == pytest.approx((limit, limit / 100))
    assert (ours.import_s, ours.load_s, ours.peak_mb, gpu.gpu_peak_mb) == (0.5, 1.5, 100.0, 50.0)
    # A GPU is compared with PyTorch on the GPU, and its rate was not measured.
    assert (gpu.speedup_vs_eager, gpu.roofline_ms, gpu.roofline_share) == (None, None, None)
