"""Where an engine's time goes, by op type and by layer, and how near each comes to its own roofline."""

from __future__ import annotations

import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from ddgan_deploy.artifact.manifest import Artifact
from ddgan_deploy.bench.jobs import PerOpJob
from ddgan_deploy.bench.limits.graph_cost import GraphCost, NodeCost, graph_cost
from ddgan_deploy.bench.limits.roofline import node_ms
from ddgan_deploy.bench.names import Device, dtype_of
from ddgan_deploy.bench.options import BenchOptions
from ddgan_deploy.bench.process import Worker
from ddgan_deploy.bench.results import OpShare, PerOp, Rates
from ddgan_deploy.engines.base import OpTime
from ddgan_deploy.sampler import Dtype

TOP = 20
"""Layers that are listed."""


@dataclass(frozen=True)
class Machine:
    """Where ops are timed: with what options, in which temporary folder, at which rates, and of which graphs."""

    options: BenchOptions
    folder: Path
    rates: Mapping[Device, Rates]
    graphs: Mapping[Path, onnx.ModelProto]


def measure_ops(here: Machine, artifact: Artifact) -> PerOp:
    """The ops of the engine that the options name, at the smallest batch size.

    Raises:
        WorkerError: the engine cannot run here, or does not tell.
    """
    options, engine = here.options, str(here.options.per_op)
    batch = min(options.batches)
    job = PerOpJob(engine, artifact.path, options.cores, batch, options.runs)
    with Worker(job, here.folder / f"ops-{uuid.uuid4().hex}", options.timeout) as worker:
        times: list[OpTime] = worker.ask("measure")
    cost, precision = graph_cost(here.graphs[artifact.path], batch), artifact.manifest.precision
    by_type, top = shares(times, cost, here.rates.get("cpu"), dtype_of(engine, precision))
    return PerOp(engine, precision, str(artifact.path), batch, by_type, top)


def shares(
    times: Sequence[OpTime], cost: GraphCost, rates: Rates | None, dtype: Dtype
) -> tuple[tuple[OpShare, ...], tuple[OpShare, ...]]:
    """By op type, and the slowest layers, each the slowest first."""
    find = _finder(cost)
    found = [(time, find(time.name)) for time in times]
    parts: dict[str, dict[tuple[str, str], float]] = defaultdict(lambda: defaultdict(float))
    for time, node in found:
        if node and not _moves(time):
            parts[node.name][time.name, time.op_type] += time.ms

    def least_ms(time: OpTime, node: NodeCost | None) -> float | None:
        # Of what a runtime made of a node, the slowest part computes it; in a Loop each has a time for every trip.
        if node is None or _moves(time):
            return None
        if parts[node.name][time.name, time.op_type] < max(parts[node.name].values()):
            return None
        return node_ms(node, rates, dtype)

    nodes = [_Node(time, node, least_ms(time, node)) for time, node in found]
    by_type = _grouped(nodes, lambda node: (node.time.op_type, "", ()))
    top = _grouped(nodes, lambda node: (node.time.op_type, node.layer, node.shape))
    return by_type, top[:TOP]


def _moves(time: OpTime) -> bool:
    """Whether it is a runtime's own change of layout, which it names after the node that it is made for."""
    return time.op_type.startswith("Reorder")


@dataclass(frozen=True)
class _Node:
    """A node of what the engine made of the graph, the graph's node that it came from, and that one's least time."""

    time: OpTime
    cost: NodeCost | None
    least_ms: float | None

    @property
    def layer(self) -> str:
        """The module, the same at every step; "" where it cannot be told."""
        return re.sub(r"^step\d*/", "", self.cost.name) if self.cost else ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the output."""
        return self.time.shape or (self.cost.shape if self.cost else ())


def _finder(cost: GraphCost) -> Callable[[str], NodeCost | None]:
    """Finds the graph's node by the name of what a runtime made of it."""
    by_name = {node.name: node for node in cost.nodes}
    by_output = {node.output: node for node in cost.nodes}

    def find(name: str) -> NodeCost | None:
        # ONNX Runtime names a convolution in its own layout after its output.
        found = by_name.get(name) or by_output.get(name.removesuffix("_nchwc"))
        # What a fusion made is the first node's name, a slash, and the fusion's.
        parts = name.split("/")
        for i in range(len(parts) - 1, 0, -1):
            found = found or by_name.get("/".join(parts[:i]).rstrip("/"))
        return found

    return find


def _grouped(nodes: Sequence[_Node], key: Callable[[_Node], tuple[str, str, tuple[int, ...]]]) -> tuple[OpShare, ...]:
    groups: dict[tuple[str, str, tuple[int, ...]], list[_Node]] = defaultdict(list)
    for node in nodes:
        groups[key(node)].append(node)
    total = sum(node.time.ms for node in nodes) or 1.0
    found = [_share(*kind, group, total) for kind, group in groups.items()]
    return tuple(sorted(found, key=lambda share: share.ms, reverse=True))


def _share(op_type: str, layer: str, shape: tuple[int, ...], group: Sequence[_Node], total: float) -> OpShare:
    ms = sum(node.time.ms for node in group)
    known = [node for node in group if node.least_ms is not None]
    known_ms = sum(node.time.ms for node in known)
    least_ms = sum(node.least_ms or 0.0 for node in known)
    return OpShare(op_type, layer, shape, len(group), ms, ms / total, least_ms / known_ms if known_ms else None)
