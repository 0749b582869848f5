"""What an export asks of a family: its sampler as one ONNX graph."""

from __future__ import annotations

import importlib
from collections.abc import Collection
from typing import Any, Protocol

import onnx_ir as ir

from ddgan_deploy.export.graph.rewriting import Rewrite
from ddgan_deploy.export.loop_choice import LoopChoice
from ddgan_deploy.families.base import Family
from ddgan_deploy.sampler import Sampler


class GraphFamily(Protocol):
    """A family's graphs.

    Attributes:
        rewrites: the exact rewrites that belong to it, in their order.
    """

    rewrites: tuple[Rewrite, ...]

    def build(
        self, reference: Any, sampler: Sampler, without: Collection[str] = (), loop: LoopChoice = "auto"
    ) -> ir.Model:
        """The sampler in float32, with all of its steps.

        Nodes carry the names that the family's probes have, and after their modules the names within a step.

        Args:
            reference: the family's own `Reference`.
            sampler: what the graph takes and gives.
            without: names of rewrites to leave out.
            loop: whether the steps are one Loop, for `SamplerBuilder`.

        Raises:
            GateError: a rewrite did not match as often as it must.
        """
        ...


def graph_family(family: Family) -> GraphFamily:
    """What makes the graphs of a family."""
    graphs: GraphFamily = importlib.import_module(family.graphs).GRAPHS
    return graphs
