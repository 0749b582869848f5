"""Reverse mode on traced classifiers, such as guide a diffusion model: all their ops together, and in copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ddgan_deploy.export.graph.builder import FLOAT32, GraphBuilder, graph_input
from ddgan_deploy.export.graph.trace import LAYER, trace
from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels.adagn.spec import adagn
from tests.export.graph.differentiated import (
    Plain,
    add_gradient,
    assert_as_autograd,
    assert_close,
    autograd,
    gradient_types,
)

WIDTH, GROUPS, TIME, CLASSES = 12, 3, 5, 7
IMAGE = (3, 6, 10)
NOW = np.random.default_rng(2).normal(size=(1, TIME)).astype(np.float32)


class Norm(nn.Module):
    """AdaGN, of a style that is constant or made of the time."""

    def __init__(self, channels: int, activation: str, timed: bool = False) -> None:
        super().__init__()
        self.activation = activation
        self.weight, self.bias = (nn.Parameter(torch.randn(channels)) for _ in range(2))
        self.style = nn.Linear(TIME, 2 * channels) if timed else None

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        scale, shift = self.weight[None], self.bias[None]
        if self.style is not None:
            by, plus = self.style(time).chunk(2, dim=1)
            scale, shift = scale * (1 + by), shift * (1 + by) + plus
        return adagn(x, scale, shift, GROUPS, 1e-5, self.activation)


class Block(nn.Module):
    """A residual block, which may halve the picture."""

    def __init__(self, inputs: int, outputs: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.in_norm, self.out_norm = Norm(inputs, "silu"), Norm(outputs, "silu", timed=True)
        self.in_conv, self.out_conv = nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = self.in_norm(x, time)
        if self.down:
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        h = self.out_norm(self.in_conv(h), time)
        return self.skip(x) + self.out_conv(h)


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Of q [.., channels, queries], k and v [.., channels, keys]."""
    scale = q.shape[-2] ** -0.25
    return v @ torch.softmax((q * scale).mT @ (k * scale), dim=-1).mT


