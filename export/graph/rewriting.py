"""The exact rewrites of the sampler in their order, each with how often it must match."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import onnx_ir as ir

from ddgan_deploy.errors import GateError
from ddgan_deploy.export.graph.builder import unroll
from ddgan_deploy.export.graph.rewrites.shortcut_upsampling import hoist_shortcuts
from ddgan_deploy.export.graph.rewrites.time_bias import fold_time_biases
from ddgan_deploy.export.graph.trace import Traced
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.ddgan.schedule import Schedule


@dataclass(frozen=True)
class Rewrite:
    """One exact rewrite.

    Attributes:
        name: its module in ``rewrites``.
        apply: rewrites a graph in place and says how often it matched.
        matches: how often it must match in one step of a generator.
    """

    name: str
    apply: Callable[[ir.Graph], int]
    matches: Callable[[Generator], int]


def _up_blocks(generator: Generator) -> int:
    return generator.config.levels - 1


def _time_biases(generator: Generator) -> int:
    return len(generator.blocks) if generator.config.conditional else 0


ONE_STEP = (Rewrite("shortcut_upsampling", hoist_shortcuts, _up_blocks),)
"""On the graph of one step, before it is copied, so that rewritten weights are stored once."""
ALL_STEPS = (Rewrite("time_bias", fold_time_biases, _time_biases),)
"""On the unrolled graph, where the time is constant."""
REWRITES = (*ONE_STEP, *ALL_STEPS)


def simplified_sampler(
    traced: Traced, generator: Generator, schedule: Schedule, without: Collection[str] = ()
) -> ir.Model:
    """The T-step sampler of `unroll`, rewritten.

    Args:
        traced: the generator as ONNX graphs; its step is rewritten in place.
        generator: what was traced.
        schedule: the T-step process.
        without: names of rewrites to leave out.

    Raises:
        GateError: a rewrite did not match as often as it must.
    """
    for rewrite in ONE_STEP:
        if rewrite.name not in without:
            _apply(rewrite, traced.step.graph, rewrite.matches(generator))
    sampler = unroll(traced, generator, schedule)
    for rewrite in ALL_STEPS:
        if rewrite.name not in without:
            _apply(rewrite, sampler.graph, rewrite.matches(generator) * schedule.steps)
    return sampler


def _apply(rewrite: Rewrite, graph: ir.Graph, expected: int) -> None:
    count = rewrite.apply(graph)
    if count != expected:
        raise GateError(
            f"the rewrite {rewrite.name} matched {count} times instead of {expected}: the exporter's graph has changed"
        )
