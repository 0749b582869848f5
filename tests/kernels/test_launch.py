"""The launches as data: they say what the kernels' signatures say, and choose as they state."""

from __future__ import annotations

import importlib
import struct

import pytest

from ddgan_deploy.kernels import ops
from ddgan_deploy.kernels.adagn import launches as adagn
from ddgan_deploy.kernels.adagn_grad import launches as adagn_grad
from ddgan_deploy.kernels.launch import (
    LINEAR,
    NCHW,
    NHWC,
    CeilDiv,
    Launch,
    OpLaunches,
    Plan,
    all_sizes,
    evaluate,
    float_bits,
    launches,
    word_bits,
)
from ddgan_deploy.kernels.launch_index import extent_text, launch_index
from ddgan_deploy.kernels.philox_normal import launches as philox_normal
from ddgan_deploy.kernels.reverse_step import launches as reverse_step
from ddgan_deploy.kernels.style_lrelu import launches as style_lrelu

SIZES = {
    "AdaGN": adagn.sizes((2, 12, 5, 7), 2, 3, 1e-6, "silu"),
    "AdaGNGrad": adagn_grad.sizes((2, 12, 5, 7), 2, 3, 1e-6, "silu"),
    "ReverseMean": reverse_step.sizes((2, 3, 5, 7)),
    "ReverseStep": reverse_step.sizes((2, 3, 5, 7)),
    "StyleLrelu": style_lrelu.sizes((2, 3, 5, 7), (1, 1, 5, 7), 0.2),
    "PhiloxNormal": philox_normal.sizes(2, (3, 5, 7), stream=3),
    "PhiloxNormalAt": philox_normal.sizes(2, (3, 5, 7)),
    "PhiloxInteger": philox_normal.sizes(2, (3, 5, 7), stream=3, below=10),
}


@pytest.mark.parametrize(
    ("op", "plan", "launch"),
    launches(ops.all_launches()),
    ids=lambda value: getattr(value, "name", getattr(value, "op", None)),
)
def test_a_launch_states_its_kernel_s_signature(op, plan, launch):
    kernel = getattr(importlib.import_module(f"ddgan_deploy.kernels.{op.folder}.tl_kernel"), launch.kernel)
    assert tuple(kernel.arg_names) == (*launch.arguments, *launch.constexprs)
    sizes = all_sizes(plan, SIZES[op.op])
    assert set(launch.arguments) <= {*op.tensors, *sizes}
    assert set(plan.temporaries) <= set(op.tensors)
    assert set(plan.fits) | set(plan.multiples) <= set(SIZES[op.op])
    for extent in (*launch.grid, *(extent for shape in plan.temporaries.values() for extent in shape)):
        assert evaluate(extent, sizes) >= 1


@pytest.mark.parametrize("op", ops.all_launches(), ids=lambda op: op.op)
def test_inputs_come_before_sizes_and_these_before_outputs(op):
    for _, plan, launch in launches([op]):
        kinds = ["tensor" if name in op.tensors else "size" for name in launch.arguments]
        first = kinds.index("size")
        last = len(kinds) - kinds[::-1].index("size")
        assert kinds[first:last] == ["size"] * (last - first), plan.name
        assert len(kinds) - last == 1, "one output"


@pytest.mark.parametrize(
    ("shape", "groups", "layout", "aligned", "expected"),
    [
        # The sizes of the published CIFAR-10 model
        ((1, 128, 32, 32), 32, NCHW, True, "adagn_fused_nchw_channels4_pixels1024_aligned"),
        ((1, 384, 32, 32), 32, NCHW, True, "adagn_fused_nchw_channels16_pixels1024_aligned"),
        ((1, 512, 16, 16), 32, NCHW, True, "adagn_fused_nchw_channels32_pixels256_aligned"),
        ((1, 256, 4, 4), 32, NCHW, True, "adagn_fused_nchw_channels8_pixels64_aligned"),
        ((1, 256, 4, 4), 32, NCHW, False, "adagn_fused_nchw_channels8_pixels64"),
        ((1, 256, 16, 16), 32, NHWC, True, "adagn_fused_nhwc_groups4_channels8_exact1_pixels256_aligned"),
        ((1, 384, 32, 32), 32, NHWC, True, "adagn_stats_nhwc_groups4_channels16_exact0_pixels64"),
        # CelebA-HQ 256
        ((1, 64, 256, 256), 16, NCHW, True, "adagn_stats_nchw_channels4_pixels1024_aligned"),
        ((1, 64, 64, 64), 16, NCHW, True, "adagn_fused_nchw_channels4_pixels4096_aligned"),
        ((1, 64, 256, 256), 16, NHWC, True, "adagn_stats_nhwc_groups8_channels4_exact1_pixels128_aligned"),
        # odd ones
        ((5, 12, 1, 1), 3, NCHW, True, "adagn_fused_nchw_channels8_pixels64"),
        ((2, 2048, 9, 9), 1, NHWC, True, "adagn_stats_nhwc_groups2_channels32_exact0_pixels64"),
    ],
)
def test_plans_of_adagn(shape, groups, layout, aligned, expected):
    sizes = adagn.sizes(shape, shape[0], groups, 1e-6, "silu")
    assert adagn.LAUNCHES.choose(layout, sizes, aligned).name == expected


