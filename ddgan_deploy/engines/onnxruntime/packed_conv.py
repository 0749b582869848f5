"""Convolutions by products of low precision, in a graph as the CPU engine runs it: `ddgan.Uint8Conv`, `Bfloat16Conv`.

1. Of an int8 artifact, on a processor with instructions for it:
   Conv(DequantizeLinear(QuantizeLinear(x, s_x, z_x)), DequantizeLinear(w, s_w), b) becomes
   Uint8Conv(Pack(x), w, b, s_x s_w, z_x times the sums of w), if x has one scale and one zero point, and w one scale an
   output and no zero point. It computes the same integers, whatever the processor.
2. Where float32 products may be bfloat16: Conv(x, w, b) becomes Bfloat16Conv(Pack(x), w, b), if both sides have at
   least `_CHANNELS` channels: the first and the last convolution, of images, cost little, and much of the precision.
3. Either takes what follows it, as `conv3x3`'s rules 2 and 3 do. All are 1x1, or 3x3 with padding 1, stride 1 and one
   group; several readers of one x share its Pack.
4. Pack(AdaGN(x, scale, shift)) and Pack(AdaGNSilu(...)) become PackAdaGN and PackAdaGNSilu, if nobody else reads them.

A signed x_q, which TensorRT wants, is one without a sign that is 128 larger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines.onnxruntime.graph import (
    Chain,
    Rewriting,
    Shapes,
    Values,
    convolution,
    drop_unread,
    image_size,
    import_domain,
    same_size,
)
from ddgan_deploy.engines.onnxruntime.weights import Weights
from ddgan_deploy.kernels.op import DOMAIN
from ddgan_deploy.kernels.packed_conv.layout import bfloat16_bits, packed_weight

if TYPE_CHECKING:
    import onnx

_CHANNELS = 16
_KERNELS = (1, 3)
_SIGNED_ZERO = 128
"""The zero of signed integers among those without a sign."""


def pack_convolutions(
    model: onnx.ModelProto, weights: Weights, shapes: Shapes, integers: bool = True, bfloat16: bool = False
) -> int:
    """Rewrites the model's graph and the bodies of its Loops in place; returns the number of convolutions.

    Args:
        model: without its weights.
        weights: of the model.
        shapes: of its values.
        integers: whether products of integers are to be.
        bfloat16: whether products of float32 may be of bfloat16.
    """
    packing = _Packing(Values.of(model, shapes), weights, integers, bfloat16)
    count = sum(packing.rewrite(graph) for graph in with_bodies(model.graph))
    if count:
        import_domain(model)
        drop_unread(model)
    return count


@dataclass(frozen=True)
class _Rounded:
    """A convolution's input as it is packed.

    Attributes:
        value: the float32 tensor.
        attributes: of Pack.
    """

    value: str
    attributes: tuple[tuple[str, Any], ...]

    @property
    def is_integer(self) -> bool:
        return ("type", "uint8") in self.attributes


@dataclass(frozen=True)
class _Weight:
    """A weight that is rounded already, or is to be: [outputs, channels, k, k].

    Attributes:
        tensor: the initializer.
        scale: of each output; None: it is no integer.
        scale_name: the scale's initializer.
    """

    tensor: onnx.TensorProto
    scale: npt.NDArray[np.float32] | None
    scale_name: str = ""

    @property
    def is_integer(self) -> bool:
        return self.scale is not None


class _Packing:
    """The graphs of one model: a weight that several steps read is packed once."""

    def __init__(self, values: Values, weights: Weights, integers: bool, bfloat16: bool) -> None:
        self._values = values
        self._weights = weights
        self._integers = integers
        self._bfloat16 = bfloat16
        self._count = 0
        self._made: dict[str, str] = {}
        self._sums: dict[str, npt.NDArray[np.int64]] = {}

    def rewrite(self, graph: onnx.GraphProto) -> int:
        rewriting = Rewriting(graph, self._values)
        found = [(place, node) for place, node in enumerate(rewriting.nodes) if self._is_eligible(node)]
        packed: dict[_Rounded, str] = {}
        count = 0
        for place, conv in found:
            x, weight = self._input_of(rewriting, conv), self._weight_of(rewriting, conv)
            if x is None or weight is None or x.is_integer != weight.is_integer:
                continue
            if x not in packed:
                packed[x] = self._pack(rewriting, place, x)
            rewriting.replace(chain := rewriting.chain(place), self._product(conv, chain, packed[x], x, weight))
            count += 1
        if count:
            rewriting.finish()
        return count

    def _is_eligible(self, conv: onnx.NodeProto) -> bool:
        kernel = next((kernel for kernel in _KERNELS if convolution(conv, (kernel, kernel)) == same_size(kernel)), None)
        if kernel is None or image_size(self._values.shapes.get(conv.output[0], ())) is None:
            return False
        return self._kernel_of(conv.input[1]) == [kernel, kernel]

    def _kernel_of(self, weight: str) -> list[int | str]:
        tensor = self._values.initializers.get(weight)
        return list(self._values.shapes.get(weight, ()) if tensor is None else tensor.dims)[2:]

    def _input_of(self, rewriting: Rewriting, conv: onnx.NodeProto) -> _Rounded | None:
        dequantize = rewriting.made_by(conv.input[0], "DequantizeLinear")
        quantize = dequantize and rewriting.made_by(dequantize.input[0], "QuantizeLinear")
        if not dequantize or not quantize:
            return _Rounded(conv.input[0], (("type", "bfloat16"),)) if self._bfloat16 else None
        constants = list(quantize.input[1:])
        # Without a zero point the type would be told by an attribute.
        if not self._integers or len(constants) != 2 or constants != list(dequantize.input[1:]):
            return None
        scale, zero = map(self._constant, constants)
        if scale is None or zero is None:
            return None
        if scale.size != 1 or zero.dtype not in (np.uint8, np.int8):
            return None
        unsigned = int(zero.item()) + (_SIGNED_ZERO if zero.dtype == np.int8 else 0)
        attributes = {"type": "uint8", "step": float(scale.item()), "zero": unsigned}
        return _Rounded(quantize.input[0], tuple(attributes.items()))

    def _weight_of(self, rewriting: Rewriting, conv: onnx.NodeProto) -> _Weight | None:
        tensor = self._values.initializers.get(conv.input[1])
        if tensor is not None:
            usable = tensor.data_type == tensor.FLOAT and min(tensor.dims[:2]) >= _CHANNELS
            return _Weight(tensor, None) if usable else None
        dequantize = rewriting.made_by(conv.input[1], "DequantizeLinear")
        if dequantize is None or len(dequantize.input) != 2:
            return None
        tensor, scale = self._values.initializers.get(dequantize.input[0]), self._constant(dequantize.input[1])
        axis = {attribute.name: attribute.i for attribute in dequantize.attribute}.get("axis", 1)
        if tensor is None or tensor.data_type != tensor.INT8 or scale is None or axis != 0:
            return None
        fits = scale.shape == (tensor.dims[0],)
        return _Weight(tensor, scale.astype(np.float32), dequantize.input[1]) if fits else None

    def _pack(self, rewriting: Rewriting, place: int, x: _Rounded) -> str:
        """Puts the node before a place; returns its result."""
        from onnx import helper

        op_type, inputs, attributes = "Pack", [x.value], dict(x.attributes)
        norm = next(
            filter(None, (rewriting.made_by(x.value, name, (DOMAIN,)) for name in ("AdaGN", "AdaGNSilu"))), None
        )
        if norm and self._values.readings[x.value] == 1:
            of_norm = {attribute.name: helper.get_attribute_value(attribute) for attribute in norm.attribute}
            # Older files say in an attribute that their AdaGN ends in SiLU.
            if "activation" not in of_norm:
                op_type, inputs = f"Pack{norm.op_type}", list(norm.input)
                attributes |= {key: of_norm[key] for key in ("groups", "epsilon")}
        # A number, since a value may be packed in a body and around it, too.
        self._count += 1
        output = f"{x.value}/{op_type}/{self._count}"
        rewriting.insert(place, helper.make_node(op_type, inputs, [output], output, domain=DOMAIN, **attributes))
        return output

    def _product(self, conv: onnx.NodeProto, chain: Chain, packed: str, x: _Rounded, weight: _Weight) -> onnx.NodeProto:
        from onnx import helper

        size = image_size(self._values.shapes[conv.output[0]])
        assert size is not None
        inputs, op_type = [packed, self._packed_weight(weight), self._bias_of(conv, weight)], "Bfloat16Conv"
        if weight.scale is not None:
            op_type = "Uint8Conv"
            inputs += self._dequantization(weight, dict(x.attributes))
        if chain.residual:
            inputs.append(chain.residual)
        attributes = {"kernel": weight.tensor.dims[2], "height": size[0], "width": size[1], "scale": chain.scale}
        return helper.make_node(op_type, inputs, [chain.output], conv.name, domain=DOMAIN, **attributes)

    def _bias_of(self, conv: onnx.NodeProto, weight: _Weight) -> str:
        if len(conv.input) > 2 and conv.input[2]:
            return str(conv.input[2])
        outputs = weight.tensor.dims[0]
        return self._once(f"no_bias/{outputs}", lambda: np.zeros(outputs, np.float32))

    def _packed_weight(self, weight: _Weight) -> str:
        name = f"{weight.tensor.name}/packed"
        return self._once(name, lambda: packed_weight(self._elements(weight)))

    def _elements(self, weight: _Weight) -> npt.NDArray[Any]:
        values = self._weights.read(weight.tensor)
        return bfloat16_bits(values.astype(np.float32, copy=False)) if weight.scale is None else values

    def _dequantization(self, weight: _Weight, x: dict[str, Any]) -> list[str]:
        """The number that each output's sum is to be multiplied with, and what of it comes from the zero point."""
        assert weight.scale is not None
        step, zero, name = x["step"], x["zero"], weight.tensor.name
        if name not in self._sums:
            self._sums[name] = self._weights.read(weight.tensor).sum(axis=(1, 2, 3), dtype=np.int64)
        sums, factor = self._sums[name], weight.scale * np.float32(step)
        return [
            self._once(f"{name}/{weight.scale_name}/{step}/factor", lambda: factor),
            self._once(f"{name}/{zero}/offset", lambda: (zero * sums).astype(np.int32)),
        ]

    def _once(self, name: str, make: Callable[[], npt.NDArray[Any]]) -> str:
        if name not in self._made:
            self._made[name] = self._weights.add(name, make())
        return self._made[name]

    def _constant(self, name: str) -> npt.NDArray[Any] | None:
        tensor = self._values.initializers.get(name)
        return None if tensor is None else self._weights.read(tensor)
