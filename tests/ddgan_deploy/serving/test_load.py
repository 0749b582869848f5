"""Sixteen clients for half a minute: no error, no wrong image, nothing that piles up, and metrics that agree."""

from __future__ import annotations

import math
import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ddgan_deploy.serving import ENCODER_MODEL, MODEL
from tests.ddgan_deploy.serving.traffic import (
    PROTOCOLS,
    Client,
    Pool,
    descriptors,
    metrics,
    resident_bytes,
    stub,
    total,
    wait_for,
)

CLIENTS = 16
SECONDS = 30
WARM_SECONDS = 12
ALLOCATOR_NOISE = 1 << 19
"""Bytes by which a process that keeps nothing was seen to differ from itself, and some more."""
COUNTS = {
    # A PNG file's request is one for its pixels as well.
    "requests": ("nv_inference_request_success", {"model": MODEL}),
    "drawn": ("nv_inference_count", {"model": MODEL}),
    "runs": ("nv_inference_exec_count", {"model": MODEL}),
    "our images": ("ddgan_images_total", {}),
    "our runs": ("ddgan_runs_total", {}),
    "failures": ("nv_inference_request_failure", {}),
}


def counts(server) -> dict[str, int]:
    return {name: total(server, metric, **labels) for name, (metric, labels) in COUNTS.items()}


def run_client(server, pool, number: int, end: float) -> int:
    """Asks until the end; an error or a wrong image is raised. Returns the number of requests."""
    random = np.random.default_rng(number)
    protocol = PROTOCOLS[number % len(PROTOCOLS)]
    requests = 0
    with Client(server, protocol) as client:
        while time.monotonic() < end:
            seeds = pool.some(random)
            # JSON has no form for the bytes of a PNG file.
            ask = client.pictures if requests % 4 == 3 and protocol != "http-json" else client.images
            assert ask(seeds) == pool.expected(seeds), seeds
            requests += 1
    return requests


def test_half_a_minute_of_sixteen_clients(serve, digits):
    pool = Pool(digits, range(-200, 200))
    # Without what it keeps, for the engine to draw all the while.
    with serve(cache_mib=0) as server, ThreadPoolExecutor(CLIENTS) as threads:
        stubs = [stub(server.pid, model) for model in (MODEL, ENCODER_MODEL)]
        before, open_before = counts(server), descriptors(server.pid)
        end = time.monotonic() + SECONDS
        runs = [threads.submit(run_client, server, pool, number, end) for number in range(CLIENTS)]
        time.sleep(WARM_SECONDS)
        warm = [(resident_bytes(pid), descriptors(pid)) for pid in stubs]
        drawn_warm = total(server, "ddgan_images_total")
        requests = [run.result() for run in runs]
        # The server counts a request after it has answered it.
        wait_for(lambda: counts(server)["requests"] - before["requests"] >= sum(requests))
        done = {name: value - before[name] for name, value in counts(server).items()}

        assert all(requests)
        assert done["requests"] == sum(requests)
        assert done["failures"] == 0
        assert done["our runs"] == done["runs"]
        # What several ask for at once is drawn once.
        assert done["runs"] < done["our images"] <= done["drawn"]
        sizes = metrics(server, "ddgan_runs_total")
        assert total(server, "ddgan_images_total") == sum(
            int(re.findall(r'images="(\d+)"', labels)[0]) * count for labels, count in sizes.items()
        )

        drawn = total(server, "ddgan_images_total") - drawn_warm
        for pid, (memory, open_files) in zip(stubs, warm, strict=True):
            assert descriptors(pid) == open_files
            # Less than half of what it were if the images drawn since had stayed.
            assert resident_bytes(pid) - memory < max(ALLOCATOR_NOISE, drawn * math.prod(pool.shape) / 2)
        wait_for(lambda: descriptors(server.pid) <= open_before)
