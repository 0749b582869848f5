"""All rewrites of the sampler together, and what guards their counts."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from ddgan_deploy.engines.onnxruntime.session import new_session
from ddgan_deploy.errors import GateError
from ddgan_deploy.export.families.ddgan import GRAPHS
from ddgan_deploy.export.graph.rewriting import Rewrite, rewrite_all
from ddgan_deploy.export.graph.save import attach_functions


def test_all_rewrites_together_compute_the_same(biggan):
    checkpoint = biggan.load()
    sampling = checkpoint.choose(biggan.steps)
    sampler = checkpoint.family.sampler(checkpoint.model, sampling)
    outputs, weights = [], []
    for without in ([rewrite.name for rewrite in GRAPHS.rewrites], []):
        model = GRAPHS.build(checkpoint.reference(sampling), sampler, without)
        attach_functions(model)
        outputs.append(new_session(ir.to_proto(model).SerializeToString()).run(None, biggan.inputs)[0])
        weights.append({name for name in model.graph.initializers if name.startswith("all_modules")})
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1e-5)
    # Rewritten weights are shared by the steps as well.
    assert weights[1] == weights[0]


def test_a_rewrite_that_matches_less_often_is_an_error():
    lost = Rewrite("lost", lambda graph: 1, lambda network: 1)
    with pytest.raises(GateError, match="the rewrite lost matched 1 times instead of 2"):
        rewrite_all([lost], ir.Graph([], [], nodes=[]), None, steps=2)
