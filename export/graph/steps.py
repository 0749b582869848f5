"""A sampler's graph, whose step is stated once: T copies of it, or one Loop.

    copies    step0/..., step1/..., ...    what differs between steps are constants of each
    Loop      step/...                     it is a row of a table, picked by the number of the trip

A runtime optimizes every node of a graph when it opens it, in time that grows faster than their number. Which of the
two runs faster depends on the runtime: in copies a step's time is part of its weights, a Loop leaves less to keep in
caches.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ddgan_deploy.export.graph.builder import BATCH, FLOAT32, GraphBuilder, graph_input, maker, served_input
from ddgan_deploy.export.graph.loop import LOOP, Body, State, add_loop
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.kernels import op as ops
from ddgan_deploy.kernels.op import IR_VERSION
from ddgan_deploy.kernels.reverse_step.spec import MEAN, STEP, Coefficients
from ddgan_deploy.sampler import Sampler, Streams

MOST_NODES = 5000
"""Of copies that nobody asked for: stock ONNX Runtime takes 3 s to open 1,000 nodes, and 100 s for 8,000."""
LOOP_NAME = "steps"
"""Of the Loop that holds them."""


class Step(GraphBuilder, abc.ABC):
    """A step while it is stated; names within it are told without the step's own."""

    @abc.abstractmethod
    def row(self, name: str, table: npt.NDArray[np.float32], float32: bool = False) -> ir.Value:
        """The step's row of a constant table [T, ...].

        Args:
            float32: it stays so whatever the graph's precision is; ``table`` is float32 in any case.
        """

    def rows(self, name: str, tables: Sequence[npt.NDArray[np.float32]]) -> list[ir.Value]:
        """The step's row of each table, as ``name_0``, ``name_1``, ..."""
        return [self.row(f"{name}_{i}", table) for i, table in enumerate(tables)]

    @abc.abstractmethod
    def pick(self, values: ir.Value, name: str, float32: bool = False) -> ir.Value:
        """What a tensor [batch, T, ...] has for the step, [batch, ...]."""

    @abc.abstractmethod
    def draw(self, name: str) -> ir.Value | None:
        """The step's row of a sampler's input that is drawn for every step, float32; None where it draws nothing.

        In a Loop all steps draw: one whose row is not there gets another step's, and must not let it count.
        """

    def reverse(self, out: ir.Value, x: ir.Value, coefficients: ir.Value, noise: ir.Value | None) -> ir.Value:
        """The next state; see `kernels.reverse_step`.

        Args:
            out: the network's output.
            x: the state.
            coefficients: float32 [7], with s = 0 where the step has no noise.
            noise: None: it has none.
        """
        if noise is not None:
            inputs = [out, x, noise, coefficients]
            return self.fused(STEP, inputs, name="ReverseStep", float32=True)
        known = coefficients.const_value
        if known is not None and tuple(known.numpy()) == Coefficients():
            return out
        return self.fused(MEAN, [out, x, coefficients], name="ReverseMean", float32=True)


Statement = Callable[[ir.Value, Step], ir.Value]
"""From the state before a step to the one after it."""


