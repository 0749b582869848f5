"""One graph in which every layer can be int8 or not, to measure what each costs.

    y = Conv(x, w, b)  ->  If(the layer's switch, Conv(round(x), round(w), b), y)
    x_t of a step      ->  Where(true states, its own input, what the step before made)

On true states, those of the float sampler, a step shows its own error alone. Such errors add up over layers as
nearly as was measured; those of the free sampler do not, since a state that is off may end in another image.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ddgan_deploy.engines.base import feeds
from ddgan_deploy.export.graph.builder import graph_input
from ddgan_deploy.export.precision.int8.layers import Layer, find_layers, quantizes_input, weight_of
from ddgan_deploy.export.precision.int8.qdq import named, quantize_dequantize, register, round_weight
from ddgan_deploy.export.precision.ranges import Range
from ddgan_deploy.export.precision.scratch_session import scratch_session
from ddgan_deploy.kernels.posterior_sample.spec import SPEC as POSTERIOR_SAMPLE
from ddgan_deploy.noise import Noise
from ddgan_deploy.parity.comparison import distance, scale_of, squared_error
from ddgan_deploy.parity.verify import INT8_MIN_X0_PSNR, MIN_PSNR

_TRUE_STATES = "true_states"
Images = npt.NDArray[np.float32]


class Switchboard:
    """Runs a sampler with some of its layers in int8.

    Attributes:
        layers: all that can be.

    Args:
        model: the float32 sampler, left as it is.
        ranges: of every value.
        noise: to run it on.
        symmetric: whether every zero point is zero.
        scratch: a folder on a disk with room for the weights twice; left as it is.
    """

    def __init__(
        self, model: ir.Model, ranges: Mapping[str, Range], noise: Noise, scratch: Path, symmetric: bool = False
    ) -> None:
        graph = model.graph.clone()
        self.layers = find_layers(graph)
        # Before switches stand between them.
        sources = {node: node.inputs[0].name or "" for layer in self.layers for node in layer.nodes if node.inputs[0]}
        posteriors = [node for node in graph if node.op_type == POSTERIOR_SAMPLE.name]
        self._squashes = [node.attributes["squash"].as_string() == "tanh" for node in posteriors]
        _switch_states(graph, posteriors)
        for layer in self.layers:
            measured = {node: ranges[sources[node]] for node in layer.nodes if quantizes_input(node)}
            _switch_layer(graph, layer, measured, symmetric)
        self._session = scratch_session(ir.Model(graph, ir_version=model.ir_version), scratch)
        self._feeds = feeds(noise)
        # Whatever they are: they are not looked at.
        self._states: Sequence[Images] = [noise.x_T] * len(posteriors)
        self._reference, self._states = self._run((), on_true_states=False)

    def errors(self, quantized: Collection[str]) -> npt.NDArray[np.float64]:
        """Mean squared error of every step's x0 on true states, [T], with these layers in int8, in its scale.

        On half of the images: layers differ by more than images do.
        """
        half = slice(max(len(self._reference[0]) // 2, 1))
        x0, _ = self._run(quantized, on_true_states=True, rows=half)
        pairs = zip(x0, self._reference, strict=True)
        return np.array([squared_error(want[half], got, scale_of(want)) for got, want in pairs])

    def headroom(self, quantized: Collection[str]) -> float:
        """By how many dB the closest gate of the sampler with these layers in int8 holds; negative where it fails.

        On true states each step's x0 and what it hands on, and without them the x_0 that the sampler ends in.
        """
        x0, states = self._run(quantized, on_true_states=True)
        free, _ = self._run(quantized, on_true_states=False)
        rough = zip(x0[:-1], self._reference[:-1], strict=True)
        fine = [*zip(states, self._states, strict=True), (x0[-1], self._reference[-1]), (free[-1], self._reference[-1])]
        return min(
            *(distance(want, got).psnr - INT8_MIN_X0_PSNR for got, want in rough),
            *(distance(want, got).psnr - MIN_PSNR["int8"] for got, want in fine),
        )

    def _run(
        self, quantized: Collection[str], on_true_states: bool, rows: slice = slice(None)
    ) -> tuple[list[Images], list[Images]]:
        """Every step's x0, and every state between steps, of some images."""
        states = {_state(k): state for k, state in enumerate(self._states)}
        inputs = {name: value[rows] for name, value in (self._feeds | states).items()}
        inputs |= {_switch(layer.name): np.array(layer.name in quantized) for layer in self.layers}
        if self._states:
            inputs[_TRUE_STATES] = np.array(on_true_states)
        *inner, x_0 = self._session.run(None, inputs)
        x0 = [np.tanh(raw) if squash else raw for raw, squash in zip(inner[0::2], self._squashes, strict=True)]
        return [*x0, x_0], inner[1::2]


