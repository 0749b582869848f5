"""What a rule has at hand: a node, what came back to its outputs, and a way to make further nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from ddgan_deploy.errors import GateError
from ddgan_deploy.export.graph.builder import Attribute, GraphBuilder, maker
from ddgan_deploy.export.graph.trace import LAYER
from ddgan_deploy.kernels.op import OpSpec

SUFFIX = "/grad"
"""What a node's gradient is named with, behind the node's own name and behind its layer's."""
Extents = Sequence[int | ir.SymbolicDim]
Operand = ir.Value | float | tuple[int, ...] | np.ndarray | None
"""A value; a number of the cotangent's type; sizes, int64 [n]; any constant; an input that is left out."""


class Backward:
    """A node on the way back.

    Args:
        build: gets the nodes.
        node: whose gradient they are.
        dys: the cotangents of its outputs, each of the output's shape; None where nothing came back, at least one is.
        taken: the names of the graph's nodes, to which ours are added.
    """

    def __init__(
        self, build: GraphBuilder, node: ir.Node, dys: Sequence[ir.Value | None], taken: set[str | None]
    ) -> None:
        self.node = node
        self.dys = dys
        self._build = build
        self._taken = taken

    @property
    def dy(self) -> ir.Value:
        """The cotangent of the output; of several, of the first that has one."""
        return next(dy for dy in self.dys if dy is not None)

    @property
    def y(self) -> ir.Value:
        """The first output."""
        return self.node.outputs[0]

    def x(self, position: int = 0) -> ir.Value:
        """An input."""
        return _given(self.node.inputs[position])

    def extents(self, value: ir.Value) -> Extents:
        """A value's shape.

        Raises:
            GateError: nobody knows it.
        """
        if value.shape is None:
            raise self.refusal(f"{value.name} has no known shape")
        return value.shape.dims

    def op(
        self,
        op_type: str,
        *inputs: Operand,
        like: ir.Value | None = None,
        shape: Extents | None = None,
        **attributes: Attribute,
    ) -> ir.Value:
        """A node of ONNX's own.

        Args:
            like: of whose type and shape its output is; the cotangent's where it is left out.
            shape: the output's, where it is another.
        """
        like = like or self.dy
        assert like.dtype is not None
        name = self._name()
        values = [self._value(each, f"{name}.{i}") for i, each in enumerate(inputs)]
        made = self._build.op(
            op_type, values, name=name, dtype=like.dtype, float32=False, shape=None, layer=self._layer, **attributes
        )
        made.shape = like.shape if shape is None else ir.Shape(shape)
        return made

    def fused(self, spec: OpSpec, inputs: Sequence[ir.Value], **attributes: Attribute) -> ir.Value:
        """A node of domain ``ddgan`` whose output is like the first input."""
        assert inputs[0].dtype is not None
        dtype = inputs[0].dtype
        made = self._build.fused(spec, inputs, name=self._name(), dtype=dtype, float32=False, **attributes)
        made.shape = inputs[0].shape
        maker(made).metadata_props[LAYER] = self._layer
        return made

    def summed(self, value: ir.Value, position: int) -> ir.Value:
        """A value of the output's shape, summed over what the input was broadcast along.

        Raises:
            GateError: that is the batch.
        """
        x = self.x(position)
        wanted, given = self.extents(x), self.extents(value)
        leading = len(given) - len(wanted)
        axes = tuple(
            axis for axis, extent in enumerate(given) if axis < leading or (wanted[axis - leading] == 1 and extent != 1)
        )
        if not axes:
            return value
        for axis in axes:
            self.static(given[axis])
        kept = [1 if axis in axes else extent for axis, extent in enumerate(given)]
        total = self.op("ReduceSum", value, axes, shape=kept, keepdims=1)
        return self.reshaped(total, x) if leading else total

    def reshaped(self, value: ir.Value, like: ir.Value) -> ir.Value:
        """A value in another's shape, of which one extent may be dynamic."""
        sizes = tuple(extent if isinstance(extent, int) else -1 for extent in self.extents(like))
        if sizes.count(-1) > 1:
            raise self.refusal(f"{like.name} has several dynamic extents")
        return self.op("Reshape", value, sizes, like=like)

    def padded(self, value: ir.Value, starts: Mapping[int, int]) -> ir.Value:
        """A value with zeros around it, along some axes as long as the input.

        Args:
            starts: axis -> how many zeros come before.
        """
        whole, pads = list(self.extents(value)), [0] * 2 * len(self.extents(value))
        for axis, before in starts.items():
            own, whole[axis] = whole[axis], self.extents(self.x())[axis]
            pads[axis], pads[len(whole) + axis] = before, self.static(whole[axis]) - self.static(own) - before
        return self.op("Pad", value, tuple(pads), shape=whole) if any(pads) else value

    def static(self, extent: int | ir.SymbolicDim) -> int:
        """An extent that must be known.

        Raises:
            GateError: it is dynamic.
        """
        if not isinstance(extent, int):
            raise self.refusal(f"it works along a dynamic extent, {extent}")
        return extent

    def integers(self, position: int) -> list[int] | None:
        """An input of sizes or axes; None where it is left out.

        Raises:
            GateError: it is not constant.
        """
        value = self.node.inputs[position] if position < len(self.node.inputs) else None
        if value is None:
            return None
        return [int(each) for each in self.constant(value).reshape(-1)]

    def constant(self, value: ir.Value) -> np.ndarray:
        """What a constant is.

        Raises:
            GateError: it is none.
        """
        if value.const_value is None:
            raise self.refusal(f"{value.name} is not constant")
        return value.const_value.numpy()

    def expect(self, **attributes: Attribute) -> None:
        """Holds attributes to the only values that a rule covers, their defaults too.

        Raises:
            GateError: one has another.
        """
        for name, wanted in attributes.items():
            found = self.node.attributes[name].value if name in self.node.attributes else wanted
            if found != wanted:
                raise self.refusal(f"{name} is {found}")

    def only(self, *positions: int, position: int) -> None:
        """Holds a rule to the inputs that it covers.

        Raises:
            GateError: another one depends on what is differentiated by.
        """
        if position not in positions:
            raise self.refusal(f"its input {self.x(position).name} depends on what is differentiated by")

    def refusal(self, why: str) -> GateError:
        """The error of a node that has no gradient, in one line."""
        return no_gradient(self.node, why)

    @property
    def _layer(self) -> str:
        return self.node.metadata_props.get(LAYER, self.node.name or "") + SUFFIX

    def _name(self) -> str:
        first = f"{self.node.name}{SUFFIX}"
        name, count = first, 1
        while name in self._taken:
            count += 1
            name = f"{first}_{count}"
        self._taken.add(name)
        return name

    def _value(self, operand: Operand, name: str) -> ir.Value | None:
        if operand is None or isinstance(operand, ir.Value):
            return operand
        if isinstance(operand, np.ndarray):
            return self._build.constant(name, operand)
        if isinstance(operand, tuple):
            return self._build.constant(name, np.array(operand, np.int64))
        assert self.dy.dtype is not None
        return self._build.constant(name, np.array(operand, self.dy.dtype.numpy()))


Rule = Callable[[Backward, int], ir.Value]
"""From a node and the position of one of its inputs to that input's cotangent, of the input's shape."""


def no_gradient(node: ir.Node, why: str) -> GateError:
    """The error of a node that has no gradient, in one line."""
    domain = f"{node.domain}." if node.domain else ""
    return GateError(f"{node.name}, a {domain}{node.op_type}, has no gradient: {why}")


def _given(value: ir.Value | None) -> ir.Value:
    assert value is not None
    return value
