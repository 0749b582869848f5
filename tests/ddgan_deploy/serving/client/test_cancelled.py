"""Clients that go away while their requests wait: what the server can know of is not drawn."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc

from ddgan_deploy.serving import MODEL
from tests.ddgan_deploy.serving.traffic import MAX_BATCH, Client, Pool, total, wait_for

ASKED = 100
UNDER_WAY = 4 + 3
"""Batches that may be drawn while the news travels, with those that the server takes out of its queue ahead."""


@pytest.mark.parametrize("leave", ["cancel", "close"])
def test_requests_that_wait_are_not_drawn(server, digits, leave):
    """Over gRPC. 2.51 does not notice that an HTTP connection is closed, nor does its ensemble that a call is."""
    ended: list[Exception | None] = []
    first = -(10**6) - ASKED * MAX_BATCH * (leave == "close")
    before = total(server, "ddgan_images_total")
    connection = tritonclient.grpc.InferenceServerClient(server.grpc)
    calls = []
    for number in range(ASKED):
        seeds = np.arange(MAX_BATCH)[:, None] + first + number * MAX_BATCH
        tensor = tritonclient.grpc.InferInput("seed", list(seeds.shape), "INT64").set_data_from_numpy(seeds)
        calls.append(connection.async_infer(MODEL, [tensor], lambda result, error: ended.append(error)))
    wait_for(lambda: total(server, "nv_inference_pending_request_count", model=MODEL) > UNDER_WAY)
    if leave == "cancel":
        for call in calls:
            call.cancel()
    connection.close()
    drawn = total(server, "ddgan_images_total") - before
    wait_for(lambda: len(ended) == ASKED)
    wait_for(lambda: total(server, "nv_inference_pending_request_count", model=MODEL) == 0)
    # Behind all that was taken out of the queue before.
    with Client(server, "grpc") as client:
        assert client.images([first]) == Pool(digits, [first]).expected([first])
    at_last = total(server, "ddgan_images_total") - before
    assert at_last <= drawn + UNDER_WAY * MAX_BATCH + 1 < ASKED * MAX_BATCH
