"""One step's graph + schedule -> one graph that runs T steps.

The conditioning runs once for all steps: time is constant at each step, so the
time path becomes one bias a block and step, and the mapping network and all style
layers are one product over the T * batch latents.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import torch

from ddgan_deploy.export.graph.trace import LAYER, Traced
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels.op import IR_VERSION, OpSpec
from ddgan_deploy.kernels.posterior_sample.spec import SPEC as POSTERIOR_SAMPLE

BATCH = "batch"
Attribute = int | float | str | Sequence[int]


def unroll(traced: Traced, generator: Generator, schedule: Schedule) -> ir.Model:
    """The T-step sampler: ``x_T``, ``z`` and, from two steps on, ``noise`` -> ``x_0``.

    Args:
        traced: the generator as ONNX graphs.
        generator: for its time biases.
        schedule: the T-step process.
    """
    config, steps = generator.config, schedule.steps
    x_T = graph_input("x_T", (BATCH, *config.image_shape))
    z = graph_input("z", (BATCH, steps, config.nz))
    noise = graph_input("noise", (BATCH, steps - 1, *config.image_shape))
    build = GraphBuilder()
    (styles,) = build.copy(traced.latent.graph, [z], {})
    step_weights: dict[ir.Value, ir.Value] = {}
    x = x_T
    for k, t in enumerate(reversed(range(steps))):
        time_biases = _time_biases(build, generator, t, f"step{k}")
        inputs = [x, *time_biases, *_styles(build, styles, traced.style_widths, k)]
        (raw,) = build.copy(traced.step.graph, inputs, step_weights, prefix=f"step{k}/")
        x_0 = build.op(
            "Tanh" if generator.squash == "tanh" else "Identity", [raw], name=f"step{k}/x0" if t > 0 else "x_0"
        )
        if t > 0:
            index = build.constant(f"{noise_name(k)}/index", np.int64(k))
            noise_k = build.op("Gather", [noise, index], name=noise_name(k), axis=1)
            coef_x0, coef_xt, sigma = schedule.posterior.at(t)
            x = build.fused(
                POSTERIOR_SAMPLE,
                [x_0, x, noise_k],
                name=f"step{k}/PosteriorSample",
                coef_x0=coef_x0,
                coef_xt=coef_xt,
                sigma=sigma,
                squash="none",
            )
        else:
            x = x_0
    x.name = "x_0"
    x.shape = ir.Shape((BATCH, *config.image_shape))
    graph = ir.Graph(
        [x_T, z, *([noise] if steps > 1 else [])],
        [x],
        nodes=build.nodes,
        initializers=build.initializers,
        opset_imports={"": ops.OPSET, ops.DOMAIN: ops.VERSION},
        name="sampler",
    )
    return ir.Model(graph, ir_version=IR_VERSION)


def noise_name(step: int) -> str:
    """Name of the node that picks the noise of the k-th step."""
    return f"step{step}/noise"


def graph_input(name: str, shape: Sequence[int | str] | ir.Shape, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    """An input of a graph."""
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))


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
        **attributes: Attribute,
    ) -> ir.Value:
        """A node with one output."""
        return self._add(ir.node(op_type, inputs, attributes, name=name), [dtype])[0]

    def fused(self, spec: OpSpec, inputs: Sequence[ir.Value], *, name: str, **attributes: Attribute) -> ir.Value:
        """A node of domain ``ddgan``."""
        node = ir.node(
            spec.name,
            inputs,
            {**attributes, "plugin_namespace": ops.DOMAIN},
            domain=ops.DOMAIN,
            overload=str(attributes.get(spec.variant, "")),
            name=name,
        )
        return self._add(node, [ir.DataType.FLOAT])[0]

    def split(self, value: ir.Value, sizes: Sequence[int], *, name: str) -> list[ir.Value]:
        """Pieces of the given sizes along axis 1."""
        lengths = self.constant(f"{name}/sizes", np.array(sizes, np.int64))
        node = ir.node("Split", [value, lengths], {"axis": 1}, num_outputs=len(sizes), name=name)
        return self._add(node, [ir.DataType.FLOAT] * len(sizes))

    def copy(
        self, graph: ir.Graph, inputs: Sequence[ir.Value], weights: dict[ir.Value, ir.Value], prefix: str = ""
    ) -> list[ir.Value]:
        """Copies a graph's nodes onto other inputs.

        Args:
            graph: a graph without subgraphs.
            inputs: what stands for the graph's inputs.
            weights: the graph's initializers -> ours, filled by the first copy and shared by later ones.
            prefix: goes before every node's name.

        Returns:
            The copy's outputs.
        """
        if not weights:
            for value in graph.initializers.values():
                ours = ir.Value(
                    name=(value.name or "").removeprefix("generator."),
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
                overload=node.overload,
                num_outputs=len(node.outputs),
                name=f"{prefix}{node.name}",
                metadata_props={LAYER: node.metadata_props[LAYER]},
            )
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


def _styles(build: GraphBuilder, table: ir.Value, widths: Sequence[int], step: int) -> list[ir.Value]:
    """The scales [batch, C] of all AdaGNs of one step, then their shifts."""
    index = build.constant(f"step{step}/style/index", np.int64(step))
    row = build.op("Gather", [table, index], name=f"step{step}/style", axis=1)
    pieces = build.split(row, widths, name=f"step{step}/styles")
    return pieces[0::2] + pieces[1::2]


def _time_biases(build: GraphBuilder, generator: Generator, t: int, prefix: str) -> list[ir.Value]:
    with torch.no_grad():
        biases = generator.time_biases(torch.tensor([t]))
    return [build.constant(f"{prefix}/time_bias_{i}", bias.numpy()) for i, bias in enumerate(biases)]
