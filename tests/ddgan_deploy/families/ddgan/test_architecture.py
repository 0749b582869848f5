"""The architecture is read back from names and shapes, for every option that the published code can run."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from ddgan_deploy.errors import InputError
from ddgan_deploy.families.ddgan.architecture import infer_config
from ddgan_deploy.families.ddgan.config import GeneratorConfig
from ddgan_deploy.families.ddgan.network import Generator

BASE: dict[str, Any] = {
    "image_size": 32,
    "num_channels": 3,
    "num_channels_dae": 8,
    "ch_mult": (1, 2),
    "num_res_blocks": 1,
    "nz": 5,
    "z_emb_dim": 6,
    "n_mlp": 1,
}
FROM_SHAPES = (
    "num_channels",
    "num_channels_dae",
    "ch_mult",
    "num_res_blocks",
    "nz",
    "z_emb_dim",
    "n_mlp",
    "resblock_type",
    "conditional",
)


@pytest.fixture(autouse=True, scope="module")
def _without_initialization():
    """Shapes are all that matters here, and initial values are most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.init, "xavier_uniform_", lambda tensor, gain=1.0: tensor)
        for layer in (torch.nn.Linear, torch.nn.Conv2d):
            patch.setattr(layer, "reset_parameters", lambda self: None)
        yield


def shapes_of(config: GeneratorConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in Generator(config).state_dict().items()}


def pyramids() -> list[dict[str, Any]]:
    """Every pair of input pyramid and filter: (progressive_input, progressive_combine, fir)."""
    inputs = [("none", "sum"), ("residual", "sum"), ("input_skip", "sum"), ("input_skip", "cat")]
    return [
        {"progressive_input": kind, "progressive_combine": combine, "fir": fir}
        for (kind, combine), fir in itertools.product(inputs, (True, False))
    ]


@pytest.mark.parametrize(
    ("ch_mult", "num_res_blocks"),
    [((1,), 1), ((2,), 3), ((1, 2), 1), ((2, 1), 2), ((1, 2), 3), ((3, 1, 2), 1)],
)
def test_round_trip_of_every_option(ch_mult, num_res_blocks):
    count = 0
    for resblock, progressive, conditional, pyramid in itertools.product(
        ("biggan", "biggan_oneadagn"), ("none", "output_skip"), (True, False), pyramids()
    ):
        if progressive == "output_skip" and not pyramid["fir"]:
            continue
        config = GeneratorConfig(
            **{**BASE, "ch_mult": ch_mult, "num_res_blocks": num_res_blocks},
            resblock_type=resblock,
            progressive=progressive,
            conditional=conditional,
            attn_resolutions=(32 >> len(ch_mult) - 1,),
            **pyramid,
        )
        shapes = shapes_of(config)
        # What shapes cannot tell, as the training arguments would say it.
        told = {"attn_resolutions": config.attn_resolutions, "fir": config.fir}
        single = len(ch_mult) == 1
        if single:
            told |= {"progressive": progressive, **pyramid}
        if config.progressive_input != "input_skip":
            told["progressive_combine"] = config.progressive_combine
        assert infer_config(shapes, told) == config
        # And all training arguments together contradict nothing.
        assert infer_config(shapes, {name: getattr(config, name) for name in BASE} | told) == config
        count += 1
    assert count == 48


@pytest.mark.parametrize("ch_mult", [(1, 1, 1), (1, 2, 4), (4, 2, 1), (1, 2, 2, 2), (3, 1, 1, 2, 5)])
@pytest.mark.parametrize("num_res_blocks", [1, 2, 3])
def test_round_trip_of_many_levels(ch_mult, num_res_blocks):
    for combine in ("sum", "cat"):
        config = GeneratorConfig(
            **{**BASE, "ch_mult": ch_mult, "num_res_blocks": num_res_blocks, "image_size": 64},
            progressive="output_skip",
            progressive_input="input_skip",
            progressive_combine=combine,
            attn_resolutions=(32, 16),
        )
        assert infer_config(shapes_of(config), {"attn_resolutions": (32, 16)}) == config


@pytest.mark.parametrize("fir", [True, False])
def test_the_filter_is_read_from_a_residual_pyramid(fir):
    config = GeneratorConfig(**BASE, fir=fir, progressive_input="residual")
    assert infer_config(shapes_of(config), {}).fir == fir


@pytest.mark.parametrize("n_mlp", [0, 1, 2, 4])
@pytest.mark.parametrize(("nz", "z_emb_dim", "num_channels"), [(5, 6, 3), (6, 6, 1), (1, 1, 4), (100, 256, 3)])
def test_latent_and_image_channels(n_mlp, nz, z_emb_dim, num_channels):
    config = GeneratorConfig(**{**BASE, "n_mlp": n_mlp, "nz": nz, "z_emb_dim": z_emb_dim, "num_channels": num_channels})
    assert infer_config(shapes_of(config), {}) == config


