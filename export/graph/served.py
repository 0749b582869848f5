"""Sampler graph -> the served graph: a seed and knobs in, pixels out.

What the sampler draws becomes PhiloxNormal nodes of the seed; x_0 becomes bytes. Where the steps are a Loop, what each
draws is one PhiloxNormalAt in its body, and what all of them draw together is another Loop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir
from onnx_ir.convenience import replace_all_uses_with

from ddgan_deploy.export.graph.builder import BATCH, GraphBuilder, served_input
from ddgan_deploy.export.graph.loop import Body, add_loop, loops
from ddgan_deploy.kernels.philox_normal.spec import INTEGER, NORMAL_AT
from ddgan_deploy.kernels.philox_normal.spec import SPEC as NORMAL
from ddgan_deploy.sampler import Draw, Knob, Sampler, Streams

_PICK = re.compile(r"step(\d*)/(.+)")
"""The name of a node that picks the draw of a step, or in a Loop of any; see `Step.draw`."""


def seed_to_pixels(model: ir.Model, sampler: Sampler) -> ir.Model:
    """A copy of the sampler that takes ``seed`` and the knobs, and gives ``image``; the weights are shared.

    Args:
        model: the sampler, left as it is.
        sampler: what it takes and gives.
    """
    graph = model.graph.clone()
    taken = {name: served_input(name, *each) for name, each in sampler.served_inputs().items()}
    given = {value.name: value for value in graph.inputs}
    head = GraphBuilder()
    for draw in sampler.draws:
        _draw(head, graph, draw, given[draw.name], taken["seed"])
    for knob in sampler.knobs:
        replace_all_uses_with(given[knob.name], _knob(head, knob, taken))
    tail = GraphBuilder()
    image = _pixels(tail, graph.outputs[0], sampler)
    for value in (*head.initializers, *tail.initializers):
        graph.register_initializer(value)
    graph.insert_before(graph[0], head.nodes)
    graph.extend(tail.nodes)
    graph.inputs[:] = list(taken.values())
    graph.outputs[:] = [image]
    graph.name = "ddgan"
    return ir.Model(graph, ir_version=model.ir_version)


def _draw(build: GraphBuilder, graph: ir.Graph, draw: Draw, given: ir.Value, seed: ir.Value) -> None:
    """Draws an input from the seed: where every use picks one step's, each of these, else all side by side."""
    if not isinstance(draw.streams, Streams):
        replace_all_uses_with(given, _from_stream(build, draw, seed, f"draw/{draw.name}", draw.streams))
        return
    names = [f"draw/{draw.name}{k}" for k in range(draw.streams.count)]
    picks = _picks(given)
    if len(picks) == len(given.uses()):
        for k, node in picks.items():
            drawn = _from_stream(build, draw, seed, names[k], draw.streams.at(k))
            replace_all_uses_with(node.outputs[0], drawn)
            graph.remove(node, safe=True)
        return
    if not draw.below and any(loops(graph)):
        _draw_in_loops(build, draw, draw.streams, given, seed)
        return
    rows = [_from_stream(build, draw, seed, name, draw.streams.at(k), row=True) for k, name in enumerate(names)]
    side_by_side = build.op("Concat", rows, name=f"draw/{draw.name}", axis=1) if len(rows) > 1 else rows[0]
    replace_all_uses_with(given, side_by_side)


def _picks(given: ir.Value) -> Mapping[int, ir.Node]:
    """The nodes that pick a step's draw, by the step."""
    return dict(sorted((int(number), node) for number, node in _picking(given) if number))


def _picking(given: ir.Value) -> Iterator[tuple[str, ir.Node]]:
    """The nodes that pick a step's draw, with the step's number; "" where it is that of a Loop's trip."""
    for use in given.uses():
        match = _PICK.fullmatch(use.node.name or "")
        if use.node.op_type == "Gather" and match and match[2] == given.name:
            yield match[1], use.node


