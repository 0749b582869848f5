"""Quality figures on distributions whose figures are known."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import numpy.typing as npt
import pytest

from ddgan_deploy.data import Digits, digits_classifier, real_digits, split_digits
from ddgan_deploy.errors import InputError
from ddgan_deploy.quality import Quality, classify, frechet_distance, judge, precision_recall

LN_10 = 2.302585


@pytest.fixture(scope="module")
def split() -> tuple[Digits, Digits]:
    return split_digits()


@pytest.fixture(scope="module")
def held_out(split: tuple[Digits, Digits]) -> Quality:
    """Real digits against other real digits."""
    train, test = split
    return judge(test.images, train.images)


def test_real_digits_have_the_form_of_the_served_graph() -> None:
    images, labels = real_digits()
    assert images.shape == (1797, 16, 16, 1)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert np.bincount(labels).min() > 170


def test_the_split_is_a_stratified_partition(split: tuple[Digits, Digits]) -> None:
    train, test = split
    assert (len(train.images), len(test.images)) == (1347, 450)
    assert np.bincount(test.labels).min() >= 43
    together = np.concatenate([train.images, test.images]).reshape(1797, -1)
    everything = real_digits().images.reshape(1797, -1)
    np.testing.assert_array_equal(np.sort(together.sum(1)), np.sort(everything.sum(1)))


def test_the_classifier_is_right_on_digits_it_has_not_seen(split: tuple[Digits, Digits]) -> None:
    test = split[1]
    predicted = classify(test.images).probabilities.argmax(axis=1)
    assert (predicted == test.labels).mean() >= 0.97
    assert digits_classifier().stat().st_size < 400_000


def test_an_image_is_classified_alike_alone_and_in_a_batch(split: tuple[Digits, Digits]) -> None:
    images = split[1].images[:5]
    together, alone = classify(images), classify(images[3:4])
    np.testing.assert_allclose(alone.features[0], together.features[3], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(together.probabilities.sum(axis=1), 1)


def test_real_digits_are_close_to_real_digits(held_out: Quality) -> None:
    assert held_out.entropy == pytest.approx(LN_10, abs=0.01)
    assert sum(held_out.shares) == pytest.approx(1)
    assert held_out.confidence > 0.95
    assert held_out.precision > 0.85
    assert held_out.recall > 0.85


def test_digits_against_themselves_are_perfect(split: tuple[Digits, Digits]) -> None:
    images = split[1].images
    quality = judge(images, images)
    assert quality.frechet == pytest.approx(0, abs=1e-6)
    assert (quality.precision, quality.recall) == (1, 1)


def test_noise_is_far_from_digits(split: tuple[Digits, Digits], held_out: Quality) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (500, 16, 16, 1), np.uint8)
    quality = judge(noise, split[0].images)
    assert quality.frechet > 20 * held_out.frechet
    assert quality.precision < 0.1
    assert quality.recall < 0.1


def test_one_class_alone_is_a_collapse(split: tuple[Digits, Digits], held_out: Quality) -> None:
    train, test = split
    threes = test.images[test.labels == 3]
    quality = judge(threes, train.images)
    assert quality.shares[3] > 0.95
    assert quality.entropy < 0.2
    assert quality.precision > 0.85
    assert quality.recall < 0.2
    assert quality.frechet > 6 * held_out.frechet


def test_blurred_digits_are_farther_than_sharp_ones(split: tuple[Digits, Digits], held_out: Quality) -> None:
    train, test = split
    padded = np.pad(test.images, ((0, 0), (2, 2), (2, 2), (0, 0))).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(1, 2))
    quality = judge(windows.mean(axis=(-2, -1)).astype(np.uint8), train.images)
    assert quality.frechet > 2 * held_out.frechet
    assert quality.confidence < held_out.confidence


def features(seed: int, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=shape)


def test_frechet_distance_of_a_shift_is_its_square() -> None:
    a = features(0, (200, 5))
    shift = np.array([3.0, 0, 0, 4, 0])
    assert frechet_distance(a, a + shift) == pytest.approx(25, rel=1e-9)


def test_frechet_distance_of_a_scaling_is_the_trace_of_the_covariance() -> None:
    a = features(1, (200, 5))
    a -= a.mean(axis=0)
    trace = np.trace(np.cov(a, rowvar=False))
    # S_b = 9 S_a, so tr(S_a + 9 S_a - 2 * 3 S_a) = 4 tr S_a.
    assert frechet_distance(a, 3 * a) == pytest.approx(4 * trace, rel=1e-9)


def test_frechet_distance_is_symmetric_and_stands_constant_features() -> None:
    a, b = features(2, (50, 4)), features(3, (70, 4)) * [1, 2, 3, 1]
    a[:, 3] = b[:, 3] = 0
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    without = frechet_distance(a[:, :3], b[:, :3])
    assert frechet_distance(a, b) == pytest.approx(without, rel=1e-6)


def test_precision_and_recall_on_a_line() -> None:
    real = np.array([[0.0], [1], [2], [3]])
    fake = np.array([[0.5], [0.75], [1.0], [100.0]])
    # k = 1: every real ball has radius 1; fake balls have radius 0.25, 0.25, 0.25 and 99.
    assert precision_recall(real, fake, k=1) == (0.75, 0.75)
    near = fake[:3]
    # Without the outlier, whose ball reached to 1 alone, only 1 is still reached.
    assert precision_recall(real, near, k=1) == (1.0, 0.25)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((5, 16, 16, 1), np.float32),
        np.zeros((5, 1, 16, 16), np.uint8),
        np.zeros((5, 32, 32, 1), np.uint8),
        np.zeros((16, 16, 1), np.uint8),
    ],
)
def test_other_images_cannot_be_judged(images: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match=r"uint8 \[N, 16, 16, 1\]"):
        classify(images)


def test_too_few_images_have_no_figures() -> None:
    with pytest.raises(InputError, match="4 or more"):
        precision_recall(features(0, (3, 2)), features(1, (9, 2)))
    with pytest.raises(InputError, match="2 or more"):
        frechet_distance(features(0, (1, 2)), features(1, (9, 2)))


def test_importing_the_module_loads_no_library_that_judges() -> None:
    code = "import sys, ddgan_deploy.quality; print(*({'torch', 'sklearn', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