class SamplerBuilder(GraphBuilder):
    """A sampler's graph in the making.

    Attributes:
        sampler: what the graph takes and gives.
        inputs: its inputs, by name.
        looped: whether its steps are one Loop, once they are stated.

    Args:
        loop: whether they shall be.
    """

    def __init__(self, sampler: Sampler, loop: LoopChoice = "auto") -> None:
        super().__init__()
        self.sampler = sampler
        self.inputs = {name: served_input(name, *each) for name, each in sampler.inputs().items()}
        self.looped = False
        self._loop = loop

    def steps(self, x: ir.Value, body: Statement) -> ir.Value:
        """All steps of the sampler.

        Args:
            x: what the first starts from, float32 [batch, ...].
            body: states a step.

        Returns:
            What the last one makes.
        """
        count = self.sampler.steps
        self.looped = self._loop == "always"
        if self._loop == "auto":
            self.looped = count * _nodes_of(self, x, body) > MOST_NODES
        # There is nothing to repeat, nor a row of what is drawn for all steps but the last.
        self.looped &= count > 1
        if not self.looped:
            for k in range(count):
                x = body(x, _Copy(self, k))
            return x
        step = _Trip(self)
        state = graph_input(f"{LOOP_NAME}/state", x.shape or (), x.dtype or ir.DataType.FLOAT)
        (last,) = add_loop(self, count, step, [State(x, state, body(state, step))])
        return last

    def model(self, x_0: ir.Value) -> ir.Model:
        """The sampler that ends in a value; it gets the name ``x_0``, and so does its node but for a Loop."""
        x_0.name = "x_0"
        x_0.shape = ir.Shape((BATCH, *self.sampler.image))
        node = maker(x_0)
        node.meta[FLOAT32] = True
        if node.op_type != LOOP:
            node.name = "x_0"
        graph = ir.Graph(
            list(self.inputs.values()),
            [x_0],
            nodes=self.nodes,
            initializers=self.initializers,
            opset_imports={"": ops.OPSET, ops.DOMAIN: ops.VERSION},
            name="sampler",
        )
        return ir.Model(graph, ir_version=IR_VERSION)


def _rows_of(sampler: Sampler, name: str) -> int:
    """How many steps have a draw of that name."""
    streams = next((draw.streams for draw in sampler.draws if draw.name == name), None)
    return streams.count if isinstance(streams, Streams) else 0


class _Copy(Step):
    """The k-th of T copies."""

    def __init__(self, build: SamplerBuilder, k: int) -> None:
        super().__init__(f"step{k}/", build)
        self._k = k
        self._sampler = build.sampler
        self._inputs = build.inputs

    def row(self, name: str, table: npt.NDArray[np.float32], float32: bool = False) -> ir.Value:
        return self.constant(name, table[self._k])

    def pick(self, values: ir.Value, name: str, float32: bool = False) -> ir.Value:
        index = self.constant(f"{name}/index", np.int64(self._k))
        return self.op("Gather", [values, index], name=name, float32=float32, axis=1)

    def draw(self, name: str) -> ir.Value | None:
        if self._k >= _rows_of(self._sampler, name):
            return None
        return self.pick(self._inputs[name], name, float32=True)


class _Trip(Body, Step):
    """Any trip of the Loop."""

    def __init__(self, build: SamplerBuilder) -> None:
        super().__init__(LOOP_NAME, "step/")
        self._sampler = build.sampler
        self._inputs = build.inputs

    def row(self, name: str, table: npt.NDArray[np.float32], float32: bool = False) -> ir.Value:
        rows = self.constant(f"{name}/rows", np.ascontiguousarray(table))
        return self.op("Gather", [rows, self.number], name=name, float32=float32, axis=0)

    def pick(self, values: ir.Value, name: str, float32: bool = False) -> ir.Value:
        return self.op("Gather", [values, self.number], name=name, float32=float32, axis=1)

    def draw(self, name: str) -> ir.Value | None:
        index, last = self.number, _rows_of(self._sampler, name) - 1
        if last < 0:
            return None
        if last < self._sampler.steps - 1:
            limit = self.constant(f"{name}/last", np.int64(last))
            index = self.op("Min", [index, limit], name=f"{name}/index", dtype=ir.DataType.INT64)
        return self.op("Gather", [self._inputs[name], index], name=name, float32=True, axis=1)


def _nodes_of(build: SamplerBuilder, x: ir.Value, body: Statement) -> int:
    """How many nodes a copy has: it is made, counted and forgotten."""
    apart = SamplerBuilder(build.sampler)
    apart.inputs = build.inputs
    body(x, _Copy(apart, 0))
    for node in apart.nodes:
        for position in range(len(node.inputs)):
            node.replace_input_with(position, None)
    return len(apart.nodes)
