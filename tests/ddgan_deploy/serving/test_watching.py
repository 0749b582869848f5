"""Every metric that the dashboard, the rules and the autoscaler ask for is on a real server's page."""

from __future__ import annotations

import re

import pytest

from tests.ddgan_deploy.serving.traffic import metrics
from tests.deploy.promql import ASKED, RESPONSE_CACHE, TARGET_LABELS, grouped_by, series, served

# The response cache's are in test_old_repository.py, whose server has it.
OURS = [one for one in served() if not one.name.startswith(RESPONSE_CACHE)]


def labels_of(server, name):
    """The labels of each row of a name."""
    return [dict(re.findall(r'(\w+)="([^"]*)"', labels)) for labels in metrics(server, name)]


@pytest.mark.parametrize("one", OURS, ids=lambda one: one.name)
def test_the_server_has_such_a_series(server, one):
    assert any(one.selects(labels) for labels in labels_of(server, one.name))


@pytest.mark.parametrize("place", ASKED)
def test_what_is_grouped_by_is_a_label(server, place):
    known = set(TARGET_LABELS)
    for one in series(ASKED[place]):
        known.update(*labels_of(server, one.name))
    assert grouped_by(ASKED[place]) <= known


def test_all_of_it_is_looked_for():
    assert {"ddgan_images_total", "ddgan_runs_total", "nv_inference_queue_duration_us"} <= {one.name for one in OURS}
    assert {one.name for one in served()} - {one.name for one in OURS} == {
        f"{RESPONSE_CACHE}num_hits_per_model",
        f"{RESPONSE_CACHE}num_misses_per_model",
    }
