"""Nodes and initializers on the way to a graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from ddgan_deploy.export.graph.trace import LAYER
from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels.op import OpSpec

BATCH = "batch"
FLOAT32 = "float32"
"""Key of what a node knows of itself: its values stay float32 whatever the graph's precision is."""
ANY_FLOAT = "any_float"
"""Its inputs may be of any float type, each on its own."""
Attribute = int | float | str | Sequence[int]
_DTYPES = {"float32": ir.DataType.FLOAT, "int64": ir.DataType.INT64, "uint8": ir.DataType.UINT8}


def graph_input(name: str, shape: Sequence[int | str] | ir.Shape, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    """An input of a graph."""
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))


def served_input(name: str, dtype: str, shape: Sequence[int]) -> ir.Value:
    """An input whose batch is dynamic."""
    return graph_input(name, (BATCH, *shape), _DTYPES[dtype])


class GraphBuilder:
    """Records nodes and initializers on a tape; a node's output is named after the node.

    Args:
        prefix: goes before every name.
        same: a builder of the same graph, whose nodes and initializers are ours too.
    """

    def __init__(self, prefix: str = "", same: GraphBuilder | None = None) -> None:
        self._prefix = prefix
        self._tape: ir.tape.Tape = ir.tape.Tape() if same is None else same._tape
        self._weights: dict[ir.Graph, dict[ir.Value, ir.Value]] = {} if same is None else same._weights

    @property
    def nodes(self) -> Sequence[ir.Node]:
        """In the order in which they were made."""
        return self._tape.nodes

    @property
    def initializers(self) -> Sequence[ir.Value]:
        """In the order in which they were made."""
        return self._tape.initializers

    def constant(self, name: str, value: np.ndarray | np.generic) -> ir.Value:
        """A constant as an initializer."""
        return self._tape.initializer(ir.tensor(np.asarray(value), name=f"{self._prefix}{name}"))

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        *,
        name: str,
        dtype: ir.DataType = ir.DataType.FLOAT,
        float32: bool = False,
        shape: Sequence[int] | None = None,
        layer: str = "",
        **attributes: Attribute,
    ) -> ir.Value:
        """A node with one output.

        Args:
            float32: its values stay so whatever the graph's precision is.
            shape: behind the batch; int8 asks for it where the node has trained weights.
            layer: of which the node is, where other steps have it too.
        """
        name = f"{self._prefix}{name}"
        output = _value(name, ir.TensorType(dtype), None if shape is None else ir.Shape((BATCH, *shape)))
        told = {LAYER: layer} if layer else None
        self._tape.op(op_type, inputs, attributes, name=name, output=output, metadata_props=told)
        maker(output).meta[FLOAT32] = float32
        return output

    def fused(
        self,
        spec: OpSpec,
        inputs: Sequence[ir.Value],
        *,
        name: str,
        dtype: ir.DataType = ir.DataType.FLOAT,
        float32: bool = False,
        **attributes: Attribute,
    ) -> ir.Value:
        """A node of domain ``ddgan``; with ``float32`` its inputs may each be of any float type, its output is not."""
        name = f"{self._prefix}{name}"
        output = _value(name, ir.TensorType(dtype))
        told = {**attributes, "plugin_namespace": ops.DOMAIN}
        self._tape.op(spec.name, inputs, told, domain=ops.DOMAIN, name=name, output=output)
        meta = maker(output).meta
        meta[FLOAT32] = meta[ANY_FLOAT] = float32
        return output

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, ir.Graph],
        outputs: Sequence[ir.Value],
        name: str,
    ) -> None:
        """A node of ONNX's own with subgraphs."""
        self._tape.op_multi_out(op_type, inputs, attributes, name=f"{self._prefix}{name}", outputs=outputs)

    def split(self, value: ir.Value, sizes: Sequence[int], *, name: str, float32: bool = False) -> list[ir.Value]:
        """Pieces of the given sizes along axis 1; with ``float32`` they stay so whatever the graph's precision is."""
        lengths = self.constant(f"{name}/sizes", np.array(sizes, np.int64))
        name = f"{self._prefix}{name}"
        pieces = [_value(each, value.type) for each in _names(name, len(sizes))]
        self._tape.op_multi_out("Split", [value, lengths], {"axis": 1}, name=name, outputs=pieces)
        maker(pieces[0]).meta[FLOAT32] = float32
        return pieces

    def copy(self, graph: ir.Graph, inputs: Sequence[ir.Value], float32: Collection[str] = ()) -> list[ir.Value]:
        """Copies a graph's nodes onto other inputs; its initializers become ours with the first copy.

        Args:
            graph: a graph without subgraphs.
            inputs: what stands for the graph's inputs.
            float32: the layers whose values stay float32.

        Returns:
            The copy's outputs.
        """
        if graph not in self._weights:
            self._weights[graph] = {value: self._weight(value) for value in graph.initializers.values()}
        values: dict[ir.Value, ir.Value] = {
            **self._weights[graph],
            **dict(zip(graph.inputs, inputs, strict=True)),
        }
        for node in graph:
            name, layer = f"{self._prefix}{node.name}", node.metadata_props[LAYER]
            names = _names(name, len(node.outputs))
            made = [_value(each, old.type, old.shape) for each, old in zip(names, node.outputs, strict=True)]
            self._tape.op_multi_out(
                node.op_type,
                [None if value is None else values[value] for value in node.inputs],
                node.attributes,
                domain=node.domain,
                name=name,
                outputs=made,
                metadata_props={LAYER: layer},
            )
            maker(made[0]).meta[FLOAT32] = layer in float32
            values.update(zip(node.outputs, made, strict=True))
        return [values[value] for value in graph.outputs]

    def _weight(self, value: ir.Value) -> ir.Value:
        assert value.const_value is not None
        return self._tape.initializer(value.const_value, value.name)


def _value(name: str, kind: ir.TypeProtocol | None, shape: ir.Shape | None = None) -> ir.Value:
    return ir.Value(name=name, type=kind, shape=shape)


def _names(node: str, count: int) -> list[str]:
    """Of a node's outputs."""
    return [node] if count == 1 else [f"{node}.{i}" for i in range(count)]


def maker(value: ir.Value) -> ir.Node:
    """The node that makes a value."""
    node = value.producer()
    assert node is not None
    return node
