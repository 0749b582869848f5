"""The ops of format 1, for models of one node; their bodies would give something else than the op."""

from __future__ import annotations

from dataclasses import replace

from ddgan_deploy.kernels.adagn.spec import ADAGN
from ddgan_deploy.kernels.op import OpSpec

OLDER_ADAGN = replace(ADAGN, attributes={**ADAGN.attributes, "activation": "STRING"}, body="y = Identity (x)")
POSTERIOR = OpSpec(
    name="PosteriorSample",
    inputs=(("x0_raw", "T"), ("x_t", "float"), ("noise", "float")),
    outputs=(("x_prev", "float"),),
    attributes={"coef_x0": "FLOAT", "coef_xt": "FLOAT", "sigma": "FLOAT", "squash": "STRING"},
    flops=0,
    body="x_prev = Identity (x_t)",
)
