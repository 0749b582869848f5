"""What keys and shapes tell, for the networks that were published and for those beside them.

``tests/data/adm/published.json`` has of each published network the arguments, and counts and a hash of its keys and
shapes, as the published code makes them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from math import prod

import pytest

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.adm.architecture import is_classifier, pool_of, told_by_classifier, told_by_unet
from ddgan_deploy.families.adm.arguments import read_arguments
from ddgan_deploy.families.adm.keys import expected_shapes
from ddgan_deploy.families.adm.model import classifier_of, unet_of
from tests.ddgan_deploy.families.adm.golden import DATA
from tests.ddgan_deploy.families.adm.made import Made, shapes

PUBLISHED = json.loads((DATA / "published.json").read_text())
CLASSIFIERS = [name for name in PUBLISHED if name.endswith("classifier")]
UNETS = [name for name in PUBLISHED if name not in CLASSIFIERS]
MULT = {
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}
RECOGNISED = {"256x256_diffusion": "256x256_diffusion or lsun", "256x256_diffusion_uncond": "256x256_diffusion or lsun"}
RECOGNISED |= {"lsun_bedroom": "256x256_diffusion or lsun"}


def made_as(name):
    """The network of these arguments."""
    args = PUBLISHED[name]["args"]
    own = {key.removeprefix("classifier_"): value for key, value in args.items()}
    size = own.get("large_size", own.get("image_size"))
    mult = MULT[256 if "large_size" in own else size]
    attending = [size // int(each) for each in own["attention_resolutions"].split(",")]
    common = {
        "image_size": size,
        "channel_mult": mult,
        "attention": tuple(level for level in range(len(mult)) if 1 << level in attending),
        "num_channels": own.get("num_channels", own.get("width")),
        "num_res_blocks": own.get("num_res_blocks", own.get("depth")),
        "num_classes": 1000 if own.get("class_cond", True) else 0,
    }
    names = {field.name for field in dataclasses.fields(Made)} - set(common)
    return Made(**common, **{key: value for key, value in own.items() if key in names})


@pytest.mark.parametrize("name", PUBLISHED)
def test_keys_and_shapes_are_those_of_the_published_code(name):
    found, whole = shapes(made_as(name)), PUBLISHED[name]
    assert (len(found), sum(map(prod, found.values()))) == (whole["keys"], whole["parameters"])
    canonical = json.dumps(found, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(canonical.encode()).hexdigest() == whole["sha256"]


@pytest.mark.parametrize("name", UNETS)
def test_a_published_unet_is_recognised(name):
    it = made_as(name)
    found = unet_of(shapes(it), {}, {})
    assert not is_classifier(shapes(it))
    assert found.recognised is not None and found.recognised.name == RECOGNISED.get(name, name)
    assert expected_shapes(found.model) == shapes(it)
    assert found.recognised.known["noise_schedule"] == PUBLISHED[name]["args"]["noise_schedule"]
    assert found.model.widths == tuple(it.widths)
    assert found.model.attention_levels == it.attention
    for field in (
        *("image_size", "num_channels", "num_res_blocks", "use_scale_shift_norm", "resblock_updown", "num_heads"),
        *("num_head_channels", "num_heads_upsample", "use_new_attention_order", "learn_sigma", "num_classes"),
        "small_size",
    ):
        assert getattr(found.model, field) == getattr(it, field), field
    assert set(found.taken) == set(found.recognised.known)


@pytest.mark.parametrize("name", UNETS)
def test_its_own_arguments_tell_the_same(name, tmp_path):
    (tmp_path / "args.json").write_text(json.dumps(PUBLISHED[name]["args"]))
    stated = read_arguments(tmp_path / "args.json")
    found = unet_of(shapes(made_as(name)), stated, {})
    assert found.model == unet_of(shapes(made_as(name)), {}, {}).model
    assert set(found.taken) <= {"use_new_attention_order"}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_published_classifier(name, tmp_path):
    it = made_as(name)
    (tmp_path / "args.json").write_text(json.dumps(PUBLISHED[name]["args"]))
    found = classifier_of(shapes(it), {}, {}, it.image_size)
    assert is_classifier(shapes(it))
    assert found == classifier_of(shapes(it), read_arguments(tmp_path / "args.json"), {}, it.image_size)
    assert expected_shapes(found) == shapes(it)
    assert (found.widths, found.attention_levels) == (tuple(it.widths), it.attention)
    assert (found.num_res_blocks, found.num_classes, found.pool) == (it.num_res_blocks, 1000, "attention")
    assert (found.num_head_channels, found.use_scale_shift_norm, found.resblock_updown) == (64, True, True)


@pytest.mark.parametrize(
    "change",
    [
        {"num_classes": 10},
        {"attention": (2, 3)},
        {"attention": (0, 1, 2, 3)},
        {"num_res_blocks": 2},
        {"num_channels": 128},
        {"use_scale_shift_norm": False},
        {"resblock_updown": False},
        {"small_size": 16},
    ],
)
def test_one_that_differs_is_not_recognised(change):
    it = dataclasses.replace(made_as("64x64_diffusion"), **change)
    with pytest.raises(InputError, match="nothing tells its image_size, and it is none of the published networks"):
        unet_of(shapes(it), {}, {})


@pytest.mark.parametrize("pool", ["attention", "adaptive", "spatial", "spatial_v2"])
def test_pools(pool):
    it = Made(pool=pool, num_classes=5, attention=(1,), num_head_channels=16)
    assert pool_of(shapes(it)) == pool
    found = classifier_of(shapes(it), {"classifier_depth": 1, "classifier_num_head_channels": 16}, {}, it.image_size)
    assert (found.pool, found.num_classes, found.num_res_blocks) == (pool, 5, 1)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_levels_of_a_classifier_that_halves_by_convolutions(depth):
    it = Made(pool="adaptive", num_classes=2, num_res_blocks=depth, resblock_updown=False, channel_mult=(1, 1, 2))
    told = told_by_classifier(shapes(it), it.image_size, None)
    assert (told.num_res_blocks, told.channel_mult, told.resblock_updown) == (depth, (1, 1, 2), False)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_one_level_has_nothing_that_resamples(depth):
    told = told_by_unet(shapes(Made(num_res_blocks=depth, channel_mult=(1,), attention=(0,))))
    assert (told.num_res_blocks, told.channel_mult, told.attention_levels) == (depth, (1,), (0,))


def test_nothing_tells_the_levels_of_a_classifier_that_halves_by_blocks():
    with pytest.raises(InputError, match="give --config a JSON file with classifier_depth"):
        told_by_classifier(shapes(Made(pool="spatial", num_classes=2)), 8, None)


@pytest.mark.parametrize("size", MULT)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_of_another_size(name, size):
    it = made_as(name)
    if size == it.image_size:
        return
    with pytest.raises(InputError, match=f"input blocks make no levels at {size} pixels: give the classifier that was"):
        classifier_of(shapes(it), {}, {}, size)
