"""Which steps are kept, and which processes there are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.config import AdmSampling
from ddgan_deploy.families.adm.schedule import kept_timesteps, process
from tests.ddgan_deploy.families.adm.process import Process, alpha_bars

IMPOSSIBLE = {37, 41, 43, 45, 47, 49, 51, 52, 54, 55, 57, 58, 60, 61, 62, 64}
"""Of 2..64, for which no stride keeps so many of 1000 steps."""


def sampling(text, **options):
    return AdmSampling(len(kept_timesteps(options.get("diffusion_steps", 1000), text)), "ddpm", text, **options)


def test_ddim_strides_from_the_first_step_on():
    assert kept_timesteps(1000, "ddim25") == tuple(range(0, 1000, 40))
    # The stride is the least: of 25 to 27 steps each keeps 4 of 79.
    assert kept_timesteps(79, "ddim4") == (0, 20, 40, 60)
    assert kept_timesteps(1000, "ddim1000") == tuple(range(1000))


def test_which_strides_there_are():
    for count in set(range(2, 65)) - IMPOSSIBLE:
        assert len(kept_timesteps(1000, f"ddim{count}")) == count
    for count in IMPOSSIBLE:
        with pytest.raises(InputError, match=f'no stride keeps {count} of 1000 steps for ddim{count}: .*"{count}"'):
            kept_timesteps(1000, f"ddim{count}")


def test_the_number_that_is_named_in_place_of_an_impossible_one():
    with pytest.raises(InputError, match="for ddim64: give 63 steps"):
        kept_timesteps(1000, "ddim64")
    assert len(kept_timesteps(1000, "ddim63")) == 63


@pytest.mark.parametrize(
    ("trained", "text", "kept"),
    [
        (1000, "4", (0, 333, 666, 999)),
        (1000, "2", (0, 999)),
        (10, "", tuple(range(10))),
        (10, "10", tuple(range(10))),
        # 0, 2.5, 5, 7.5, 10: a half goes to the even number.
        (11, "5", (0, 2, 5, 8, 10)),
        # Of 10 = 4 + 3 + 3 the first section is the longer; one of a section is its first.
        (10, "2,1,3", (0, 3, 4, 7, 8, 9)),
        (10, "1, 1", (0, 5)),
    ],
)
def test_sections(trained, text, kept):
    assert kept_timesteps(trained, text) == kept


def test_three_sections_of_the_published_length():
    kept = kept_timesteps(1000, "10,10,5")
    assert kept[:10] == (0, 37, 74, 111, 148, 185, 222, 259, 296, 333)
    assert kept[10:20] == (334, 371, 408, 445, 482, 518, 555, 592, 629, 666)
    assert kept[20:] == (667, 750, 833, 916, 999)


def test_places_are_added_up_as_published():
    """A product would keep another step here."""
    trained, count = next(
        (trained, count)
        for trained in range(100, 200)
        for count in range(3, trained)
        if kept_timesteps(trained, str(count)) != tuple(round(i * (trained - 1) / (count - 1)) for i in range(count))
    )
    place, stride, kept = 0.0, (trained - 1) / (count - 1), []
    for _ in range(count):
        kept.append(round(place))
        place += stride
    assert list(kept_timesteps(trained, str(count))) == kept


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0", "takes 0 steps of a section of 1000: give 1..1000"),
        ("1001", "takes 1001 steps of a section of 1000"),
        ("600,3", "takes 600 steps of a section of 500"),
        ("ddim0", "ddim0 keeps 0 of 1000 steps: give 2 or more"),
        ("ddim1", "ddim1 keeps 1 of 1000 steps: give 2 or more"),
        ("ddim1001", "no stride keeps 1001 of 1000 steps for ddim1001: give 1000"),
        ("fast27", "'fast27' is unknown: give counts such as 25 or 10,10,5, or ddim25"),
        ("ddim", "is unknown"),
        ("10,,5", "is unknown"),
        ("-5", "is unknown"),
        ("2.5", "is unknown"),
        ("٢٥", "is unknown"),
        ("9" * 10**4, "is unknown"),
        (" 25", "is unknown"),
        ("25\n", "is unknown"),
    ],
)
def test_what_is_no_respacing(text, says):
    with pytest.raises(InputError) as error:
        kept_timesteps(1000, text)
    assert says in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 250


def test_one_step_is_no_process():
    with pytest.raises(InputError, match="'1' keeps 1 step, and the published process has no fewer than 2: give more"):
        process(AdmSampling(1, "ddpm", "1"))


@pytest.mark.parametrize("count", [2, 10, 19, 20])
def test_a_linear_schedule_of_few_steps_is_no_process(count):
    with pytest.raises(InputError, match=f"a linear schedule of {count} diffusion_steps is no process: correct"):
        process(sampling("", diffusion_steps=count))


@pytest.mark.parametrize("options", [{"diffusion_steps": 21}, {"diffusion_steps": 3, "noise_schedule": "cosine"}])
def test_a_process_of_few_steps(options):
    assert len(process(sampling("", **options))) == options["diffusion_steps"]


@pytest.mark.parametrize("text", ["", "25", "10,10,5", "ddim25", "2"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_products_of_the_kept_steps(text, schedule):
    found = process(sampling(text, noise_schedule=schedule))
    bars = alpha_bars(Process(text, noise_schedule=schedule))
    np.testing.assert_allclose([each.alpha_bar for each in found[::-1]], bars, rtol=1e-11)
    assert [each.alpha_bar_prev for each in found] == [each.alpha_bar for each in found[1:]] + [1.0]
    assert found[-1].c1 == 1 and found[-1].c2 == 0


def test_times_of_a_network_that_counts_to_1000():
    found = process(sampling("ddim20", diffusion_steps=600, rescale_timesteps=True))
    published = torch.arange(0, 600, 30).float() * (1000 / 600)
    assert [each.time for each in found[::-1]] == published.tolist()
