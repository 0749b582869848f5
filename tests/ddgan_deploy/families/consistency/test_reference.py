"""The reference sampler, with all that is constant folded, against a naive statement of the published one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.ddgan_deploy.families.consistency.process import inputs_of, sample
from tests.ddgan_deploy.families.consistency.small import ARGUMENTS, CLASSES, TWO_STEPS, network, stored
from tests.pairwise import covering

TOLERANCE = 1e-5
"""Of the largest value."""
FACTORS = {
    "num_classes": [0, 3],
    "use_scale_shift_norm": [False, True],
    "resblock_updown": [True, False],
    "heads": [{"num_head_channels": 16}, {"num_heads": 1}, {"num_heads": 2, "num_heads_upsample": 8}],
    "process": [
        {},
        {"ts": "0,22,39", "steps": 40},
        {"ts": "0,3,5,10", "steps": 11, "sigma_min": 0.01, "sigma_max": 20.0},
    ],
    "clip_denoised": [True, False],
}
FORMS = covering(FACTORS)


@pytest.mark.parametrize("row", FORMS, ids=range(len(FORMS)))
def test_it_computes_what_the_published_code_does(read, row):
    plain = {name: row[name] for name in ("num_classes", "use_scale_shift_norm", "resblock_updown")}
    it = network(**plain, **row["heads"])
    checkpoint = read(stored(it), {**it.arguments, **row["process"], "clip_denoised": row["clip_denoised"]})
    sampling = checkpoint.choose()
    inputs = inputs_of(it, sampling.steps)
    label = inputs["label"][:, 0] if "label" in inputs else None
    theirs = sample(it, inputs["x_T"], inputs.get("noise"), label, **row["process"], clip=row["clip_denoised"])
    probes = checkpoint.family.probes(checkpoint.model, sampling)
    with torch.no_grad():
        ours = list(checkpoint.reference(sampling).run(inputs))
    assert len(theirs) == 2 * sampling.steps
    for probe, our, their in zip(probes, ours, theirs, strict=True):
        limit = TOLERANCE * float(their.abs().max())
        np.testing.assert_allclose(our, their, rtol=0, atol=limit, err_msg=f"{probe.name}, {row}")


def test_a_step_alone_starts_from_the_state_before_it(read):
    it = network()
    checkpoint = read(stored(it), {**it.arguments, "ts": [0, 5, 20], "steps": 21})
    reference, inputs = checkpoint.reference(checkpoint.choose(2)), inputs_of(it, 2)
    whole = list(reference.run(inputs))
    for k, before in ((0, None), (1, whole[1])):
        alone = list(reference.run(inputs, k, before))
        assert all(torch.equal(a, b) for a, b in zip(alone, whole[2 * k : 2 * k + 2], strict=True))


def test_half_precision_keeps_what_the_published_code_keeps(read):
    checkpoint = read()
    reference = checkpoint.reference(checkpoint.choose()).half()
    kinds = {name: parameter.dtype for name, parameter in reference.unet.named_parameters()}
    assert kinds["middle_block.1.qkv.weight"] == kinds["input_blocks.0.0.weight"] == torch.float16
    assert kinds["out.2.weight"] == kinds["time_embed.0.weight"] == kinds["label_emb.weight"] == torch.float32


def test_random_weights_draw_what_is_finite(read):
    """The benchmark's."""
    checkpoint = read(config=ARGUMENTS | TWO_STEPS)
    sampling = checkpoint.choose()
    reference = checkpoint.family.untrained(checkpoint.model, sampling)
    with torch.no_grad():
        *_, x_0 = reference.run(inputs_of(CLASSES, 2))
    assert x_0.isfinite().all() and x_0.abs().mean() > 0.05
