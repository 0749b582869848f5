"""Options that no golden case has, through the whole pipeline with its gates."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from ddgan_deploy import open_artifact
from ddgan_deploy.export import ExportOptions, export
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.network import Generator
from ddgan_deploy.families.registry import model_and_sampling
from ddgan_deploy.inputs import draw

ATOL = {"fp32": 2e-5, "fp16": 2e-2}
"""OpenVINO computes a float16 graph in float32, and so better than ONNX Runtime."""
BASE = GeneratorConfig(
    image_size=16,
    num_channels=3,
    num_channels_dae=8,
    ch_mult=(1, 2),
    num_res_blocks=1,
    nz=6,
    z_emb_dim=12,
    n_mlp=1,
    attn_resolutions=(8,),
)
CASES = {
    "pyramids_concatenated": (
        2,
        {
            "progressive": "output_skip",
            "progressive_input": "input_skip",
            "progressive_combine": "cat",
            "not_use_tanh": True,
            "skip_rescale": False,
        },
        {},
    ),
    "no_time_and_uncentered": (
        2,
        {"progressive_input": "input_skip", "conditional": False, "centered": False, "attn_resolutions": (16, 8)},
        {},
    ),
    "plain_resampling_residual": (
        3,
        {"fir": False, "num_channels": 1, "num_channels_dae": 12, "ch_mult": (2, 1)},
        {"use_geometric": True, "beta_min": 0.01, "beta_max": 0.9},
    ),
    "one_level": (1, {"ch_mult": (1,), "image_size": 8, "num_res_blocks": 2, "n_mlp": 0}, {}),
    "skewed_filter": (2, {"fir_kernel": (1, 4, 2, 1), "resblock_type": "biggan_oneadagn"}, {}),
}


def random_checkpoint(config: GeneratorConfig, path) -> None:
    """Random weights, none of them near zero, in the published form."""
    torch.manual_seed(0)
    generator = Generator(config)
    with torch.no_grad():
        for weight in generator.parameters():
            scale = weight[0].numel() ** -0.5 if weight.dim() > 1 else 0.3
            weight.add_(scale * torch.randn_like(weight))
    torch.save({f"module.{key}": value for key, value in generator.state_dict().items()}, path)


@pytest.mark.parametrize(
    ("case", "precision"),
    [*((case, "fp32") for case in CASES), ("pyramids_concatenated", "fp16"), ("plain_resampling_residual", "fp16")],
)
def test_gates_hold(case, precision, tmp_path):
    steps, changes, schedule = CASES[case]
    config = dataclasses.replace(BASE, **changes)
    random_checkpoint(config, tmp_path / "netG.pth")
    (tmp_path / "args.json").write_text(json.dumps({**dataclasses.asdict(config), **schedule}))
    result = export(
        ExportOptions(
            tmp_path / "netG.pth",
            steps,
            fp16=precision == "fp16",
            config=tmp_path / "args.json",
            out=tmp_path / "out",
            engine="none",
        )
    )
    manifest = result.artifact.manifest
    assert model_and_sampling(manifest.family)[0] == config
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert manifest.kept_fp32 == ()
    noise = draw(manifest.sampler, range(2))
    engines = [open_artifact(result.artifact.path, name) for name in ("openvino-f32", "onnxruntime-portable")]
    np.testing.assert_allclose(*(engine.sample(noise) for engine in engines), atol=ATOL[precision])
