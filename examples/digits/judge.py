"""Judge a generator checkpoint by the images of many seeds.

python examples/digits/judge.py ddgan_deploy/data/digits.pth
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from generate import generate

from ddgan_deploy.checkpoint import load_checkpoint
from ddgan_deploy.data import split_digits
from ddgan_deploy.families.ddgan.schedule import Schedule
from ddgan_deploy.quality import Quality, judge

STEPS = 4
"""T, for which the digits are trained."""


@dataclass(frozen=True)
class Verdict:
    """Figures of generated digits, and of real ones that the judge has not seen.

    Attributes:
        generated: the images of some seeds against the real training digits.
        real: the held-out real digits against the same.
    """

    generated: Quality
    real: Quality

    @property
    def frechet_ratio(self) -> float:
        """How many times farther from the real ones the generated are than other real ones."""
        return self.generated.frechet / self.real.frechet

    def failures(self) -> list[str]:
        """The bars that are missed, in words; empty where all are met."""
        g = self.generated
        bars = {
            "every class between 5% and 16%": min(g.shares) >= 0.05 and max(g.shares) <= 0.16,
            "mean confidence at least 0.85": g.confidence >= 0.85,
            "precision at least 0.7": g.precision >= 0.7,
            "recall at least 0.5": g.recall >= 0.5,
            "Fréchet distance at most 6 times that of real digits": self.frechet_ratio <= 6,
        }
        return [bar for bar, met in bars.items() if not met]


def verdict(images: npt.NDArray[np.uint8]) -> Verdict:
    """Judge images, uint8 [N, 16, 16, 1]."""
    train, test = split_digits()
    return Verdict(judge(images, train.images), judge(test.images, train.images))


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge a generator by the images of many seeds.")
    parser.add_argument("checkpoint", type=Path, help="netG_<epoch>.pth or content.pth")
    parser.add_argument("--seeds", type=int, default=2000, help="how many, from 0")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    generator = load_checkpoint(options.checkpoint).generator()
    result = verdict(generate(generator, Schedule(STEPS), range(options.seeds)))
    figures = {
        "seeds": options.seeds,
        "generated": result.generated.as_dict(),
        "real": result.real.as_dict(),
        "frechet_ratio": result.frechet_ratio,
        "missed": result.failures(),
    }
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
