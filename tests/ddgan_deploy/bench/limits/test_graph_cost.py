"""Operations and bytes of graphs, against figures by hand, PyTorch's own count and the published ones."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import parser
from torch.utils.flop_counter import FlopCounterMode

from ddgan_deploy.bench.limits.graph_cost import graph_cost
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.network import Generator

CIFAR10 = {"num_channels_dae": 128, "ch_mult": (1, 2, 2, 2), "z_emb_dim": 256, "n_mlp": 4, "image_size": 32}
CELEBA = {"num_channels_dae": 64, "ch_mult": (1, 1, 2, 2, 4, 4), "z_emb_dim": 256, "n_mlp": 3, "image_size": 256}


def model(text: str) -> onnx.ModelProto:
    return parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20, "ddgan" : 1]> {text}')


def count_by_pytorch(generator: Generator) -> int:
    """Operations of one step's products; without the time path, which an unrolled graph has folded away."""
    config = generator.config
    x, z = torch.zeros(1, *config.image_shape), torch.zeros(1, config.nz)
    with torch.no_grad():
        conditioning = generator.condition(torch.zeros(1, dtype=torch.int64), z)
        with FlopCounterMode(display=False) as counter:
            generator.styles(z)
            generator.denoise(x, conditioning)
    return counter.get_total_flops()


@pytest.mark.parametrize(("sizes", "published"), [(CIFAR10, 14.1e9), (CELEBA, 142e9)], ids=["cifar10", "celeba"])
def test_pytorchs_count_is_the_published_one(sizes, published):
    # What the next test compares with.
    with torch.device("meta"):
        flops = count_by_pytorch(Generator(GeneratorConfig(num_channels=3, num_res_blocks=2, nz=100, **sizes)))
    assert flops == pytest.approx(published, rel=0.02)


def test_an_artifact_costs_what_pytorch_counts(small, artifact):
    cost = graph_cost(onnx.load(artifact / "sampler.onnx", load_external_data=False), batch=1)
    products = sum(node.flops for node in cost.nodes if node.op_type in ("Conv", "ConvTranspose", "MatMul", "Gemm"))
    assert products == pytest.approx(small.steps * count_by_pytorch(small.load().generator()), rel=0.02)
    # What is not a product is little, but there.
    assert products < cost.flops < 1.15 * products


def test_weights_are_read_once_a_step_and_data_once_an_image(small, artifact):
    graph = onnx.load(artifact / "sampler.onnx", load_external_data=False)
    one, three = graph_cost(graph, 1), graph_cost(graph, 3)
    channels, height, width = small.load().model.image_shape
    floats = (small.steps - 1 + 2) * channels * height * width + small.steps * small.load().model.nz
    assert one.io_bytes == 4 * floats and three.io_bytes == 3 * one.io_bytes
    weights = sum(node.weight_bytes for node in one.nodes)
    # The conditioning's weights are read once, for all steps.
    stored = (artifact / "weights.bin").stat().st_size
    assert (small.steps - 0.5) * stored < weights < small.steps * stored
    assert three.least_bytes == weights + 3 * one.io_bytes
    assert three.flops == pytest.approx(3 * one.flops, rel=0.001)


NODES = {
    "Conv <group = 2, strides = [2, 2], pads = [1, 1, 1, 1]> (x, w)": ("w[6, 2, 3, 3]", 2 * (2 * 6 * 4 * 4) * (2 * 9)),
    "ConvTranspose <strides = [2, 2]> (x, w)": ("w[4, 5, 2, 2]", 2 * (2 * 4 * 8 * 8) * (5 * 4)),
    "MatMul (x, w)": ("w[8, 3]", 2 * (2 * 4 * 8 * 3) * 8),
    'Einsum <equation = "...hw,wo->...ho"> (x, w)': ("w[8, 3]", 2 * 2 * 4 * 8 * 8 * 3),
    "Softmax (x)": ("w[1]", 5 * 2 * 4 * 64),
    "Transpose <perm = [0, 2, 3, 1]> (x)": ("w[1]", 0),
    "Mul (x, w)": ("w[1]", 2 * 4 * 64),
}


@pytest.mark.parametrize(("node", "weight", "flops"), [(node, *rest) for node, rest in NODES.items()], ids=list(NODES))
def test_one_node(node, weight, flops):
    graph = model(
        f"g (float[batch, 4, 8, 8] x, float{weight.removeprefix('w')} w) => (float[a, b, c, d] y) {{ y = {node} }}"
    )
    # A weight is no input of a batch.
    graph.graph.input.pop()
    shape = [int(size) for size in weight.removeprefix("w[").removesuffix("]").split(",")]
    graph.graph.initializer.append(onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=shape))
    (cost,) = graph_cost(graph, batch=2).nodes
    assert cost.flops == flops


def test_gemm_sums_over_the_axis_that_is_transposed():
    graph = model("g (float[7, 3] a, float[7, 5] b) => (float[x, y] c) { c = Gemm <transA = 1> (a, b) }")
    assert graph_cost(graph, batch=7).flops == 2 * 3 * 5 * 7


def test_fused_ops_are_one_pass_over_their_data():
    graph = model(
        """g (float[batch, 4, 8, 8] x, float[batch, 4] s, float[7] c) => (float[batch, 4, 8, 8] y) {
            n = ddgan.AdaGNSilu <groups = 1> (x, s, s)
            y = ddgan.ReverseStep (n, x, x, c)
        }"""
    )
    # Constants, of which each image takes all.
    name = graph.graph.input.pop().name
    graph.graph.initializer.append(onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, [7], [0.0] * 7))
    norm, step = graph_cost(graph, batch=2).nodes
    values = 2 * 4 * 64
    assert (norm.flops, norm.bytes, norm.shape) == (10 * values, 4 * (2 * values + 2 * 8), (2, 4, 8, 8))
    assert (step.flops, step.bytes) == (10 * values, 4 * (4 * values + 7))


def test_a_shape_that_cannot_be_told_is_named():
    graph = model("g (float[batch, 4] x) => (float[n, m] y) { p = NonZero (x)  r = Cast <to = 1> (p)  y = Relu (r) }")
    with pytest.raises(InputError, match="the shape of p, which NonZero computes, cannot be told"):
        graph_cost(graph)
    graph = model("g (float[batch, 4] x, float[batch, 3] w) => (float[n, m] y) { y = Gemm (x, w) }")
    with pytest.raises(InputError, match="the shapes of the graph cannot be told"):
        graph_cost(graph)
