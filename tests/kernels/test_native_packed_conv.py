"""Convolutions of packed images, with each set of instructions for products of 8-bit integers and of bfloat16."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddgan_deploy.kernels.packed_conv.layout import bfloat16_bits, packed_weight
from tests.kernels.packed import STEP, ZERO, Case, convolved, exact, packed, unpacked

KINDS = ["uint8", "bfloat16"]
# Batch, channels, outputs, height, width.
SHAPES = [
    (1, 128, 128, 32, 32),
    (5, 256, 64, 8, 8),
    (2, 5, 7, 3, 4),
    (1, 70, 33, 9, 17),
    (3, 3, 128, 6, 1),
    (1, 1, 1, 1, 1),
    (2, 65, 32, 1, 40),
]


def _levels(x, step=STEP, zero=ZERO):
    """As the library rounds: the product with the reciprocal, ties to even."""
    return np.clip(np.rint(x * (np.float32(1) / np.float32(step))) + zero, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape", [(2, 5, 3, 4), (1, 128, 9, 7), (5, 70, 16, 33), (1, 1, 1, 1), (2, 33, 2, 300)], ids=str
)
def test_packing_puts_channels_side_by_side_within_a_border(dots, kind, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 5
    rows = packed(dots, kind, x)
    values, border = unpacked(rows, kind, *shape[1:])
    if kind == "uint8":
        np.testing.assert_array_equal(values, _levels(x))
        assert (border == ZERO).all()
    else:
        np.testing.assert_array_equal(values, torch.from_numpy(x).bfloat16().float().numpy())
        assert not border.any()


@pytest.mark.parametrize("zero", [0, 128, 255])
def test_levels_are_cut_off_at_their_ends_and_ties_go_to_the_even_one(dots, zero):
    x = np.array([-1e30, -300, -2.5, -1.5, -0.5, -0.0, 0.5, 1.5, 2.5, 3.5, 300, 1e30], np.float32).reshape(1, 1, 2, 6)
    values, _ = unpacked(packed(dots, "uint8", x, step=1.0, zero=zero), "uint8", 1, 2, 6)
    np.testing.assert_array_equal(values, np.clip(np.rint(x.astype(np.float64)) + zero, 0, 255).astype(np.uint8))


def test_bfloat16_rounds_ties_to_even_and_keeps_what_is_no_number(dots):
    special = [np.nan, np.inf, -np.inf, 1.00390625, 1.01171875, 3.4e38, 1e-40, -0.0]
    bits = np.array([0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F7FFFFF], np.uint32).view(np.float32)
    x = np.array([*special, *bits], np.float32).reshape(1, 1, 2, 6)
    values, _ = unpacked(packed(dots, "bfloat16", x), "bfloat16", 1, 2, 6)
    expected = torch.from_numpy(x).bfloat16().float().numpy()
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.signbit(values[~np.isnan(x)]), np.signbit(expected[~np.isnan(x)]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("silu", [False, True], ids=["AdaGN", "AdaGNSilu"])
@pytest.mark.parametrize("shape", [(3, 12, 7, 5, 3), (2, 128, 16, 16, 32), (1, 72, 1, 33, 9)], ids=str)
def test_adagn_packs_what_it_would_give(dots, kind, silu, shape):
    *shape, groups = shape
    random = np.random.default_rng(1)
    x = random.normal(2, 3, size=shape).astype(np.float32)
    scale, shift = random.normal(size=(2, shape[0], shape[1])).astype(np.float32)
    given = {"scale": scale, "shift": shift}
    op_type = "PackAdaGNSilu" if silu else "PackAdaGN"
    rows = packed(dots, kind, x, op_type, extra=given, groups=groups, epsilon=1e-6)
    values, _ = unpacked(rows, kind, *shape[1:])
    norm = torch.nn.functional.group_norm(torch.from_numpy(x).double(), groups, eps=1e-6)
    y = norm * torch.from_numpy(scale)[:, :, None, None] + torch.from_numpy(shift)[:, :, None, None]
    y = (torch.nn.functional.silu(y) if silu else y).numpy()
    if kind == "uint8":
        apart = np.abs(values.astype(int) - np.clip(np.rint(y / STEP) + ZERO, 0, 255))
        # Where float32 rounds to the other side of a tie.
        assert apart.max() <= 1 and (apart > 0).mean() < 1e-3
    else:
        np.testing.assert_allclose(values, y, rtol=2**-8, atol=1e-6)
    alone = {name: value[:1] for name, value in given.items()}
    one = packed(dots, kind, x[:1], op_type, threads=1, extra=alone, groups=groups, epsilon=1e-6)
    np.testing.assert_array_equal(one, rows[:1])


def _agrees(dots, kind, case, scale=0.5):
    values, _ = unpacked(packed(dots, kind, case.x), kind, *case.x.shape[1:])
    y, expected = convolved(dots, kind, case, scale=scale), exact(kind, case, values, scale)
    assert y.shape == expected.shape
    if kind == "uint8":
        # Sums are exact; what follows is a few roundings of float32.
        np.testing.assert_allclose(y, expected, rtol=2e-6, atol=2e-6)
    else:
        torch_error = np.abs(exact(kind, case, values, scale, torch.float32) - expected).max()
        assert np.abs(y - expected).max() <= 4 * torch_error + 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_real_and_odd_shapes(dots, kind, shape, kernel):
    _agrees(dots, kind, Case.of(kind, shape, kernel))


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_residual(dots, kind):
    _agrees(dots, kind, Case.of(kind, (2, 48, 40, 9, 18), 3, residual=False), scale=1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_image_gives_none(dots, kind):
    assert convolved(dots, kind, Case.of(kind, (0, 8, 9, 4, 4), 3)).shape == (0, 9, 4, 4)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(KINDS),
    st.sampled_from([1, 3]),
    st.tuples(st.integers(1, 3), st.integers(1, 140), st.integers(1, 70), st.integers(1, 24), st.integers(1, 40)),
)
def test_any_shape(dots, kind, kernel, shape):
    _agrees(dots, kind, Case.of(kind, shape, kernel))


def test_the_largest_sums_do_not_overflow(dots):
    case = Case.of("uint8", (1, 512, 3, 4, 4), 3, residual=False)
    case.x[:] = 1e9
    case.weight[:] = [[[[127]]], [[[-127]]], [[[1]]]]
    _agrees(dots, "uint8", case)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5, 70, 40, 16, 16), (7, 64, 33, 9, 10), (2, 16, 16, 70, 66)], ids=str)
def test_bits_depend_neither_on_threads_nor_on_the_batch(dots, kind, shape):
    case = Case.of(kind, shape, 3)
    y = convolved(dots, kind, case)
    np.testing.assert_array_equal(convolved(dots, kind, case, threads=1), y)
    for n in range(shape[0]):
        one = Case(case.x[n : n + 1], case.weight, case.bias, case.residual[n : n + 1], case.factor)
        np.testing.assert_array_equal(convolved(dots, kind, one), y[n : n + 1])


def test_what_is_no_number_reaches_its_neighbours_alone(dots):
    case = Case.of("bfloat16", (1, 20, 8, 12, 12), 3)
    case.x[0, 3, 11, 0] = np.nan
    bad = np.isnan(convolved(dots, "bfloat16", case))
    assert bad[0, :, 10:, :2].all() and bad.sum() == 8 * 4


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("uint8", {"kernel": 5}, "Uint8Conv: kernel is 5, it must be 1 or 3"),
        ("bfloat16", {"height": 0}, "Bfloat16Conv: height and width must be at least 1"),
        ("uint8", {"height": 5}, r"Uint8Conv: packed has shape \[1, 46, 64\], it must be \[N, 51, whole blocks\]"),
        ("bfloat16", {"kernel": 1}, r"weight has shape \[1, 9, 1, 2, 16, 64\], it must be \[1, 1, 1, 2, 16, 64\]"),
    ],
)
def test_what_does_not_fit_is_refused(dots, kind, change, message):
    with pytest.raises(Exception, match=message):
        convolved(dots, kind, Case.of(kind, (1, 8, 4, 4, 4), 3), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "float8"}, "Pack: type 'float8' is not one of uint8, bfloat16"),
        ({"step": 0.0}, "Pack: step must be positive"),
        ({"step": float("nan")}, "Pack: step must be positive"),
        ({"zero": 256}, "Pack: zero is 256, it must be 0 to 255"),
    ],
)
def test_packing_refuses_what_it_cannot(dots, change, message):
    with pytest.raises(Exception, match=message):
        packed(dots, "uint8", np.zeros((1, 2, 3, 3), np.float32), **change)


def test_a_residual_of_another_shape_is_refused(dots):
    case = Case.of("uint8", (2, 8, 6, 4, 4), 3)
    wrong = Case(case.x, case.weight, case.bias, case.residual[:1], case.factor)
    with pytest.raises(Exception, match=r"residual has shape \[1, 6, 4, 4\], it must be \[2, 6, 4, 4\]"):
        convolved(dots, "uint8", wrong)


def test_the_layout_has_words_of_four_bytes_in_tiles_of_sixteen_outputs():
    weight = np.arange(40 * 70 * 9, dtype=np.uint16).reshape(40, 70, 3, 3)
    rows = packed_weight(weight)
    assert rows.shape == (2, 9, 3, 2, 16, 64)
    words = rows.view(np.uint16).reshape(2, 9, 3, 2, 16, 16, 2)
    # Output 37 = 1 x 32 + 0 x 16 + 5, channel 69 = 2 x 32 + 2 x 2 + 1, tap 7 = 2 x 3 + 1.
    assert words[1, 7, 2, 0, 2, 5, 1] == weight[37, 69, 2, 1]
    assert not words[1, :, :, 1].any() and not words[:, :, 2, :, 3:].any()
    assert np.count_nonzero(rows) == np.count_nonzero(weight.view(np.uint8))


def test_bits_of_bfloat16_round_ties_to_even():
    values = np.array([1.0, 1.00390625, 1.01171875, -3.3e38, 1e-40], np.float32)
    expected = torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
    np.testing.assert_array_equal(bfloat16_bits(values), expected)
