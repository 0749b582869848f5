"""How good generated digits are, judged against real ones.

Everything is measured through a small classifier of real digits: what class an
image is, how sure that is, and where its features lie. The features are to digits
what those of an Inception network are to photographs.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from ddgan_deploy.data import DIGITS_SIZE, digits_classifier
from ddgan_deploy.errors import InputError

if TYPE_CHECKING:
    from torch import nn

CLASSES = 10
NEIGHBOURS = 3
"""k of precision and recall, as in the paper's section 3."""
BATCH = 500

Float64 = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Quality:
    """How images compare with real ones.

    Attributes:
        shares: part of the images in each of the ten classes; they sum to 1.
        entropy: of those shares, in nats; ln 10 = 2.303 where all classes are equally frequent.
        confidence: mean probability of the most probable class, 0..1.
        frechet: Fréchet distance of the features to those of the real images, 0 or more.
        precision: part of the images that lie among the real ones, 0..1.
        recall: part of the real images that lie among the images, 0..1.
    """

    shares: tuple[float, ...]
    entropy: float
    confidence: float
    frechet: float
    precision: float
    recall: float

    def as_dict(self) -> dict[str, object]:
        """The figures as plain data, for JSON."""
        return dataclasses.asdict(self)


class Judgement(NamedTuple):
    """What the classifier sees in N images.

    Attributes:
        probabilities: of the ten classes, float64 [N, 10].
        features: activations before the last layer, float64 [N, 64].
    """

    probabilities: Float64
    features: Float64


def judge(images: Pixels, real: Pixels) -> Quality:
    """The figures of images against real ones.

    Args:
        images: uint8 [N, 16, 16, 1], as the served graph returns them.
        real: uint8 [M, 16, 16, 1].

    Raises:
        InputError: an array of another type or shape, or one too short for its figures.
    """
    from scipy.stats import entropy

    seen, reference = classify(images), classify(real)
    counts = np.bincount(seen.probabilities.argmax(axis=1), minlength=CLASSES)
    shares = counts / counts.sum()
    precision, recall = precision_recall(reference.features, seen.features)
    return Quality(
        shares=tuple(shares.tolist()),
        entropy=float(entropy(shares)),
        confidence=float(seen.probabilities.max(axis=1).mean()),
        frechet=frechet_distance(reference.features, seen.features),
        precision=precision,
        recall=recall,
    )


def classify(images: Pixels) -> Judgement:
    """Classes and features of images, uint8 [N, 16, 16, 1].

    Raises:
        InputError: images of another type or shape.
    """
    import torch
    from safetensors.torch import load_file

    expected = (DIGITS_SIZE, DIGITS_SIZE, 1)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
        raise InputError(
            f"images of type {images.dtype} and shape {list(images.shape)} cannot be judged: "
            f"give uint8 [N, {', '.join(map(str, expected))}]"
        )
    model = build_classifier()
    model.load_state_dict(load_file(digits_classifier()))
    model.eval()
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        features = torch.cat([model[:-1](batch) for batch in torch.split(x, BATCH)])
        probabilities = model[-1](features).double().softmax(dim=1)
    return Judgement(probabilities.numpy(), features.double().numpy())


def build_classifier() -> nn.Sequential:
    """The judge without its weights: images [N, 1, 16, 16] in [-1, 1] -> logits [N, 10].

    All but its last layer give the features, [N, 64].
    """
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (DIGITS_SIZE // 4) ** 2, 64),
        nn.ReLU(),
        nn.Linear(64, CLASSES),
    )


def frechet_distance(a: Float64, b: Float64) -> float:
    """Fréchet distance of two Gaussians with the means and covariances of features [N, D] and [M, D].

    |m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) (Heusel et al. 2017, equation 6).

    Raises:
        InputError: fewer than two rows.
    """
    from scipy.linalg import eigvals

    if min(len(a), len(b)) < 2:
        raise InputError(f"{min(len(a), len(b))} images have no covariance: give 2 or more")
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root, from the eigenvalues of the product: they are real and not negative,
    # but for rounding, even where features are constant and the product has no root.
    overlap = np.sqrt(np.clip(eigvals(cov_a @ cov_b).real, 0, None)).sum()
    means = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return max(float(means + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap), 0.0)


def precision_recall(real: Float64, fake: Float64, k: int = NEIGHBOURS) -> tuple[float, float]:
    """k-nearest-neighbour precision and recall (Kynkäänniemi et al. 2019, equations 1 and 2).

    Precision is the part of the fakes within some real image's distance to its k-th
    neighbour; recall is the same with the sides exchanged.

    Args:
        real: features [N, D].
        fake: features [M, D].

    Raises:
        InputError: k or fewer rows on a side.
    """
    if min(len(real), len(fake)) <= k:
        raise InputError(f"{min(len(real), len(fake))} images have no {k} neighbours each: give {k + 1} or more")
    return _coverage(real, fake, k), _coverage(fake, real, k)


def _coverage(manifold: Float64, points: Float64, k: int) -> float:
    """Part of the points that lie in a ball around a manifold's member up to its k-th neighbour."""
    from sklearn.metrics import pairwise_distances
    from sklearn.neighbors import NearestNeighbors

    radii = NearestNeighbors(n_neighbors=k).fit(manifold).kneighbors()[0][:, -1]
    inside = pairwise_distances(points, manifold) <= radii
    return float(inside.any(axis=1).mean())
