"""One graph in which every layer can be int8 or not, to measure what each costs.

    y = Conv(x, w, b)  ->  If(the layer's switch, Conv(round(x), round(w), b), y)
    a state            ->  Where(true states, an input of its own, what the step before made)

On true states, those of the float sampler, a step shows its own error alone. Such errors add up over layers as
nearly as was measured; those of the free sampler do not, since a state that is off may end in another image.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ddgan_deploy.export.graph.builder import graph_input
from ddgan_deploy.export.precision.int8.layers import Layer, find_layers, quantizes_input, weight_of
from ddgan_deploy.export.precision.int8.qdq import named, quantize_dequantize, register, round_weight
from ddgan_deploy.export.precision.ranges import Range
from ddgan_deploy.export.precision.scratch_session import scratch_session
from ddgan_deploy.inputs import Inputs
from ddgan_deploy.parity.comparison import distance, scale_of, squared_error
from ddgan_deploy.parity.gates import MIN_PSNR, limit_of
from ddgan_deploy.sampler import Probe

_TRUE_STATES = "true_states"
Images = npt.NDArray[np.float32]


class Switchboard:
    """Runs a sampler with some of its layers in int8.

    Attributes:
        layers: all that can be.

    Args:
        model: the float32 sampler, left as it is.
        probes: where its gates look; the last is x_0.
        image: (C, H, W) of x_0 and of states.
        ranges: of every value.
        inputs: to run it on.
        symmetric: whether every zero point is zero.
        scratch: a folder on a disk with room for the weights twice; left as it is.
    """

    def __init__(
        self,
        model: ir.Model,
        probes: Sequence[Probe],
        image: tuple[int, int, int],
        ranges: Mapping[str, Range],
        inputs: Inputs,
        scratch: Path,
        symmetric: bool = False,
    ) -> None:
        graph = model.graph.clone()
        self._probes = probes
        self.layers = find_layers(graph)
        # Before switches stand between them.
        sources = {node: node.inputs[0].name or "" for layer in self.layers for node in layer.nodes if node.inputs[0]}
        _switch_states(graph, probes)
        for layer in self.layers:
            measured = {node: ranges[sources[node]] for node in layer.nodes if quantizes_input(node)}
            _switch_layer(graph, layer, measured, symmetric)
        self._session = scratch_session(ir.Model(graph, ir_version=model.ir_version), scratch)
        self._inputs = inputs
        shape = (len(next(iter(inputs.values()))), *image)
        # Whatever they are: they are not looked at.
        self._states = {probe.node: np.zeros(shape, np.float32) for probe in probes if probe.state}
        self._reference = self._run((), on_true_states=False)
        paired = zip(probes, self._reference, strict=True)
        self._states = {probe.node: value for probe, value in paired if probe.state}

    def errors(self, quantized: Collection[str]) -> npt.NDArray[np.float64]:
        """Mean squared error of what every step makes on true states, with these layers in int8, in its scale.

        Of all probes but states, which are mostly what they were before. On half of the images: layers differ by more
        than images do.
        """
        half = slice(max(len(self._reference[-1]) // 2, 1))
        found = zip(self._probes, self._run(quantized, on_true_states=True, rows=half), self._reference, strict=True)
        made = {probe.node: (got, want) for probe, got, want in found if not probe.state}
        return np.array([squared_error(want[half], got, scale_of(want)) for got, want in made.values()])

    def headroom(self, quantized: Collection[str]) -> float:
        """By how many dB the closest gate of the sampler with these layers in int8 holds; negative where it fails.

        On true states each probe, and without them the x_0 that the sampler ends in.
        """
        on_true_states = zip(self._probes, self._run(quantized, on_true_states=True), self._reference, strict=True)
        free = self._run(quantized, on_true_states=False)[-1]
        return min(
            *(distance(want, got).psnr - limit_of(probe, "int8") for probe, got, want in on_true_states),
            distance(self._reference[-1], free).psnr - MIN_PSNR["int8"],
        )

    def _run(self, quantized: Collection[str], on_true_states: bool, rows: slice = slice(None)) -> list[Images]:
        """The values of all probes, of some images."""
        states = {_state(node): state for node, state in self._states.items()}
        inputs = {name: value[rows] for name, value in {**self._inputs, **states}.items()}
        inputs |= {_switch(layer.name): np.array(layer.name in quantized) for layer in self.layers}
        if self._states:
            inputs[_TRUE_STATES] = np.array(on_true_states)
        outputs = [value.name for value in self._session.get_outputs()]
        told = dict(zip(outputs, self._session.run(None, inputs), strict=True))
        return [told[f"probe/{probe.node}"] for probe in self._probes]


def _switch_states(graph: ir.Graph, probes: Sequence[Probe]) -> None:
    """Lets what reads a state get a given one; the values of all probes become outputs."""
    made = {node.name: node for node in graph}
    x_0_shape = graph.outputs[0].shape
    assert x_0_shape is not None
    states = [probe.node for probe in probes if probe.state]
    true_states = _input(graph, _TRUE_STATES, ir.DataType.BOOL, ()) if states else None
    told = []
    for name in dict.fromkeys(probe.node for probe in probes):
        # A value is told as it is made, whatever stands in its place afterwards.
        same = ir.node("Identity", [made[name].outputs[0]], name=f"probe/{name}")
        told.append(named(same, ir.DataType.FLOAT))
        graph.append(same)
        if name in states:
            given = _input(graph, _state(name), ir.DataType.FLOAT, x_0_shape)
            where = ir.node("Where", [true_states, given, made[name].outputs[0]], name=f"{_state(name)}/Where")
            _put_behind(graph, made[name], where, but=same)
    graph.outputs[:] = told


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


def _state(node: str) -> str:
    return f"state/{node}"


def _switch(layer: str) -> str:
    return f"switch/{layer}"
