"""The Triton-language kernels against their references: interpreted here, compiled where there is a GPU."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddgan_deploy.kernels import torch_launch
from ddgan_deploy.kernels.adagn import launches as adagn_launches
from ddgan_deploy.kernels.adagn import tl_kernel as kernels
from ddgan_deploy.kernels.adagn.spec import reference
from ddgan_deploy.kernels.adagn.torch_op import adagn
from ddgan_deploy.kernels.launch import NHWC, Plan, all_sizes, evaluate
from ddgan_deploy.kernels.philox_normal.philox import integers, normal
from ddgan_deploy.kernels.philox_normal.torch_op import philox_integer, philox_normal
from ddgan_deploy.kernels.reverse_step.spec import reference as reverse_reference
from ddgan_deploy.kernels.reverse_step.torch_op import reverse_step
from ddgan_deploy.kernels.style_lrelu.spec import reference as style_reference
from ddgan_deploy.kernels.style_lrelu.torch_op import style_lrelu
from tests.kernels import cases
from tests.kernels.tl_cases import DTYPES, LAYOUTS, SPLIT

SEED = torch.tensor([[7]])


def _adagn_inputs(shape, dtype, layout, device, style_rows=None, offset=0.0):
    x, scale, shift = (torch.from_numpy(v) for v in cases.adagn_inputs(shape, "float32", style_rows, offset))
    x = x.to(device, DTYPES[dtype]).contiguous(memory_format=LAYOUTS[layout])
    return x, scale.to(device, DTYPES[dtype]), shift.to(device, DTYPES[dtype])


def _style_each(inputs, batch):
    """The inputs with a style for every sample."""
    x, scale, shift = inputs
    return x, scale.expand(batch, -1), shift.expand(batch, -1)


def _check_adagn(shape, inputs, activation, y):
    x = inputs[0]
    assert y.dtype == x.dtype and y.shape == x.shape and y.stride() == x.stride()
    error, torch_error = cases.adagn_errors(
        shape, [value.cpu() for value in inputs], activation, y.double().cpu().numpy()
    )
    assert error <= cases.tolerance(torch_error, str(x.dtype).removeprefix("torch."))


@pytest.mark.parametrize("activation", ["none", "silu"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", cases.ADAGN_SHAPES, ids=str)
def test_adagn(shape, dtype, layout, activation, device):
    inputs = _adagn_inputs(shape, dtype, layout, device)
    _check_adagn(shape, inputs, activation, adagn(*inputs, shape[-1], 1e-6, activation))


def _plan_shape(plan: Plan) -> cases.AdaGNShape:
    """A shape at a plan's limits, with more groups than a program takes."""
    least, most = plan.fits.get("group_channels", (1, 12))
    # Where a tile goes over a group's channels in turns, one and a part of one.
    tile = plan.launches[0].constexprs["CHANNELS"]
    group_channels = min(most, max(least, tile + tile // 4))
    groups = 2 * plan.launches[0].constexprs.get("GROUPS", 1)
    while plan.aligned and plan.layout == NHWC and groups * group_channels % 16:
        groups += 1
    # Of a split plan's chunks two and a part of one.
    chunk = plan.derived.get("chunk_pixels", (1024,))[0]
    pixels = min(plan.fits.get("pixels", (1, math.inf))[1], chunk * 9 // 4)
    side = math.isqrt(pixels)
    height, width = (side, side) if plan.aligned else (side + 1 if side * (side + 1) <= pixels else side, side - 1)
    return 2, groups * group_channels, height, width, groups


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("plan", adagn_launches.LAUNCHES.plans, ids=lambda plan: plan.name)
def test_every_plan_of_adagn(plan, dtype, device):
    shape = _plan_shape(plan)
    inputs = x, scale, shift = _adagn_inputs(shape, dtype, plan.layout, device)
    y = torch.empty_like(x)
    sizes = adagn_launches.sizes(x.shape, scale.shape[0], shape[-1], 1e-6, "silu")
    assert plan.serves(plan.layout, sizes, aligned=True)
    torch_launch.run_plan(adagn_launches.LAUNCHES, plan, {"x": x, "scale": scale, "shift": shift, "y": y}, sizes)
    _check_adagn(shape, inputs, "silu", y)


@pytest.mark.gpu
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_adagn_of_large_images(dtype, layout):
    inputs = _adagn_inputs(cases.ADAGN_LARGE, dtype, layout, "cuda")
    y = adagn(*inputs, cases.ADAGN_LARGE[-1], 1e-6, "silu")
    _check_adagn(cases.ADAGN_LARGE, inputs, "silu", y)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_adagn_of_any_shape(data):
    groups, group_channels = data.draw(st.integers(1, 9), "groups"), data.draw(st.integers(1, 40), "group channels")
    n, h, w = (data.draw(st.integers(1, most), name) for name, most in (("n", 2), ("h", 40), ("w", 24)))
    dtype, layout = data.draw(st.sampled_from(list(DTYPES))), data.draw(st.sampled_from(list(LAYOUTS)))
    shape = (n, groups * group_channels, h, w, groups)
    inputs = _adagn_inputs(shape, dtype, layout, "cpu", data.draw(st.sampled_from([None, 1]), "style rows"))
    y = adagn(*inputs, groups, 1e-6, "silu")
    _check_adagn(shape, _style_each(inputs, n), "silu", y)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(4, 6), SPLIT], ids=str)
def test_one_style_serves_the_whole_batch(size, layout, device):
    shape = (3, 12, *size, 3)
    x, scale, shift = inputs = _adagn_inputs(shape, "float32", layout, device, style_rows=1)
    _check_adagn(shape, inputs, "silu", adagn(*inputs, 3, activation="silu"))
    many = adagn(x, scale.expand(3, -1), shift, 3, activation="silu")
    assert torch.equal(many, adagn(*inputs, 3, activation="silu"))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(8, 8), SPLIT], ids=str)