@pytest.mark.parametrize(
    ("image_size", "ch_mult"),
    [(16, (1, 2)), (32, (1, 2)), (32, (1, 2, 2, 2)), (64, (1, 2, 2)), (256, (1, 1, 2, 2, 4, 4)), (16, (1,))],
)
def test_the_image_size_follows_from_where_attention_sits(image_size, ch_mult):
    config = GeneratorConfig(**{**BASE, "image_size": image_size, "ch_mult": ch_mult})
    assert infer_config(shapes_of(config), {}).image_size == image_size


@pytest.mark.parametrize("attention", [(16,), (32, 16), (32, 8), (32, 16, 8), (8,), (32,), (16, 7)])
def test_attention_at_several_resolutions(attention):
    config = GeneratorConfig(**{**BASE, "ch_mult": (1, 2, 2)}, attn_resolutions=attention)
    inferred = infer_config(shapes_of(config), {"image_size": 32})
    assert [inferred.has_attention(n) for n in range(3)] == [config.has_attention(n) for n in range(3)]
    assert infer_config(shapes_of(config), {"attn_resolutions": attention}).image_size == 32


def test_published_sizes():
    cifar = GeneratorConfig(32, 3, 128, (1, 2, 2, 2), 2, 100, 256, 4)
    celeba = GeneratorConfig(256, 3, 64, (1, 1, 2, 2, 4, 4), 2, 100, 256, 3)
    assert infer_config(shapes_of(cifar), {}) == cifar
    assert infer_config(shapes_of(celeba), {}) == celeba


# What the weights cannot tell.


def refusal(config: GeneratorConfig, known: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        infer_config(shapes_of(config), known)
    return str(caught.value)


def test_no_attention_leaves_the_size_open():
    config = GeneratorConfig(**BASE, attn_resolutions=())
    message = refusal(config, {})
    assert "image size cannot be told from the weights (no level has attention)" in message
    assert "--config with image_size and attn_resolutions" in message
    assert infer_config(shapes_of(config), {"image_size": 32, "attn_resolutions": ()}) == config


def test_ambiguous_sizes_ask_for_the_config():
    config = GeneratorConfig(**{**BASE, "ch_mult": (1, 2, 2)}, attn_resolutions=(16, 4))
    assert "give --config with image_size" in refusal(config, {"attn_resolutions": (16, 4)})
    config = GeneratorConfig(**{**BASE, "image_size": 64}, attn_resolutions=(64, 16))
    message = refusal(config, {"attn_resolutions": (64, 16)})
    assert "the image size cannot be told from the weights (attention sits at levels [0] of 2)" in message
    assert infer_config(shapes_of(config), {"attn_resolutions": (64, 16), "image_size": 16}).image_size == 16


@pytest.mark.parametrize(
    "known",
    [
        {"image_size": 64, "attn_resolutions": (16,)},
        {"image_size": 32, "attn_resolutions": (8,)},
        {"image_size": 32, "attn_resolutions": ()},
        {"image_size": 33, "attn_resolutions": (16,)},
        {"attn_resolutions": ()},
        {"image_size": 0, "attn_resolutions": (16,)},
        {"image_size": -32, "attn_resolutions": (16,)},
    ],
)
def test_sizes_that_contradict_where_attention_sits(known):
    message = refusal(GeneratorConfig(**BASE), known)
    assert "contradicts the weights" in message
    assert all(name in message for name in known)


@pytest.mark.parametrize("image_size", [0, -1, 31])
def test_image_sizes_that_are_none(image_size):
    assert f"image_size {image_size} " in refusal(GeneratorConfig(**BASE), {"image_size": image_size})


@pytest.mark.parametrize("name", FROM_SHAPES)
def test_a_known_value_that_contradicts_the_shapes_is_named(name):
    config = GeneratorConfig(**BASE)
    value = getattr(config, name)
    if isinstance(value, bool):
        other: Any = not value
    elif isinstance(value, int):
        other = value + 1
    elif isinstance(value, tuple):
        other = (*value, 1)
    else:
        other = "biggan_oneadagn"
    message = refusal(config, {name: other})
    assert f"it says {name} " in message
    assert message.endswith("correct the config")


@pytest.mark.parametrize("name", ["progressive", "progressive_input", "progressive_combine", "fir"])
def test_a_known_pyramid_that_contradicts_the_shapes_is_named(name):
    kind = "input_skip" if name == "progressive_combine" else "residual"
    config = GeneratorConfig(**BASE, progressive_input=kind)
    others = {
        "progressive": "output_skip",
        "progressive_input": "none",
        "progressive_combine": "cat",
        "fir": False,
    }
    assert f"it says {name} {others[name]!r}" in refusal(config, {name: others[name]})


# What the published code itself cannot run.


def test_output_skip_without_fir_is_named():
    config = GeneratorConfig(**BASE, progressive="output_skip", progressive_input="none")
    message = refusal(config, {"fir": False})
    assert "progressive 'output_skip' without fir is not supported" in message


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"embedding_type": "fourier"}, "embedding_type 'fourier' is not supported"),
        ({"resblock_type": "ddpm"}, "resblock_type 'ddpm'"),
        ({"progressive": "residual"}, "progressive 'residual'"),
        ({"fir_kernel": (1, 2, 1)}, "fir_kernel [1, 2, 1] is not supported"),
        ({"fir_kernel": (1, -1, 1, -1)}, "fir_kernel"),
    ],
)
def test_arguments_that_cannot_run_are_named(known, says):
    assert says in refusal(GeneratorConfig(**BASE), known)