def _switch_states(graph: ir.Graph, posteriors: Sequence[ir.Node]) -> None:
    """Lets every step but the first start from a given state; x0 and states become outputs."""
    x_0 = graph.outputs[0]
    inner = []
    true_states = _input(graph, _TRUE_STATES, ir.DataType.BOOL, ()) if posteriors else None
    for k, node in enumerate(posteriors):
        raw, x_prev = node.inputs[0], node.outputs[0]
        assert raw is not None and x_0.shape is not None
        given = _input(graph, _state(k), ir.DataType.FLOAT, x_0.shape)
        where = ir.node("Where", [true_states, given, x_prev], name=f"{_state(k)}/Where")
        _put_behind(graph, node, where)
        raw.shape = x_prev.shape = x_0.shape
        inner += [raw, x_prev]
    graph.outputs[:] = [*inner, x_0]


def _switch_layer(graph: ir.Graph, layer: Layer, ranges: Mapping[ir.Node, Range], symmetric: bool) -> None:
    """Lets a layer's products be those of rounded factors."""
    switch = _input(graph, _switch(layer.name), ir.DataType.BOOL, ())
    weights: dict[ir.Value, ir.Value] = {}
    for node in layer.nodes:
        weight, x = weight_of(node), node.inputs[0]
        assert x is not None
        if weight not in weights:
            weights[weight] = register(graph, f"{weight.name}/rounded", _rounded(node))
        pair: list[ir.Node] = []
        if node in ranges:
            pair = quantize_dequantize(graph, x, node.name or "", ranges[node], symmetric)
        product = ir.node(
            node.op_type,
            [pair[-1].outputs[0] if pair else x, weights[weight], *node.inputs[2:]],
            {name: attribute.value for name, attribute in node.attributes.items()},
            name=f"{node.name}/rounded",
        )
        same = ir.node("Identity", [node.outputs[0]], name=f"{node.name}/float")
        then, otherwise = (
            ir.Graph([], [named(nodes[-1], ir.DataType.FLOAT)], nodes=nodes, name=nodes[-1].name)
            for nodes in ([*pair, product], [same])
        )
        branch = ir.node("If", [switch], {"then_branch": then, "else_branch": otherwise}, name=f"{node.name}/If")
        _put_behind(graph, node, branch, but=same)


def _rounded(node: ir.Node) -> npt.NDArray[np.float32]:
    """A layer's weights as int8 leaves them, in float32."""
    integers, scale, axis = round_weight(node)
    others = tuple(i for i in range(integers.ndim) if i != axis)
    return integers.astype(np.float32) * np.expand_dims(scale, others)


def _put_behind(graph: ir.Graph, node: ir.Node, other: ir.Node, but: ir.Node | None = None) -> None:
    """Puts a node between another's output and all that use it, itself and one more apart."""
    output, y = node.outputs[0], named(other, ir.DataType.FLOAT)
    for use in list(output.uses()):
        if use.node not in (other, but):
            use.node.replace_input_with(use.idx, y)
    graph.insert_after(node, other)


def _input(graph: ir.Graph, name: str, dtype: ir.DataType, shape: Sequence[int] | ir.Shape) -> ir.Value:
    value = graph_input(name, shape, dtype)
    graph.inputs.append(value)
    return value


def _state(k: int) -> str:
    return f"state/{k}"


def _switch(layer: str) -> str:
    return f"switch/{layer}"