def test_constant_groups_give_the_shift(size, layout, device):
    x = torch.full((2, 8, *size), 7.0, device=device).contiguous(memory_format=LAYOUTS[layout])
    scale, shift = torch.full((2, 8), 3.0, device=device), torch.full((2, 8), 0.25, device=device)
    y = adagn(x, scale, shift, 2)
    torch.testing.assert_close(y, torch.full_like(y, 0.25), atol=1e-3, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(16, 16), SPLIT], ids=str)
def test_statistics_are_float32_near_the_edge_of_float16(size, layout, device):
    x = torch.from_numpy(np.random.default_rng(0).uniform(-60000, 60000, size=(1, 8, *size)).astype(np.float16))
    x = x.to(device).contiguous(memory_format=LAYOUTS[layout])
    ones = torch.ones(1, 8, dtype=torch.float16, device=device)
    y = adagn(x, ones, torch.zeros_like(ones), 2).float()
    assert torch.isfinite(y).all()
    assert abs(float(y.std()) - 1) < 1e-2


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(16, 16), SPLIT], ids=str)
def test_a_large_mean_does_not_swallow_the_variance(size, layout, device):
    shape = (1, 16, *size, 4)
    inputs = _adagn_inputs(shape, "float32", layout, device, offset=1000.0)
    y = adagn(*inputs, 4)
    error, torch_error = cases.adagn_errors(shape, [v.cpu() for v in inputs], "none", y.double().cpu().numpy())
    assert error <= 2 * torch_error + 1e-3