def _draw_in_loops(build: GraphBuilder, draw: Draw, streams: Streams, given: ir.Value, seed: ir.Value) -> None:
    """Draws in the body where it picks a step's, and for every other use all steps' side by side."""
    for number, node in list(_picking(given)):
        index, body = node.inputs[1], node.graph
        assert not number and index is not None and isinstance(body, ir.Graph)
        inner = GraphBuilder("step/draw/")
        drawn = _at(inner, draw, streams, seed, index)
        for value in inner.initializers:
            body.register_initializer(value)
        body.insert_before(node, inner.nodes)
        replace_all_uses_with(node.outputs[0], drawn)
        body.remove(node, safe=True)
    if given.uses():
        name = f"draw/{draw.name}"
        inner_loop = Body(f"{name}/steps", "draw/")
        row = _at(inner_loop, draw, streams, seed, inner_loop.number)
        (rows,) = add_loop(build, streams.count, inner_loop, rows=[row])
        axes = (1, 0, *range(2, len(draw.shape) + 2))
        replace_all_uses_with(given, build.op("Transpose", [rows], name=name, perm=axes))


def _at(build: GraphBuilder, draw: Draw, streams: Streams, seed: ir.Value, k: ir.Value) -> ir.Value:
    """The draw of the k-th step, where k is computed."""
    number = k
    for op_type, operand in (("Mul", streams.step), ("Add", streams.first)):
        constant = build.constant(f"{draw.name}/{op_type}/by", np.int64(operand))
        number = build.op(op_type, [number, constant], name=f"{draw.name}/{op_type}", dtype=ir.DataType.INT64)
    return build.fused(NORMAL_AT, [seed, number], name=f"{draw.name}/Normal", shape=draw.shape)


def _from_stream(
    build: GraphBuilder, draw: Draw, seed: ir.Value, name: str, stream: int, row: bool = False
) -> ir.Value:
    shape = (1, *draw.shape) if row else draw.shape
    if draw.below:
        whole = ir.DataType.INT64
        return build.fused(INTEGER, [seed], name=name, dtype=whole, stream=stream, shape=shape, below=draw.below)
    return build.fused(NORMAL, [seed], name=name, stream=stream, shape=shape)


def _knob(build: GraphBuilder, knob: Knob, taken: Mapping[str, ir.Value]) -> ir.Value:
    """From the served graph's form to the sampler's; see `inputs.draw`."""
    value, name = taken[knob.name], f"knob/{knob.name}"
    if knob.is_image:
        value = build.op("Cast", [value], name=f"{name}/float", to=ir.DataType.FLOAT)
        value = build.op("Transpose", [value], name=f"{name}/planes", perm=(0, 3, 1, 2))
        for op_type, operand in (("Div", 127.5), ("Sub", 1.0)):
            constant = build.constant(f"{name}/{op_type}/by", np.float32(operand))
            value = build.op(op_type, [value, constant], name=f"{name}/{op_type}")
        return value
    if knob.drawn is not None:
        dtype = ir.DataType.INT64 if knob.drawn.below else ir.DataType.FLOAT
        zero = build.constant(f"{name}/zero", np.zeros((), dtype.numpy()))
        is_left_out = build.op("Less", [value, zero], name=f"{name}/left_out", dtype=ir.DataType.BOOL)
        assert isinstance(knob.drawn.streams, int)
        drawn = _from_stream(build, knob.drawn, taken["seed"], f"draw/{knob.name}", knob.drawn.streams)
        return build.op("Where", [is_left_out, drawn, value], name=name, dtype=dtype)
    return value


def _pixels(build: GraphBuilder, x_0: ir.Value, sampler: Sampler) -> ir.Value:
    """floor(clip((x + 1) / 2 * 255 + 0.5, 0, 255)) as uint8 [batch, H, W, C]."""
    value = x_0
    for i, (op_type, operand) in enumerate((("Add", 1.0), ("Mul", 0.5), ("Mul", 255.0), ("Add", 0.5))):
        constant = build.constant(f"pixels/constant{i}", np.float32(operand))
        value = build.op(op_type, [value, constant], name=f"pixels/{op_type}{i}")
    limits = [build.constant(f"pixels/{name}", np.float32(limit)) for name, limit in (("low", 0), ("high", 255))]
    value = build.op("Clip", [value, *limits], name="pixels/Clip")
    value = build.op("Transpose", [value], name="pixels/Transpose", perm=(0, 2, 3, 1))
    # Cast rounds towards zero, which is floor from 0 on. It comes last: TensorRT has uint8 as an output alone.
    image = build.op("Cast", [value], name="image", dtype=ir.DataType.UINT8, to=ir.DataType.UINT8)
    channels, height, width = sampler.image
    image.shape = ir.Shape((BATCH, height, width, channels))
    return image
