"""The reference sampler, with all that is constant folded, against a naive statement of the published one."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ddgan_deploy.checkpoint import load_checkpoint
from tests.ddgan_deploy.families.adm.made import made
from tests.ddgan_deploy.families.adm.process import Process, kept, step
from tests.pairwise import covering

TOLERANCE = 1e-5
"""Of the largest value; of a gradient, which goes through its network twice, two of it."""
CLASSES, SIZE = 3, 8
TRUNKS = [(32, (1, 2)), (16, (2, 4)), (64, (0.5, 1)), (33, (0.97, 1.94)), (32, (1,)), (32, (1, 1, 2))]
"""num_channels, channel_mult."""
ATTENTION = {
    "nowhere": slice(0),
    "at the deepest": slice(-1, None),
    "at the finest": slice(1),
    "everywhere": slice(None),
}
FACTORS = {
    "trunk": TRUNKS,
    "num_res_blocks": [1, 2],
    "attention": list(ATTENTION),
    "use_scale_shift_norm": [True, False],
    "resblock_updown": [True, False],
    "heads": [
        {"num_heads": 1},
        {"num_heads": 4},
        {"num_heads": 2, "num_heads_upsample": 8},
        {"num_head_channels": 8},
        {"num_head_channels": 16, "num_heads": 3, "num_heads_upsample": 5},
    ],
    "use_new_attention_order": [False, True],
    "learn_sigma": [True, False],
    "num_classes": [0, CLASSES],
    "small_size": [0, 4, 3],
    "pool": ["", "attention", "adaptive", "spatial", "spatial_v2"],
    "classifier_trunk": [(32, (1, 2)), (32, (1,)), (64, (0.5, 1, 1.5))],
    "classifier_depth": [1, 2],
    "classifier_attention": list(ATTENTION),
    "classifier_use_scale_shift_norm": [True, False],
    "classifier_resblock_updown": [True, False],
    "classifier_num_head_channels": [16, 32],
    "use_ddim": [False, True],
    "kept": [
        (1000, "linear", "25"),
        (1000, "linear", "10,10,5"),
        (1000, "cosine", "ddim25"),
        (30, "linear", ""),
        (600, "linear", "ddim20"),
        (4000, "cosine", "1,30,20"),
    ],
    "predict_xstart": [False, True],
    "rescale_timesteps": [False, True],
    "clip_denoised": [True, False],
    "sigma_small": [False, True],
}


def possible(row):
    """An upsampler is not guided."""
    return not (row.get("small_size") and row.get("pool"))


# At the last step a variance that is not learned tells in what guides alone.
LAST = {"learn_sigma": False, "pool": "adaptive", "kept": (30, "linear", "")}
FORMS = [*covering(FACTORS, possible), {name: values[0] for name, values in FACTORS.items()} | LAST]


def networks(row):
    """The UNet, the classifier that guides it, and how they are sampled from."""
    width, mult = row["trunk"]
    plain = ("num_res_blocks", "use_scale_shift_norm", "resblock_updown", "use_new_attention_order", "learn_sigma")
    unet = made(
        image_size=SIZE,
        num_channels=width,
        channel_mult=mult,
        attention=tuple(range(len(mult)))[ATTENTION[row["attention"]]],
        num_classes=row["num_classes"],
        small_size=row["small_size"],
        **row["heads"],
        **{name: row[name] for name in plain},
    )
    count, schedule, respacing = row["kept"]
    own = {field.name: row[field.name] for field in dataclasses.fields(Process) if field.name in row}
    process = Process(respacing, diffusion_steps=count, noise_schedule=schedule, **own)
    if not row["pool"]:
        return unet, None, process
    width, mult = row["classifier_trunk"]
    classifier = made(
        image_size=SIZE,
        num_channels=width,
        channel_mult=mult,
        attention=tuple(range(len(mult)))[ATTENTION[row["classifier_attention"]]],
        num_res_blocks=row["classifier_depth"],
        use_scale_shift_norm=row["classifier_use_scale_shift_norm"],
        resblock_updown=row["classifier_resblock_updown"],
        num_head_channels=row["classifier_num_head_channels"],
        num_classes=CLASSES,
        pool=row["pool"],
    )
    return unet, classifier, process


def read(folder, unet, classifier, process):
    """Through files, as users have them."""
    save_file(unet.weights, folder / "model.safetensors")
    arguments = {**unet.arguments, **dataclasses.asdict(process)}
    asked = {}
    if classifier is not None:
        save_file(classifier.weights, folder / "classifier.safetensors")
        arguments |= classifier.arguments
        asked["classifier"] = folder / "classifier.safetensors"
    (folder / "args.json").write_text(json.dumps(arguments))
    return load_checkpoint(folder / "model.safetensors", folder / "args.json", asked=asked)


def inputs_of(unet, classifier, process, steps):
    """For two images."""
    random = torch.Generator().manual_seed(7)
    found = {"x_T": torch.randn(2, 3, SIZE, SIZE, generator=random)}
    if not process.use_ddim:
        found["noise"] = torch.randn(2, steps - 1, 3, SIZE, SIZE, generator=random)
    if classifier is not None or unet.num_classes:
        found["label"] = torch.tensor([[2], [0]])
    if classifier is not None:
        found["guidance"] = torch.tensor([[3.0], [-0.5]])
    if unet.small_size:
        found["low_res"] = torch.rand(2, 3, unet.small_size, unet.small_size, generator=random) * 2 - 1
    return found


@pytest.mark.parametrize("row", FORMS, ids=range(len(FORMS)))
def test_it_computes_what_the_published_network_does(row, tmp_path):
    unet, classifier, process = networks(row)
    count = len(kept(process.diffusion_steps, process.timestep_respacing))
    checkpoint = read(tmp_path, unet, classifier, process)
    sampling = checkpoint.choose(count)
    reference = checkpoint.reference(sampling)
    probes = checkpoint.family.probes(checkpoint.model, sampling)
    inputs = inputs_of(unet, classifier, process, count)
    label = inputs["label"][:, 0] if "label" in inputs else None
    wide = {name: value.double() for name, value in inputs.items()}
    guidance = wide["guidance"][:, :, None, None] if classifier is not None else None
    x = inputs["x_T"]
    for k in (count // 2, count - 1):
        drawn = wide["noise"][:, k] if "noise" in wide and k < count - 1 else torch.zeros_like(x)
        theirs = step(unet, classifier, process, k, x.double(), drawn, label, guidance, wide.get("low_res"))
        ours = reference.run(inputs, k, x)
        for probe, our, their in zip([probe for probe in probes if probe.step == k], ours, theirs, strict=True):
            assert our.shape == their.shape
            limit = TOLERANCE * (2 if probe.value == "gradient" else probe.scale) * float(their.abs().max())
            np.testing.assert_allclose(our, their, rtol=0, atol=limit, err_msg=f"{probe.name}, {row}")
        x = theirs[-1].float()
