"""A picture of what ddgan-perf measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.plots import Line, Panel, draw

if TYPE_CHECKING:
    from ddgan_deploy.serving.perf.analyzer import Client
    from ddgan_deploy.serving.perf.result import PerfResult

_NAMES = {"grpc": "gRPC", "http": "HTTP"}


def plot(result: PerfResult, path: Path) -> None:
    """Throughput and latency over concurrency, one colour a protocol, as PNG."""
    throughput, latency = [], []
    for style, protocol in enumerate(result.urls):
        name = _name(protocol)
        throughput.append(Line(name, _points(result, protocol, lambda client: client.images_per_s), style))
        slow = _points(result, protocol, lambda client: client.p99_ms)
        latency.append(Line(f"{name} p99", slow, style, dashed=True))
        latency.append(Line(f"{name} p50", _points(result, protocol, lambda client: client.p50_ms), style))
    x = "requests in flight"
    panels = [Panel("Throughput, images/s", x, throughput), Panel("Latency, ms", x, latency)]
    draw(panels, *title(result), path)


def title(result: PerfResult) -> tuple[str, str]:
    """What was measured and where, and how: a line each."""
    where = ", ".join(f"{_name(protocol)} {url}" for protocol, url in result.urls.items())
    named = f"{result.model} on {result.server} at {where}"
    return named, f"{result.seconds:g} s a level, every request with its own seed"


def _name(protocol: str) -> str:
    return _NAMES.get(protocol, protocol)


def _points(result: PerfResult, protocol: str, of: Callable[[Client], float]) -> list[tuple[float, float]]:
    """In the order of the axis, whatever the order they were measured in."""
    levels = [level for level in result.levels if level.protocol == protocol]
    return sorted((level.concurrency, of(level.client)) for level in levels if level.client)
