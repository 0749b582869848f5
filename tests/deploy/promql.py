"""What the dashboard, the rules and the autoscaler's adapter ask Prometheus for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser
import yaml

from tests.deploy.conftest import DEPLOY

RULES = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "ddgan.json").read_text(encoding="utf-8"))
GROUPS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
TARGET_LABELS = {"instance", "namespace", "pod"}
"""Prometheus itself puts these to every series, on Kubernetes all of them."""
RESPONSE_CACHE = "nv_cache_"
"""How the metrics begin that a server has for a model with the response cache, which the python backend has not."""
_VARIABLES = {"$__rate_interval": "1m", "$model": "ddgan", "$instance": ".*"}
_ADAPTERS = {"<<.Series>>": "nv_inference_queue_duration_us", "<<.LabelMatchers>>": 'pod="p"', "<<.GroupBy>>": "pod"}


@dataclass(frozen=True)
class Series:
    """A selector: the metric's name, and what it asks of the labels that the server gives."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]

    def selects(self, labels: dict[str, str]) -> bool:
        """Whether it takes a series with these labels."""
        return all(_matches(op, value, labels.get(label, "")) for op, label, value in self.matchers)


def _matches(op: str, wanted: str, value: str) -> bool:
    if op in ("Equal", "NotEqual"):
        return (value == wanted) is (op == "Equal")
    return (re.fullmatch(wanted, value) is not None) is (op == "Re")


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, without the titles of rows."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    """All rules of all groups."""
    return [rule for group in GROUPS for rule in group["rules"]]


def _asked() -> Iterator[tuple[str, str]]:
    for panel in panels():
        for target in panel["targets"]:
            yield f"panel {panel['id']} {panel['title']}, {target['refId']}", _filled(target["expr"], _VARIABLES)
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            (series,) = re.findall(r"^label_values\((.+), \w+\)$", variable["query"]["query"])
            yield f"variable {variable['name']}", _filled(series, _VARIABLES)
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    adapter = yaml.safe_load((DEPLOY / "kubernetes" / "prometheus-adapter" / "values.yaml").read_text(encoding="utf-8"))
    for rule in adapter["rules"]["custom"]:
        yield "the adapter", _filled(rule["metricsQuery"], _ADAPTERS)


def _filled(expression: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        expression = expression.replace(name, value)
    return expression


ASKED = dict(_asked())
"""Where an expression stands -> the expression, with variables filled in."""


def nodes(expression: str) -> list[Any]:
    """Its syntax tree's nodes.

    Raises:
        ValueError: it is no PromQL.
    """
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), found.append)
    return found


def series(expression: str) -> list[Series]:
    """The selectors in it."""
    return [
        Series(
            node.name,
            tuple(
                (str(each.op).removeprefix("MatchOp."), each.name, each.value)
                for each in node.matchers.matchers
                if each.name not in TARGET_LABELS
            ),
        )
        for node in nodes(expression)
        if isinstance(node, promql_parser.VectorSelector)
    ]


def grouped_by(expression: str) -> set[str]:
    """The labels that its aggregations keep."""
    kept = [node.modifier for node in nodes(expression) if isinstance(node, promql_parser.AggregateExpr)]
    return {label for modifier in kept if modifier for label in modifier.labels}


def served() -> list[Series]:
    """Everything that a server must have: all that is asked for but what the rules themselves record."""
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    found = {one for expression in ASKED.values() for one in series(expression)}
    return sorted((one for one in found if one.name not in recorded), key=repr)
