"""What every fused op states about itself, and the ONNX forms that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

DOMAIN = "ddgan"
VERSION = 1
OPSET = 20
"""Version of the default ONNX domain that the bodies, and so the graphs around them, are written in."""

IR_VERSION = 10
"""The first that knows overloads of functions."""

_FLOATS = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"]
_TYPES = {"float": ["tensor(float)"], "int64": ["tensor(int64)"]}


@dataclass(frozen=True)
class OpSpec:
    """One fused op: its schema and its definition as an ONNX function.

    Attributes:
        name: op type in domain ``ddgan``.
        inputs, outputs: (name, type); a type is ``float``, ``int64`` or a type
            variable such as ``T``, any float type.
        attributes: name -> ONNX attribute type (``INT``, ``FLOAT``, ``STRING``, ``INTS``).
        variant: the string attribute that selects the body, or "" where there is one body.
            ONNX functions cannot branch on a string without control flow, so each
            value has a function of its own, its ``overload`` (ONNX IR 10) that value. Readers
            that know functions by name alone, such as TensorRT's parser, need the file inlined
            first (``onnx.inliner``), or they take one variant for all.
        body: value of the variant -> the function's nodes in ONNX text syntax.
    """

    name: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    attributes: Mapping[str, str]
    body: Callable[[str], str]
    variant: str = ""
    variants: tuple[str, ...] = ("",)

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

    def function(self, variant: str = "") -> onnx.FunctionProto:
        """The op's definition by standard ONNX ops.

        Raises:
            KeyError: the variant is not one of ``variants``.
        """
        if variant not in self.variants:
            raise KeyError(f"{self.name} has no variant {variant!r}")
        import onnx.parser

        names = ", ".join((*self.attributes, "plugin_namespace"))
        function = onnx.parser.parse_function(
            f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}]>\n'
            f"{self.name} <{names}> ({', '.join(name for name, _ in self.inputs)})"
            f" => ({', '.join(name for name, _ in self.outputs)}) {{\n{self.body(variant)}\n}}"
        )
        function.overload = variant
        return function

    def model(self, inputs: Sequence[tuple[int, int]], **attributes: Any) -> onnx.ModelProto:
        """A model of one node that carries its own definition, for tests and benchmarks.

        Args:
            inputs: element type (a number of ``onnx.TensorProto``) and rank of each; their extents are open.
            attributes: of the node.
        """
        import onnx
        from onnx import helper

        names, outputs = ([name for name, _ in values] for values in (self.inputs, self.outputs))
        node = helper.make_node(self.name, names, outputs, domain=DOMAIN, plugin_namespace=DOMAIN, **attributes)
        node.overload = str(attributes.get(self.variant, ""))
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
            functions=[self.function(node.overload)],
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, VERSION)],
            ir_version=IR_VERSION,
        )
