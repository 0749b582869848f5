"""Nodes and initializers on the way to a graph."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from ddgan_deploy.export.graph.trace import LAYER
from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels.op import PLAIN_IR_VERSION, OpSpec
from ddgan_deploy.sampler import Sampler

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
    """Collects nodes and initializers; a node's output is named after the node."""

    def __init__(self) -> None:
        self.nodes: list[ir.Node] = []
        self.initializers: list[ir.Value] = []

    def constant(self, name: str, value: np.ndarray | np.generic) -> ir.Value:
        """A constant as an initializer."""
        tensor = ir.tensor(np.asarray(value), name=name)
        constant = ir.Value(
            name=name, const_value=tensor, shape=ir.Shape(tensor.shape.numpy()), type=ir.TensorType(tensor.dtype)
        )
        self.initializers.append(constant)
        return constant

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value],
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
        node = ir.node(op_type, inputs, attributes, name=name)
        node.meta[FLOAT32] = float32
        if shape is not None:
            node.outputs[0].shape = ir.Shape((BATCH, *shape))
        if layer:
            node.metadata_props[LAYER] = layer
        return self._add(node, [dtype])[0]

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
        node = ir.node(
            spec.name,
            inputs,
            {**attributes, "plugin_namespace": ops.DOMAIN},
            domain=ops.DOMAIN,
            name=name,
        )
        node.meta[FLOAT32] = node.meta[ANY_FLOAT] = float32
        return self._add(node, [dtype])[0]

    def split(self, value: ir.Value, sizes: Sequence[int], *, name: str) -> list[ir.Value]:
        """Pieces of the given sizes along axis 1."""
        lengths = self.constant(f"{name}/sizes", np.array(sizes, np.int64))
        node = ir.node("Split", [value, lengths], {"axis": 1}, num_outputs=len(sizes), name=name)
        return self._add(node, [ir.DataType.FLOAT] * len(sizes))

    def copy(
        self,
        graph: ir.Graph,
        inputs: Sequence[ir.Value],
        weights: dict[ir.Value, ir.Value],
        prefix: str = "",
        float32: Collection[str] = (),
    ) -> list[ir.Value]:
        """Copies a graph's nodes onto other inputs.

        Args:
            graph: a graph without subgraphs.
            inputs: what stands for the graph's inputs.
            weights: the graph's initializers -> ours, filled by the first copy and shared by later ones.
            prefix: goes before every node's name.
            float32: the layers whose values stay float32.

        Returns:
            The copy's outputs.
        """
        if not weights:
            for value in graph.initializers.values():
                ours = ir.Value(
                    name=value.name,
                    const_value=value.const_value,
                    shape=value.shape,
                    type=value.type,
                )
                weights[value] = ours
                self.initializers.append(ours)
        values: dict[ir.Value, ir.Value] = {**weights, **dict(zip(graph.inputs, inputs, strict=True))}
        for node in graph:
            copy = ir.Node(
                node.domain,
                node.op_type,
                [None if value is None else values[value] for value in node.inputs],
                node.attributes.values(),
                num_outputs=len(node.outputs),
                name=f"{prefix}{node.name}",
                metadata_props={LAYER: node.metadata_props[LAYER]},
            )
            copy.meta[FLOAT32] = node.metadata_props[LAYER] in float32
            self._add(copy, [ir.DataType.FLOAT] * len(node.outputs))
            for old, new in zip(node.outputs, copy.outputs, strict=True):
                new.shape = old.shape
                values[old] = new
        return [values[value] for value in graph.outputs]

    def _add(self, node: ir.Node, dtypes: Sequence[ir.DataType]) -> list[ir.Value]:
        for i, (output, dtype) in enumerate(zip(node.outputs, dtypes, strict=True)):
            output.name = node.name if len(node.outputs) == 1 else f"{node.name}.{i}"
            output.type = ir.TensorType(dtype)
        self.nodes.append(node)
        return list(node.outputs)


class SamplerBuilder(GraphBuilder):
    """A sampler's graph in the making.

    Attributes:
        sampler: what the graph takes and gives.
        inputs: its inputs, by name.
    """

    def __init__(self, sampler: Sampler) -> None:
        super().__init__()
        self.sampler = sampler
        self.inputs = {name: served_input(name, *each) for name, each in sampler.inputs().items()}

    def pick(self, name: str, k: int) -> ir.Value:
        """The draw of the k-th step, of an input that has one for every step."""
        node = f"step{k}/{name}"
        index = self.constant(f"{node}/index", np.int64(k))
        return self.op("Gather", [self.inputs[name], index], name=node, float32=True, axis=1)

    def model(self, x_0: ir.Value) -> ir.Model:
        """The sampler that ends in a value, which gets the name ``x_0``."""
        x_0.name = "x_0"
        x_0.shape = ir.Shape((BATCH, *self.sampler.image))
        producer = x_0.producer()
        assert producer is not None
        producer.meta[FLOAT32] = True
        graph = ir.Graph(
            list(self.inputs.values()),
            [x_0],
            nodes=self.nodes,
            initializers=self.initializers,
            opset_imports={"": ops.OPSET, ops.DOMAIN: ops.VERSION},
            name="sampler",
        )
        return ir.Model(graph, ir_version=PLAIN_IR_VERSION)