def test_fourier_weights_are_named():
    shapes = shapes_of(GeneratorConfig(**BASE)) | {"all_modules.0.W": (8,)}
    with pytest.raises(InputError, match="embedding_type 'fourier' is not supported"):
        infer_config(shapes, {})


def test_ddpm_blocks_are_named():
    shapes = shapes_of(GeneratorConfig(**BASE)) | {"all_modules.4.NIN_0.W": (8, 16)}
    with pytest.raises(InputError, match="resblock_type 'ddpm' is not supported"):
        infer_config(shapes, {})


def test_a_residual_output_pyramid_is_named():
    config = GeneratorConfig(**{**BASE, "ch_mult": (1, 1, 1)})
    shapes = shapes_of(config)
    # One further norm and convolution than without a pyramid, one fewer than output_skip has.
    last = max(int(key.split(".")[1]) for key in shapes if key.startswith("all_modules."))
    norm = {f"all_modules.{last + 1}.{name}": (8,) for name in ("weight", "bias")}
    with pytest.raises(InputError, match="progressive 'residual' is not supported"):
        infer_config(shapes | norm, {})


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 2), (2, 2, 2, 2)])
def test_our_names_with_other_shapes(shape):
    shapes = dict.fromkeys(shapes_of(GeneratorConfig(**BASE)), shape)
    with pytest.raises(InputError):
        infer_config(shapes, {})


def with_channels(shapes: dict[str, tuple[int, ...]], takes: int, gives: int) -> dict[str, tuple[int, ...]]:
    """Shapes of a network of 3 channels -> those of one that takes and gives others."""
    changed = dict(shapes)
    pyramids = [key for key in shapes if key.endswith(("Conv2d_0.weight", ".Conv_0.weight")) and shapes[key][1] == 3]
    for key in ("all_modules.2.weight", *pyramids):
        changed[key] = (shapes[key][0], takes, *shapes[key][2:])
    for key in (key for key in shapes if shapes[key][0] == 3):
        changed[key] = (gives, *shapes[key][1:])
    return changed


@pytest.mark.parametrize(("takes", "gives", "says"), [(6, 3, "conditional on an image"), (3, 6, "more than an image")])
@pytest.mark.parametrize("pyramid", pyramids(), ids=lambda pyramid: "-".join(map(str, pyramid.values())))
def test_a_network_that_takes_other_channels_than_it_gives(pyramid, takes, gives, says):
    shapes = with_channels(shapes_of(GeneratorConfig(**BASE, attn_resolutions=(16,), **pyramid)), takes, gives)
    with pytest.raises(InputError, match=rf"takes {takes} channels in and gives {gives} out, .*{says}"):
        infer_config(shapes, {})


def test_a_condition_that_the_first_convolution_alone_takes():
    shapes = shapes_of(GeneratorConfig(**BASE, attn_resolutions=(16,), progressive_input="residual"))
    with pytest.raises(InputError, match="takes 6 channels in and gives 3 out"):
        infer_config({**shapes, "all_modules.2.weight": (8, 6, 3, 3)}, {})


def test_a_damaged_last_convolution_makes_no_other_network():
    shapes = shapes_of(GeneratorConfig(**BASE, attn_resolutions=(16,)))
    last = next(key for key in reversed(shapes) if shapes[key][0] == 3 and len(shapes[key]) == 4)
    weight = {last: (4, *shapes[last][1:])}
    assert infer_config({**shapes, **weight}, {}).num_channels == 3
    assert infer_config({**shapes, **weight, last.replace("weight", "bias"): (5,)}, {}).num_channels == 3


@pytest.mark.parametrize("key", ["label_emb.weight", "class_embed.0.weight", "text_encoder.proj.weight", "cond.bias"])
def test_a_part_that_tells_what_to_draw_is_named(key):
    shapes = shapes_of(GeneratorConfig(**BASE, attn_resolutions=(16,)))
    with pytest.raises(InputError, match=f"has '{key.split('.')[0]}' and seems to be conditional"):
        infer_config({**shapes, key: (10, 6)}, {})


def test_no_weights_at_all():
    with pytest.raises(InputError, match="it holds no weights"):
        infer_config({}, {})
