"""The Triton-language kernels of AdaGN's gradient: interpreted here, compiled where there is a GPU."""

from __future__ import annotations

import pytest
import torch

from ddgan_deploy.kernels import torch_launch
from ddgan_deploy.kernels.adagn_grad.launches import LAUNCHES, sizes
from ddgan_deploy.kernels.adagn_grad.torch_op import adagn_grad
from ddgan_deploy.kernels.launch import NCHW, all_sizes
from tests.kernels import cases
from tests.kernels.tl_cases import DTYPES, LAYOUTS, SPLIT

SHAPES = [
    (1, 16, 32, 32, 4),
    (2, 12, 7, 5, 3),
    (5, 12, 1, 1, 3),
    (1, 16, 3, 64, 4),
    (1, 16, 65, 1, 8),
    (2, 12, *SPLIT, 3),
]
"""Few groups, for the interpreter runs one program after the other."""


def _inputs(shape, dtype, layout, device, style_rows=None, offset=0.0):
    values = cases.adagn_grad_inputs(shape, "float32", style_rows, offset)
    dy, x, scale, shift = (torch.from_numpy(value).to(device, DTYPES[dtype]) for value in values)
    return *(value.contiguous(memory_format=LAYOUTS[layout]) for value in (dy, x)), scale, shift


def _check(shape, inputs, activation, dx):
    x = inputs[1]
    assert dx.dtype == x.dtype and dx.shape == x.shape and dx.stride() == x.stride()
    measured = dx.double().cpu().numpy()
    error, torch_error = cases.adagn_grad_errors(shape, [value.cpu() for value in inputs], activation, measured)
    assert error <= cases.tolerance(torch_error, str(x.dtype).removeprefix("torch."))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("dtype", "activation"), [("float32", "silu"), ("float16", "none"), ("bfloat16", "silu")])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_real_and_odd_shapes(shape, dtype, activation, layout, device):
    inputs = _inputs(shape, dtype, layout, device)
    _check(shape, inputs, activation, adagn_grad(*inputs, shape[-1], 1e-6, activation))


def _plan_shape(plan):
    """At a plan's limits: more groups than a program takes, or more channels than a tile has; three chunks."""
    least, most = plan.fits["group_channels"]
    group_channels = min(most, max(least, 6 if plan.layout == NCHW else 40))
    groups = 48 // group_channels if least == most else 2
    side = 16 if len(plan.launches) == 1 else 24
    return 1, groups * group_channels, side, side if plan.aligned else side + 1, groups


# Long chunks have the same kernels as short ones.
@pytest.mark.parametrize(
    "plan",
    {(plan.name.partition("pixels")[0], plan.aligned): plan for plan in LAUNCHES.plans[::-1]}.values(),
    ids=lambda plan: plan.name,
)
def test_every_plan(plan, device):
    shape = _plan_shape(plan)
    inputs = dy, x, scale, shift = _inputs(shape, "float32", plan.layout, device)
    dx = torch.empty_like(x)
    measured = sizes(x.shape, scale.shape[0], shape[-1], 1e-6, "silu")
    assert plan.serves(plan.layout, measured, aligned=True)
    tensors = {"dy": dy, "x": x, "scale": scale, "shift": shift, "dx": dx}
    torch_launch.run_plan(LAUNCHES, plan, tensors, measured)
    _check(shape, inputs, "silu", dx)


@pytest.mark.gpu
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*cases.ADAGN_GRAD_SHAPES, cases.ADAGN_LARGE], ids=str)
def test_published_sizes(shape, dtype, layout):
    inputs = _inputs(shape, dtype, layout, "cuda")
    _check(shape, inputs, "silu", adagn_grad(*inputs, shape[-1], 1e-6, "silu"))


@pytest.mark.parametrize(("size", "layout"), [((4, 6), "nchw"), ((4, 6), "nhwc"), (SPLIT, "nchw")], ids=str)
def test_one_style_serves_the_whole_batch(size, layout, device):
    shape = (2, 8, *size, 2)
    dy, x, scale, shift = inputs = _inputs(shape, "float32", layout, device, style_rows=1)
    dx = adagn_grad(*inputs, 2, activation="silu")
    _check(shape, inputs, "silu", dx)
    assert torch.equal(adagn_grad(dy, x, scale.expand(2, -1), shift, 2, activation="silu"), dx)


@pytest.mark.parametrize(("size", "layout"), [((16, 16), "nchw"), ((16, 16), "nhwc"), (SPLIT, "nchw")], ids=str)
def test_a_large_mean_does_not_swallow_the_variance(size, layout, device):
    shape = (1, 16, *size, 4)
    inputs = _inputs(shape, "float32", layout, device, offset=1000.0)
    dx = adagn_grad(*inputs, 4).double().cpu().numpy()
    error, torch_error = cases.adagn_grad_errors(shape, [value.cpu() for value in inputs], "none", dx)
    assert error <= 2 * torch_error + 1e-3


def test_many_chunks_of_different_sums_are_added(device):
    shape = (1, 1, 260, 257, 1)
    dy, *rest = _inputs(shape, "float32", "nchw", device)
    # A slope down the image: the sums of the first 64 chunks, which are read at a time, are not those of the others.
    dy = dy + torch.linspace(-3, 5, shape[2], device=device)[:, None]
    measured = sizes(dy.shape, 1, shape[-1], 1e-6, "none")
    assert all_sizes(LAUNCHES.choose(NCHW, measured), measured)["chunks"] > 64
    _check(shape, (dy, *rest), "none", adagn_grad(dy, *rest, shape[-1]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sample_alone_equals_it_in_a_batch_and_runs_are_equal(layout, device):
    inputs = _inputs((2, 4, *SPLIT, 1), "float32", layout, device)
    batch = adagn_grad(*inputs, 1, activation="silu")
    assert torch.equal(batch, adagn_grad(*inputs, 1, activation="silu"))
    alone = adagn_grad(*(value[1:2] for value in inputs), 1, activation="silu")
    assert torch.equal(alone, batch[1:2])


def test_dy_need_be_neither_contiguous_nor_aligned_nor_in_the_layout_of_x(device):
    shape = (2, 16, 8, 8, 4)
    inputs = dy, *rest = _inputs(shape, "float32", "nchw", device)
    flat = torch.cat([dy.new_zeros(1), dy.flatten()])[1:]
    assert flat.data_ptr() % 16
    last = dy.contiguous(memory_format=torch.channels_last)
    for value in (flat.view(dy.shape), last, dy.repeat_interleave(2, dim=3)[..., ::2]):
        _check(shape, inputs, "silu", adagn_grad(value, *rest, 4, activation="silu"))


def test_an_empty_batch_gives_an_empty_batch(device):
    image, style = torch.zeros(0, 8, 4, 4, device=device), torch.zeros(1, 8, device=device)
    assert adagn_grad(image, image, style, style, 2).shape == image.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dy": torch.zeros(1, 8, 4, 4)}, "dy and x must have one shape and type"),
        ({"scale": torch.zeros(2, 7)}, r"AdaGNGrad: scale has shape \[2, 7\]"),
        ({"dy": torch.zeros(2, 8, 4, 4).int(), "x": torch.zeros(2, 8, 4, 4).int()}, "AdaGNGrad: dy is torch.int32"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    image, style = torch.zeros(2, 8, 4, 4), torch.zeros(2, 8)
    with pytest.raises(ValueError, match=message):
        adagn_grad(**{"dy": image, "x": image, "scale": style, "shift": style, "groups": 2, **change})