@pytest.mark.parametrize(("layout", "shape"), [("nchw", (1, 1, 320, 416, 1)), ("nhwc", (1, 16, 280, 256, 4))])
def test_many_chunks_of_different_means_are_merged(layout, shape, device):
    x, scale, shift = _adagn_inputs(shape, "float32", layout, device)
    # A slope down the image: most of the variance is between the chunks.
    x = (0.1 * x + torch.linspace(-3, 5, shape[2], device=device)[:, None]).contiguous(memory_format=LAYOUTS[layout])
    sizes = adagn_launches.sizes(x.shape, 1, shape[-1], 1e-6, "none")
    assert all_sizes(adagn_launches.LAUNCHES.choose(layout, sizes), sizes)["chunks"] > 64, (
        "more than are merged at a time"
    )
    _check_adagn(shape, (x, scale, shift), "none", adagn(x, scale, shift, shape[-1]))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("ours", "other"), [("nchw", "nhwc"), ("nhwc", "nchw")])
@pytest.mark.parametrize("shape", [(1, 16, 32, 48, 4), (5, 12, 35, 31, 3), (2, 41, 17, 16, 1), (1, 1, 129, 128, 1)])
def test_partial_statistics_of_one_layout_serve_the_other(shape, ours, other, dtype, device):
    inputs = _adagn_inputs(shape, dtype, ours, device)
    x, scale, shift = inputs
    sizes = adagn_launches.sizes(x.shape, scale.shape[0], shape[-1], 1e-6, "silu")
    first, second = (adagn_launches.SPLIT.choose(layout, sizes) for layout in (ours, other))
    every = all_sizes(first, sizes)
    assert every == all_sizes(second, sizes) and every["chunks"] > 1
    assert every["chunk_pixels"] == adagn_launches.chunk_pixels(sizes["pixels"])
    partials_shape = adagn_launches.partials_shape(shape[0], sizes["pixels"], shape[-1], every["chunk_pixels"])
    partials = torch.full(partials_shape, torch.nan, device=device)
    _launch(first.launches[0], {**every, "x": x, "partials": partials})
    x = x.contiguous(memory_format=LAYOUTS[other])
    y = torch.full_like(x, torch.nan)
    tensors = {"x": x, "scale": scale, "shift": shift, "partials": partials, "y": y}
    _launch(second.launches[1], {**every, **tensors})
    _check_adagn(shape, (x, scale, shift), "silu", y)