@pytest.mark.parametrize(
    ("shape", "groups", "layout", "aligned", "expected"),
    [
        # The sizes of ADM's classifiers
        ((1, 128, 64, 64), 32, NCHW, True, "adagn_stats_nchw_channels4_pixels256_aligned"),
        ((1, 256, 32, 32), 32, NCHW, True, "adagn_grad_fused_nchw_channels8_pixels1024_aligned"),
        ((1, 512, 8, 8), 32, NCHW, True, "adagn_grad_fused_nchw_channels32_pixels256_aligned"),
        ((1, 512, 65, 1), 32, NCHW, True, "adagn_stats_nchw_channels4_pixels256"),
        ((1, 384, 16, 16), 32, NHWC, True, "adagn_stats_nhwc_groups4_channels16_exact0_pixels64"),
        ((1, 512, 16, 16), 32, NHWC, True, "adagn_grad_fused_nhwc_lanes32_pixels256_aligned"),
        ((1, 128, 256, 256), 32, NHWC, True, "adagn_stats_nhwc_groups8_channels4_exact1_pixels128_aligned"),
    ],
)
def test_plans_of_the_gradient_of_adagn(shape, groups, layout, aligned, expected):
    sizes = adagn_grad.sizes(shape, shape[0], groups, 1e-6, "silu")
    assert adagn_grad.LAUNCHES.choose(layout, sizes, aligned).name == expected


def test_one_name_is_one_kernel():
    named = {}
    for op, plan, launch in launches(ops.all_launches()):
        # Of another op's folder it may be the same function.
        function = getattr(importlib.import_module(f"ddgan_deploy.kernels.{op.folder}.tl_kernel"), launch.kernel)
        kernel = (function, dict(launch.constexprs), launch.warps, plan.multiples)
        assert named.setdefault(plan.kernel_name(launch), kernel) == kernel


def test_chunks_are_long_where_short_ones_were_many():
    for side, pixels in ((128, 256), (256, 1024)):
        sizes = adagn.sizes((1, 64, side, side), 1, 16, 1e-6, "silu")
        plan = adagn.LAUNCHES.choose(NHWC, sizes)
        assert all_sizes(plan, sizes)["chunk_pixels"] == pixels
        assert all_sizes(plan, sizes)["chunks"] == 64


def test_sizes_that_no_plan_serves_are_refused():
    with pytest.raises(
        ValueError, match=r"AdaGN: no Triton-language kernel serves layout nchw with .*pixels 1073741824"
    ):
        adagn.LAUNCHES.choose(NCHW, adagn.sizes((1, 4, 2**15, 2**15), 1, 1, 1e-6, "none"))
    # The statistics merged at a time would count past 32 bits.
    with pytest.raises(ValueError, match="layout nhwc with .*group_channels 16385"):
        adagn.LAUNCHES.choose(NHWC, adagn.sizes((1, 16385, 16, 16), 1, 1, 1e-6, "none"))
    with pytest.raises(ValueError, match="batch 65536"):
        philox_normal.LAUNCHES.choose(LINEAR, philox_normal.sizes(65536, (3, 8, 8), stream=0))


def test_extents():
    sizes = {"a": 7, "b": 3}
    assert evaluate((), sizes) == 1
    assert evaluate(("a", 2, CeilDiv(("a", "b"), 8)), sizes) == 7 * 2 * 3
    assert extent_text(("a", 2, CeilDiv(("a", "b"), 8))) == "a*2*ceil(a*b/8)"
    assert extent_text(()) == "1"


def test_floats_and_words_travel_as_int32():
    for value in (1e-6, -0.5, 0.0, 3e38):
        assert (
            struct.unpack("<f", struct.pack("<i", float_bits(value)))[0]
            == struct.unpack("<f", struct.pack("<f", value))[0]
        )
    assert [word_bits(value) for value in (0, 5, 2**31 - 1, 2**31, 2**32 - 1)] == [0, 5, 2**31 - 1, -(2**31), -1]


def test_launch_index():
    launch = Launch("k", ("x", "n", "y"), {"BLOCK": 4}, (("n",), (CeilDiv(("n",), 4),), ()), 2)
    plan = Plan(NCHW, (launch,), {"n": (1, 9)}, ("n",), derived={"m": (2,)}, temporaries={"t": (("n",), (2,))})
    op = OpLaunches("Op", "op", {"x": "T", "y": "T", "t": "float32"}, (plan,))

    class Task:
        dtype, arch = "float16", 90

    Task.op, Task.plan, Task.launch = op, plan, launch

    class Kernel:
        file, symbol, shared_bytes = "k.cubin", "k", 64

    assert launch_index([(Task, Kernel)]).splitlines() == [
        "ddgan-launches 1",
        "plan Op nchw float16 90 16",
        "fits n 1 9",
        "multiple n",
        "derived m 2",
        "temporary t n 2",
        "launch k.cubin k 64 64",
        "grid n ceil(n/4) 1",
        "arguments x:pointer n:int32 y:pointer",
        "end",
    ]
