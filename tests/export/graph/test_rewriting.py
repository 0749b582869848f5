"""All rewrites of the sampler together, and what guards their counts."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from ddgan_deploy.engines.base import feeds
from ddgan_deploy.engines.onnxruntime.engine import new_session
from ddgan_deploy.errors import GateError
from ddgan_deploy.export.graph import rewriting as simplify
from ddgan_deploy.export.graph.save import attach_functions
from ddgan_deploy.export.graph.trace import trace


def test_all_rewrites_together_compute_the_same(biggan):
    checkpoint = biggan.load()
    generator, schedule = checkpoint.generator(), checkpoint.schedule(biggan.steps)
    traced = trace(generator)
    outputs, weights = [], []
    for without in ([rewrite.name for rewrite in simplify.REWRITES], []):
        model = simplify.simplified_sampler(traced, generator, schedule, without)
        attach_functions(model)
        outputs.append(new_session(ir.to_proto(model).SerializeToString()).run(None, feeds(biggan.noise))[0])
        weights.append({name for name in model.graph.initializers if name.startswith("all_modules")})
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1e-5)
    # Rewritten weights are shared by the steps as well.
    assert weights[1] == weights[0]


def test_a_rewrite_that_matches_less_often_is_an_error():
    lost = simplify.Rewrite("lost", lambda graph: 1, lambda generator: 2)
    with pytest.raises(GateError, match="the rewrite lost matched 1 times instead of 2"):
        simplify._apply(lost, ir.Graph([], [], nodes=[]), 2)
