"""Applies an exact rewrite, and holds its count."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from ddgan_deploy.errors import GateError


@dataclass(frozen=True)
class Rewrite:
    """One exact rewrite.

    Attributes:
        name: its module in ``rewrites``.
        apply: rewrites a graph in place and says how often it matched.
        matches: how often it must match in one step, by the family's network.
    """

    name: str
    apply: Callable[[ir.Graph], int]
    matches: Callable[[Any], int]


def rewrite_all(
    rewrites: Collection[Rewrite], graph: ir.Graph, network: object, steps: int = 1, without: Collection[str] = ()
) -> None:
    """Rewrites a graph in place.

    Args:
        rewrites: in their order.
        graph: of so many ``steps``.
        network: whose graph it is, of which every rewrite tells how often it matches.
        steps: copies of a step in the graph.
        without: names of rewrites to leave out.

    Raises:
        GateError: a rewrite did not match as often as it must.
    """
    for rewrite in rewrites:
        if rewrite.name in without:
            continue
        count, expected = rewrite.apply(graph), rewrite.matches(network) * steps
        if count != expected:
            raise GateError(
                f"the rewrite {rewrite.name} matched {count} times instead of {expected}: "
                "the exporter's graph has changed"
            )