def _launch(launch, arguments):
    grid = tuple(evaluate(extent, arguments) for extent in launch.grid)
    getattr(kernels, launch.kernel)[grid](
        *(arguments[name] for name in launch.arguments), **launch.constexprs, **launch.options
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sample_alone_equals_it_in_a_batch_and_runs_are_equal(layout, device):
    x, scale, shift = _adagn_inputs((3, 16, *SPLIT, 4), "float32", layout, device)
    batch = adagn(x, scale, shift, 4, activation="silu")
    assert torch.equal(batch, adagn(x, scale, shift, 4, activation="silu"))
    alone = adagn(x[1:2], scale[1:2], shift[1:2], 4, activation="silu")
    assert torch.equal(alone, batch[1:2])


def test_inputs_need_be_neither_contiguous_nor_aligned(device):
    shape = (2, 16, 8, 8, 4)
    x, scale, shift = _adagn_inputs(shape, "float32", "nchw", device)
    flat = torch.cat([x.new_zeros(1), x.flatten()])[1:]
    assert flat.data_ptr() % 16
    transposed = x.transpose(2, 3).contiguous().transpose(2, 3)
    for value in (flat.view(x.shape), transposed, x.repeat_interleave(2, dim=3)[..., ::2]):
        y = adagn(value, scale[:, :], shift, 4, activation="silu")
        _check_adagn(shape, (x, scale, shift), "silu", y)


@pytest.mark.parametrize("coefficients", cases.REVERSE_COEFFICIENTS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", cases.REVERSE_OPS)
def test_reverse_step(op, dtype, layout, coefficients, device):
    for number, shape in enumerate(cases.REVERSE_SHAPES):
        inputs = cases.reverse_inputs(op, shape, "float32", cases.REVERSE_COEFFICIENTS[coefficients])
        inputs[0].flat[0] = np.nan
        out, x, *noise, row = (torch.from_numpy(value).to(device) for value in inputs)
        out = out.to(DTYPES[dtype]).contiguous(memory_format=LAYOUTS[layout])
        # A row of a table may start anywhere.
        row = torch.cat([row.new_zeros(number), row])[number:]
        x_prev = reverse_step(out, x, noise[0] if noise else None, row)
        assert x_prev.dtype == torch.float32 and x_prev.shape == out.shape and x_prev.stride() == out.stride()
        expected = reverse_reference(out, x, noise[0] if noise else None, row)
        torch.testing.assert_close(x_prev, expected, atol=2e-6, rtol=0, equal_nan=True)


@pytest.mark.parametrize("noise", cases.STYLE_NOISES)
@pytest.mark.parametrize("form", cases.STYLE_FORMS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_style_lrelu(dtype, layout, form, noise, device):
    alpha, limit = cases.STYLE_FORMS[form]
    for shape in cases.STYLE_SHAPES:
        inputs = cases.style_inputs(shape, "float32", noise, limit)
        inputs[0].flat[0] = np.nan
        x, *others = (torch.from_numpy(value).to(device) for value in inputs)
        x = x.to(DTYPES[dtype]).contiguous(memory_format=LAYOUTS[layout])
        y = style_lrelu(x, *others, alpha)
        assert y.dtype == x.dtype and y.shape == x.shape and y.stride() == x.stride()
        # The interpreter cuts bfloat16 off where hardware rounds.
        close = {"float32": 2e-6, "float16": 2**-9, "bfloat16": 2**-6}[dtype]
        expected = style_reference(x, *others, alpha)
        torch.testing.assert_close(y, expected, atol=close, rtol=close, equal_nan=True)


@pytest.mark.parametrize("stream", [*cases.PHILOX_STREAMS, 2**32 - 1])
@pytest.mark.parametrize("shape", cases.PHILOX_SHAPES, ids=str)
def test_philox_normal(shape, stream, device):
    noise = philox_normal(torch.from_numpy(cases.PHILOX_SEEDS)[:, None].to(device), stream, shape)
    np.testing.assert_array_max_ulp(noise.cpu().numpy(), normal(cases.PHILOX_SEEDS, stream, shape), cases.PHILOX_ULP)


@pytest.mark.parametrize("stream", [5, 2**32 - 1, 2**40 + 1])
def test_philox_normal_of_a_stream_in_memory(stream, device):
    seeds, shape = torch.from_numpy(cases.PHILOX_SEEDS)[:, None].to(device), (3, 5, 7)
    noise = philox_normal(seeds, torch.tensor(stream, device=device), shape)
    assert torch.equal(noise, philox_normal(seeds, stream % 2**32, shape))


@pytest.mark.parametrize("below", cases.PHILOX_BELOW)
@pytest.mark.parametrize("shape", [(), (5, 1, 3), (3, 32, 32)], ids=str)
def test_philox_integer(shape, below, device):
    values = philox_integer(torch.from_numpy(cases.PHILOX_SEEDS)[:, None].to(device), 2**32 - 1, shape, below)
    np.testing.assert_array_equal(values.cpu().numpy(), integers(cases.PHILOX_SEEDS, 2**32 - 1, shape, below))


def test_philox_normal_over_many_values(device):
    shape = (3, 2048, 2048) if device == "cuda" else (3, 192, 256)
    noise = philox_normal(torch.tensor([[20260101]], device=device), 2, shape)
    np.testing.assert_array_max_ulp(noise.cpu().numpy(), normal([20260101], 2, shape), cases.PHILOX_ULP)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_philox_normal_rounds_once_to_a_narrower_type(dtype, device):
    seeds = torch.from_numpy(cases.PHILOX_SEEDS)[:, None].to(device)
    wide = philox_normal(seeds, 1, (3, 8, 8))
    narrow = philox_normal(seeds, 1, (3, 8, 8), DTYPES[dtype])
    assert narrow.dtype == DTYPES[dtype]
    # The interpreter cuts bfloat16 off where hardware rounds.
    torch.testing.assert_close(narrow.float(), wide, atol=0, rtol=2**-10 if dtype == "float16" else 2**-7)


def test_an_empty_batch_gives_an_empty_batch(device):
    x = torch.zeros(0, 8, 4, 4, device=device)
    style = torch.zeros(1, 8, device=device)
    assert adagn(x, style, style, 2).shape == (0, 8, 4, 4)
    assert philox_normal(torch.zeros(0, 1, dtype=torch.int64, device=device), 0, (3, 4)).shape == (0, 3, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, s: adagn(x[0], s, s, 2), "3 dimensions"),
        (lambda x, s: adagn(x, s, s, 3), "8 channels cannot be divided into 3 groups"),
        (lambda x, s: adagn(x, s[:, 1:], s, 2), r"scale has shape \[2, 7\]"),
        (lambda x, s: reverse_step(x, x, x[:1], s), "one shape"),
        (lambda x, s: reverse_step(x, x, x, s), r"ReverseStep: coefficients has shape \[2, 8\]"),
        (lambda x, s: style_lrelu(x, s, x, s[0], s[0, :1]), "StyleLrelu: noise has shape"),
        (lambda x, s: adagn(x, s, s, 2, 1e-6, "relu"), "'relu'"),
        (
            lambda x, s: adagn(x.int(), s, s, 2),
            "x is torch.int32, it must be float32, float16 or bfloat16",
        ),
        (lambda x, s: philox_normal(s, 0, (3,)), r"it must be int64 \[N, 1\]"),
        (lambda x, s: philox_normal(SEED, 2**32, (3,)), "stream is 4294967296, it must be 0..4294967295"),
        (lambda x, s: philox_normal(SEED, -1, (3,)), "stream is -1"),
        (lambda x, s: philox_normal(SEED, torch.tensor([1]), (3,)), r"PhiloxNormalAt: stream is torch.int64 \[1\]"),
        (lambda x, s: philox_integer(SEED, 0, (3,), 2**31 + 1), "PhiloxInteger: below is 2147483649"),
        (lambda x, s: philox_normal(SEED, 0, (3,), torch.int32), "noise is torch.int32"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(2, 8, 4, 4), torch.zeros(2, 8))


def test_cpu_tensors_need_the_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="or set TRITON_INTERPRET=1 before the first call"):
        philox_normal(SEED, 0, (3,))


def test_channels_last_offsets_may_pass_32_bits():
    # One program of a huge sample, whose memory is reserved but hardly touched.
    pixels, channels, group_channels = 17, 2**27, 32
    x = torch.empty((1, pixels, 1, channels), dtype=torch.float16)
    y, style = torch.empty_like(x), torch.empty((1, channels), dtype=torch.float16)
    ours = 2 * group_channels
    x[..., :ours] = torch.randn(1, pixels, 1, ours)
    style[:, :ours] = 1
    (plan,) = (
        p for p in adagn_launches.LAUNCHES.plans if p.name == "adagn_fused_nhwc_groups2_channels32_exact0_pixels64"
    )
    sizes = adagn_launches.sizes((1, channels, pixels, 1), 1, channels // group_channels, 1e-6, "none")
    (launch,) = plan.launches
    tensors = {"x": x, "scale": style, "shift": style, "y": y}
    kernels.adagn_fused_nhwc[(1,)](*({**sizes, **tensors}[name] for name in launch.arguments), **launch.constexprs)
    expected = reference(x[..., :ours].permute(0, 3, 1, 2), style[:, :ours], style[:, :ours], 2)
    torch.testing.assert_close(y[..., :ours].permute(0, 3, 1, 2), expected)


def test_the_reference_and_the_kernels_agree_on_gradient_free_inputs(device):
    inputs = _adagn_inputs((2, 12, 7, 5, 3), "float32", "nchw", device)
    torch.testing.assert_close(
        adagn(*inputs, 3, activation="silu"),
        reference(*inputs, 3, activation="silu"),
        atol=5e-6,
        rtol=1e-6,
    )
