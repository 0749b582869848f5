"""What a manifest keeps of a family's dataclasses, and what is wrong with it in one line."""

from __future__ import annotations

import dataclasses

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.config import AdmConfig, AdmSampling
from ddgan_deploy.families.registry import family, info_of, model_and_sampling

MODEL = AdmConfig(
    image_size=8,
    num_channels=32,
    num_res_blocks=1,
    channel_mult=(1.0, 2.0),
    attention_levels=(1,),
    use_scale_shift_norm=True,
    resblock_updown=True,
)
SAMPLING = AdmSampling(steps=5)


def test_what_is_kept_is_read_again():
    assert model_and_sampling(info_of(family("adm"), MODEL, SAMPLING)) == (MODEL, SAMPLING)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": "five"}, "the manifest's adm is damaged (steps: "),
        ({"guidance": 1e9}, "the manifest's adm is damaged (Value error, guidance 1e+09 is out of range"),
    ],
)
def test_what_is_damaged(change, says):
    info = info_of(family("adm"), MODEL, SAMPLING)
    with pytest.raises(InputError) as caught:
        model_and_sampling(dataclasses.replace(info, sampling=info.sampling | change))
    assert str(caught.value).startswith(says)
