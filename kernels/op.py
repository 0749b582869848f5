"""What every fused op states about itself, and the ONNX forms that follow from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import onnx

DOMAIN = "ddgan"
VERSION = 1
OPSET = 20
"""Version of the default ONNX domain that the bodies, and so the graphs around them, are written in."""

IR_VERSION = 9
"""What `OPSET` needs."""

_FLOATS = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"]
_TYPES = {"float": ["tensor(float)"], "int64": ["tensor(int64)"]}


class Tensor(NamedTuple):
    """Extents and element size of a node's input or output."""

    shape: tuple[int, ...]
    item_bytes: int

    @property
    def bytes(self) -> int:
        """Of the whole tensor."""
        return math.prod(self.shape) * self.item_bytes


class Cost(NamedTuple):
    """What a node takes at least.

    Attributes:
        flops: floating-point operations, two a multiply-add.
        bytes: of all that it reads and writes, each once.
    """

    flops: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class OpSpec:
    """One fused op: its schema and its definition as an ONNX function.

    Attributes:
        name: op type in domain ``ddgan``.
        inputs, outputs: (name, type); a type is ``float``, ``int64`` or a type
            variable such as ``T``, any float type.
        attributes: name -> ONNX attribute type (``INT``, ``FLOAT``, ``STRING``, ``INTS``).
        body: the function's nodes in ONNX text syntax.
        flops: floating-point operations that a value of the output takes.
        like: the input whose shape the output has; "" where it is [rows of the first input, *shape],
            ``shape`` an attribute.
    """

    name: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    attributes: Mapping[str, str]
    flops: int
    body: str
    like: str = ""

    @property
    def float32(self) -> frozenset[str]:
        """Inputs and outputs that are float32 whatever the precision around the op is."""
        return frozenset(name for name, kind in (*self.inputs, *self.outputs) if kind == "float")

    def output_shape(self, inputs: Sequence[Sequence[Any]], attributes: Mapping[str, Any]) -> tuple[Any, ...]:
        """Shape of the output, from those of the inputs, in their order, and the node's attributes."""
        if not self.like:
            return (inputs[0][0], *attributes["shape"])
        return tuple(inputs[[name for name, _ in self.inputs].index(self.like)])

    def cost(self, inputs: Sequence[Tensor], output: Tensor) -> Cost:
        """What a node takes at least: one pass over its data, whatever its function body says."""
        flops = self.flops * math.prod(output.shape)
        return Cost(flops, sum(tensor.bytes for tensor in (*inputs, output)))

    def schema(self) -> onnx.defs.OpSchema:
        """The op's schema, for exporters and checkers."""
        import onnx

        schema = onnx.defs.OpSchema
        variables = {kind for _, kind in (*self.inputs, *self.outputs) if kind not in _TYPES}

        def parameter(name: str, kind: str) -> onnx.defs.OpSchema.FormalParameter:
            return schema.FormalParameter(name, kind if kind in variables else _TYPES[kind][0])

        return schema(
            self.name,
            DOMAIN,
            VERSION,
            inputs=[parameter(*item) for item in self.inputs],
            outputs=[parameter(*item) for item in self.outputs],
            type_constraints=[(variable, _FLOATS, "any float type") for variable in sorted(variables)],
            attributes=[
                schema.Attribute(name, getattr(schema.AttrType, kind), "")
                for name, kind in {**self.attributes, "plugin_namespace": "STRING"}.items()
            ],
        )

    def function(self) -> onnx.FunctionProto:
        """The op's definition by standard ONNX ops."""
        import onnx.parser

        names = ", ".join((*self.attributes, "plugin_namespace"))
        return onnx.parser.parse_function(
            f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}]>\n'
            f"{self.name} <{names}> ({', '.join(name for name, _ in self.inputs)})"
            f" => ({', '.join(name for name, _ in self.outputs)}) {{\n{self.body}\n}}"
        )

    def model(self, inputs: Sequence[tuple[int, int]], **attributes: Any) -> onnx.ModelProto:
        """A model of one node that carries its own definition, for tests and benchmarks.

        Args:
            inputs: element type (a number of ``onnx.TensorProto``) and rank of each; their extents are open.
            attributes: of the node.
        """
        import onnx
        from onnx import helper

        names, outputs = ([name for name, _ in values] for values in (self.inputs, self.outputs))
        node = helper.make_node(self.name, names, outputs, domain=DOMAIN, plugin_namespace=DOMAIN)
        for name, value in attributes.items():
            # The type is told, for an empty list tells none.
            kind = getattr(onnx.AttributeProto, self.attributes[name])
            node.attribute.append(helper.make_attribute(name, value, attr_type=kind))
        graph = helper.make_graph(
            [node],
            self.name,
            [
                helper.make_tensor_value_info(name, kind, [None] * rank)
                for name, (kind, rank) in zip(names, inputs, strict=True)
            ],
            [onnx.ValueInfoProto(name=name) for name in outputs],
        )
        return helper.make_model(
            graph,
            functions=[self.function()],
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)],
            ir_version=IR_VERSION,
        )
