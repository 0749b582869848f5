"""A picture of what ddgan-perf measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ddgan_deploy.errors import InputError
from ddgan_deploy.names import printable

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
except ImportError:
    raise InputError("the package matplotlib is missing: pip install 'ddgan-deploy[serving]'") from None

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ddgan_deploy.serving.perf.result import PerfResult

_COLOURS = {"grpc": "#0b6e99", "http": "#d9730d"}
_NAMES = {"grpc": "gRPC", "http": "HTTP"}
_GREY = "#555555"


def plot(result: PerfResult, path: Path) -> None:
    """Throughput and latency over concurrency, one colour a protocol, as PNG."""
    figure = Figure(figsize=(10, 4.2), dpi=150, layout="constrained")
    throughput, latency = figure.subplots(1, 2)
    for protocol in result.urls:
        _draw(result, protocol, throughput, latency)
    throughput.set_ylabel("images/s")
    throughput.set_title("Throughput", loc="left", fontweight="bold")
    latency.set_ylabel("ms")
    latency.set_title("Latency", loc="left", fontweight="bold")
    for axes in (throughput, latency):
        _style(axes, sorted({level.concurrency for level in result.levels}))
    named, measured = title(result)
    # A name is no formula, whatever dollars it has.
    figure.suptitle(f"{named}\n{measured}", x=0.01, ha="left", fontsize=9, color=_GREY, parse_math=False)
    figure.savefig(path, format="png", metadata={"Title": named})


def title(result: PerfResult) -> tuple[str, str]:
    """What was measured and where, and how: a line each."""
    where = ", ".join(f"{_NAMES.get(protocol, protocol)} {url}" for protocol, url in result.urls.items())
    named = printable(f"{result.model} on {result.server} at {where}")
    return named, f"{result.seconds:g} s a level, every request with its own seed"


def _draw(result: PerfResult, protocol: str, throughput: Axes, latency: Axes) -> None:
    measured = [
        (level.concurrency, level.client) for level in result.levels if level.protocol == protocol and level.client
    ]
    # In the order of the axis, whatever the order they were measured in.
    measured.sort(key=lambda pair: pair[0])
    x = [concurrency for concurrency, _ in measured]
    colour, name = _COLOURS.get(protocol, _GREY), _NAMES.get(protocol, protocol)
    throughput.plot(x, [client.images_per_s for _, client in measured], "o-", color=colour, label=name)
    latency.plot(x, [client.p99_ms for _, client in measured], "o--", color=colour, label=f"{name} p99", mfc="white")
    latency.plot(x, [client.p50_ms for _, client in measured], "o-", color=colour, label=f"{name} p50")


def _style(axes: Axes, levels: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(levels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.set_xlabel("requests in flight")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
