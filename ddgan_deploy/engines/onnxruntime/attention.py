"""Self-attention by `ddgan.Attention`, in a graph as the CPU engine runs it.

MatMul(v, Transpose(Softmax(MatMul(Transpose(q), k)))), over the last axis of the scores, becomes ``Attention(qkv)`` if

1. q, k and v, in this order, are a Split of qkv, [N, 3 C, T] or [N, 3 heads, C, T], in three equal parts of its second
   axis;
2. all of it is float32: a Cast to float32 before the softmax or after it changes nothing;
3. nothing else reads the scores or their softmax. A gradient does: it keeps them.

A scale is in q. ONNX Runtime has the scores in memory, [N, heads, T, T], and writes, reads and transposes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ddgan_deploy.artifact.subgraphs import with_bodies
from ddgan_deploy.engines.onnxruntime.graph import ONNX_DOMAINS, Inferred, Rewriting, Values, drop_unread, import_domain
from ddgan_deploy.kernels.op import DOMAIN

if TYPE_CHECKING:
    import onnx

_PERMUTATIONS = ([0, 2, 1], [0, 1, 3, 2])
"""What exchanges the last two axes."""


def fuse_attention(model: onnx.ModelProto, inferred: Inferred) -> int:
    """Rewrites the model's graph and the bodies of its Loops in place; returns the number of Attention nodes."""
    from onnx import helper

    values, count = Values.of(model, inferred.shapes), 0
    for graph in with_bodies(model.graph):
        pattern = _Pattern(Rewriting(graph, values), inferred)
        for node in graph.node:
            qkv = pattern.qkv_of(node)
            if qkv is not None:
                node.CopyFrom(helper.make_node("Attention", [qkv], list(node.output), node.name, domain=DOMAIN))
                count += 1
    if count:
        import_domain(model)
        drop_unread(model)
    return count


@dataclass(frozen=True)
class _Pattern:
    """Of one graph."""

    graph: Rewriting
    inferred: Inferred

    def qkv_of(self, node: onnx.NodeProto) -> str | None:
        """What the attention that ends in a node is computed of; None where none does."""
        if node.op_type != "MatMul" or node.domain not in ONNX_DOMAINS:
            return None
        v, turned = node.input
        turn = self._made_alone(turned, "Transpose")
        softmax = turn and self._made_alone(turn.input[0], "Softmax")
        scores = softmax and self._made_alone(softmax.input[0], "MatMul")
        q = scores and self.graph.made_by(scores.input[0], "Transpose")
        if not (turn and softmax and scores and q):
            return None
        permutation = _attribute(turn, "perm", None)
        if permutation not in _PERMUTATIONS or _attribute(q, "perm", None) != permutation:
            return None
        if _attribute(softmax, "axis", -1) not in (-1, len(permutation) - 1):
            return None
        return self._whole([q.input[0], scores.input[1], v], len(permutation))

    def _made_alone(self, value: str, op_type: str) -> onnx.NodeProto | None:
        """The node of a type that makes a value which nothing else reads, apart from a Cast that changes nothing."""
        readings, float32 = self.graph.values.readings, self.inferred.float32
        cast = self.graph.made_by(value, "Cast")
        if cast is not None and readings[value] == 1 and {value, cast.input[0]} <= float32:
            value = cast.input[0]
        return self.graph.made_by(value, op_type) if readings[value] == 1 else None

    def _whole(self, parts: list[str], rank: int) -> str | None:
        """What these are all the parts of, in their order: equal ones of the second axis, in float32."""
        split = self.graph.made_by(parts[0], "Split")
        if split is None or list(split.output) != parts or _attribute(split, "axis", 0) not in (1, 1 - rank):
            return None
        extents = [shape[1] if len(shape := self.inferred.shapes.get(part, ())) == rank else "" for part in parts]
        if len(set(extents)) > 1 or not isinstance(extents[0], int):
            return None
        whole: str = split.input[0]
        return whole if whole in self.inferred.float32 else None


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(given) for given in node.attribute if given.name == name), default)
