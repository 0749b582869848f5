"""A generator of 11,000 numbers, and files of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from ddgan_deploy.checkpoint import Checkpoint, load_checkpoint
from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.network import Generator

CONFIG = GeneratorConfig(
    image_size=16,
    num_channels=3,
    num_channels_dae=8,
    ch_mult=(1, 2),
    num_res_blocks=1,
    attn_resolutions=(16,),
    nz=4,
    z_emb_dim=8,
    n_mlp=1,
)
RAW: dict[str, torch.Tensor] = Generator(CONFIG).state_dict()
EMA = {name: weight + 1 for name, weight in RAW.items()}
Content = dict[str, Any]


def prefixed(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: weight for name, weight in weights.items()}


def training_state(**args: object) -> Content:
    """As the published script writes it."""
    optimizer = {
        "state": {number: {"step": 1, "ema": weight} for number, weight in enumerate(EMA.values())},
        "param_groups": [{"lr": 1e-4, "params": list(range(len(EMA)))}],
    }
    args = {"num_timesteps": 2, **args}
    return {
        "epoch": 1,
        "args": argparse.Namespace(**args),
        "netG_dict": prefixed(RAW, "module."),
        "optimizerG": optimizer,
    }


def holds(checkpoint: Checkpoint, weights: dict[str, torch.Tensor]) -> bool:
    ours = checkpoint.weights
    return ours.keys() == weights.keys() and all(torch.equal(ours[name], weights[name]) for name in weights)


def refusal(path: Path, **kwargs: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_checkpoint(path, **kwargs)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < 500
    return message