class Attention(nn.Module):
    """Of all pixels, with the rows of ``qkv`` by heads."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Norm(2 * WIDTH, "none")
        self.qkv, self.proj_out = nn.Conv1d(2 * WIDTH, 6 * WIDTH, 1), nn.Conv1d(2 * WIDTH, 2 * WIDTH, 1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        qkv = self.qkv(self.norm(x, time).flatten(2))
        q, k, v = qkv.unflatten(1, (self.heads, -1)).chunk(3, dim=2)
        return x + self.proj_out(attend(q, k, v).flatten(1, 2)).reshape(x.shape)


class AttentionPool(nn.Module):
    """Attention of the mean alone, with the rows of ``qkv`` by q, k and v."""

    def __init__(self, pixels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.positions = nn.Parameter(torch.randn(2 * WIDTH, pixels + 1))
        self.qkv, self.c_proj = nn.Conv1d(2 * WIDTH, 6 * WIDTH, 1), nn.Conv1d(2 * WIDTH, CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(2)
        x = torch.cat([x.mean(dim=-1, keepdim=True), x], dim=-1) + self.positions[None]
        q, k, v = self.qkv(x).unflatten(1, (3 * self.heads, -1)).chunk(3, dim=1)
        return self.c_proj(attend(q[..., :1], k, v).flatten(1, 2))[:, :, 0]


class Classifier(nn.Module):
    """From a picture and a time to the logarithms of the classes' probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, WIDTH, 3, 1, 1)
        self.plain, self.down = Block(WIDTH, 2 * WIDTH, down=False), Block(2 * WIDTH, 2 * WIDTH, down=True)
        self.attention = Attention(heads=2)
        self.norm = Norm(2 * WIDTH, "silu")
        self.pool = AttentionPool(IMAGE[1] * IMAGE[2] // 4, heads=3)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = self.down(self.plain(self.first(x), time), time)
        return self.pool(self.norm(self.attention(h, time), time)).log_softmax(dim=-1)


class SpatialClassifier(nn.Module):
    """Pools the channels' means of every part, as the other kind of classifier does; it halves by a stride."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.down = nn.Conv2d(3, WIDTH, 3, 1, 1), nn.Conv2d(WIDTH, WIDTH, 3, 2, 1)
        self.hidden, self.out = nn.Linear(2 * WIDTH, 20), nn.Linear(20, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.first(x)]
        parts.append(self.down(F.silu(parts[0])))
        means = torch.cat([part.mean(dim=(2, 3)) for part in parts], dim=1)
        return self.out(torch.relu(self.hidden(means))).log_softmax(dim=-1)


def differentiated(module: nn.Module, *examples: torch.Tensor) -> ir.Model:
    """A traced module's gradient by its first input."""
    batch = torch.export.Dim("batch")
    model = trace(module, examples, tuple({0: batch} for _ in examples))
    add_gradient(model, of=model.graph.outputs[0].name, to=model.graph.inputs[0].name)
    return model


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier()


@pytest.fixture(scope="module")
def model(classifier: Classifier) -> ir.Model:
    return differentiated(classifier, torch.zeros(2, *IMAGE), torch.zeros(2, TIME))


def in_types_of_x(module: nn.Module) -> Plain:
    return lambda x, *others: module.to(x.dtype)(x, *(each.to(x.dtype) for each in others))


def test_with_attention_pool(model, classifier):
    assert_as_autograd(model, in_types_of_x(classifier), [NOW])


PARTS = {"ConvTranspose": 2, "Gemm": 2, "Sign": 1, "Slice": 2, "Expand": 2}


def test_with_spatial_pool():
    torch.manual_seed(0)
    module = SpatialClassifier()
    model = differentiated(module, torch.zeros(2, *IMAGE))
    counts = Counter(gradient_types(model))
    # One a layer with weights, one for ReLU's slope, one for each part whose mean is taken.
    assert {name: counts[name] for name in PARTS} == PARTS
    assert_as_autograd(model, in_types_of_x(module))


def test_nothing_is_made_that_the_picture_does_not_need(model):
    attention = Counter(MatMul=5, Transpose=6, Mul=4, Sub=1, Concat=1, Reshape=2)
    assert Counter(gradient_types(model)) == sum(
        (
            Counter(ConvTranspose=10, AdaGNSiluGrad=5, AdaGNGrad=1),
            # Two blocks and the attention have a shortcut; one block's halves are means, of both ways.
            Counter(Add=3, Mul=2, Resize=2),
            attention,
            Counter(Reshape=2),
            # The pool's attention, its first query, its mean and its first token.
            attention,
            Counter(Pad=1, Slice=2, Mul=1, Expand=1, Add=1, Unsqueeze=1, Reshape=1),
            # LogSoftmax.
            Counter(Exp=1, MatMul=1, Mul=1, Sub=1),
        ),
        Counter(),
    )
    styles = [node for node in model.graph if ".style" in node.name]
    assert len(styles) == 2 and not any("/grad" in node.name for node in styles)


def test_no_weight_is_stored_again(model, classifier):
    trained = sum(value.numel() for value in classifier.parameters())
    floats = [value.const_value for value in model.graph.initializers.values() if value.dtype == ir.DataType.FLOAT]
    stored = {id(tensor): tensor.size for tensor in floats}
    assert sum(stored.values()) <= trained + 100


def test_no_weight_has_two_readers_along_different_axes(model):
    """OpenVINO arranges a square one for the first, and runs the other with that."""
    for value in model.graph.initializers.values():
        if len(value.shape) > 1:
            assert len({(use.node.op_type, use.node.attributes.get_int("transB", 0)) for use in value.uses()}) == 1


def test_two_steps_of_guidance(model, classifier):
    """Copies of the whole graph, each with names of its own, all with the same weights."""
    build = GraphBuilder()
    inputs = [graph_input(value.name, value.shape) for value in model.graph.inputs]
    x, *others = inputs
    for k in range(2):
        step = GraphBuilder(f"step{k}/", build)
        (dx,) = step.copy(model.graph, [x, *others], float32={"norm/grad"})
        x = step.op("Add", [x, dx], name="x")
    assert len(build.initializers) == len(model.graph.initializers)
    assert len({node.name for node in build.nodes}) == len(build.nodes) == 2 * (len(model.graph) + 1)
    assert [node.name for node in build.nodes if node.meta.get(FLOAT32)] == ["step0/norm/grad", "step1/norm/grad"]
    layers = {node.name: node.metadata_props.get(LAYER) for node in build.nodes}
    assert layers["step1/down.out_norm/AdaGNSilu/grad"] == "down.out_norm/grad"
    opsets = {"": ops.OPSET, ops.DOMAIN: ops.VERSION}
    copies = ir.Graph(
        inputs, [x], nodes=build.nodes, initializers=build.initializers, opset_imports=opsets, name="copies"
    )
    plain = in_types_of_x(classifier)

    def guided(inputs: Sequence[np.ndarray], dtype: torch.dtype) -> np.ndarray:
        x, *others = inputs
        for _ in range(2):
            x = x + autograd(plain, (x, *others), dtype)
        return x

    assert_close(ir.Model(copies, ir_version=ops.IR_VERSION), guided, [NOW])
