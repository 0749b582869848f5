"""The least time that a machine's rates allow for a graph or a node (Williams, Waterman & Patterson, CACM 52(4), 2009).

time >= max(operations / (operations a second), bytes / (bytes a second))
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ddgan_deploy.bench.limits.gpu_data_sheets import data_sheet
from ddgan_deploy.bench.limits.graph_cost import GraphCost, NodeCost
from ddgan_deploy.bench.names import Device
from ddgan_deploy.bench.results import Rates
from ddgan_deploy.bench.worker.rates import Measured
from ddgan_deploy.sampler import Dtype


def medians(rounds: Sequence[Measured]) -> dict[Device, Rates]:
    """The rates of a run from those of its rounds."""
    found: dict[Device, Rates] = {}
    for device in rounds[0] if rounds else ():
        median = {name: statistics.median(seen[device][name] for seen in rounds) for name in rounds[0][device]}
        copy = median.pop("copy")
        found[device] = Rates({_dtype(name): value for name, value in median.items()}, copy)
    return found


def with_data_sheet(rates: dict[Device, Rates], gpu: str) -> dict[Device, Rates]:
    """The same, and for a known GPU that PyTorch could not measure what its maker says."""
    sheet = None if "cuda" in rates or not gpu else data_sheet(gpu)
    return {**rates, "cuda": sheet} if sheet else rates


def graph_ms(cost: GraphCost, rates: Rates | None, dtype: Dtype) -> float | None:
    """The least milliseconds of a whole run; None where the rate is not known."""
    return _milliseconds(cost.flops, cost.least_bytes, rates, dtype)


def node_ms(cost: NodeCost, rates: Rates | None, dtype: Dtype) -> float | None:
    """The least milliseconds of one node on data in memory; what caches still hold of the node before may take less."""
    return _milliseconds(cost.flops, cost.bytes, rates, dtype)


def _milliseconds(flops: float, moved: float, rates: Rates | None, dtype: Dtype) -> float | None:
    if rates is None:
        return None
    # Processors without units for a smaller type compute it in float32, at times faster than PyTorch emulates it.
    known = [rates.flops[name] for name in (dtype, "float32") if name in rates.flops]
    if not known:
        return None
    return 1e3 * max(flops / max(known), moved / rates.bytes)


def _dtype(name: str) -> Dtype:
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16", "float16", "int8")
    return next(dtype for dtype in dtypes if dtype == name)
