"""The machine's own rates."""

from __future__ import annotations

import time

from ddgan_deploy.bench.jobs import RateJob
from ddgan_deploy.bench.worker import rates
from ddgan_deploy.bench.worker.rates import RateRunner


def test_every_type_has_a_rate(monkeypatch):
    monkeypatch.setitem(rates.SIDE, "cpu", 64)
    monkeypatch.setitem(rates.COPY_BYTES, "cpu", 2**16)
    measured = RateRunner(RateJob({"cpu": ("float32", "bfloat16", "int8")}, 1)).measure()
    assert set(measured) == {"cpu"} and set(measured["cpu"]) == {"copy", "float32", "bfloat16", "int8"}
    assert all(rate > 0 for rate in measured["cpu"].values())


def test_float32_counts_the_faster_of_two_ways_that_do_as_much():
    product, convolution = rates._products("float32", 16, "cpu")
    assert product().shape == (16, 16) and convolution().shape == (1, 16, 16, 1)
    slow, fast = (lambda: time.sleep(0.05)), (lambda: None)
    assert rates._seconds([slow, fast], "cpu") < 0.05 <= rates._seconds([slow], "cpu")
