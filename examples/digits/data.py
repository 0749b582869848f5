"""The real digits as the training loop draws them."""

from __future__ import annotations

import torch

from ddgan_deploy.data import real_digits


def training_images() -> torch.Tensor:
    """All real digits, float32 [1797, 1, 16, 16] in [-1, 1]."""
    images = torch.from_numpy(real_digits().images)
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


class Batches:
    """Batches by step number: every epoch is one permutation, its last partial batch left out.

    What step n draws depends on n and the seed alone, so a resumed run draws what
    the uninterrupted one would have.
    """

    def __init__(self, images: torch.Tensor, batch_size: int, seed: int) -> None:
        if not 0 < batch_size <= len(images):
            raise ValueError(f"batch size {batch_size} is out of range: give 1..{len(images)}")
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self.per_epoch = len(images) // batch_size
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to, from 0."""
        return step // self.per_epoch

    def __getitem__(self, step: int) -> torch.Tensor:
        """The batch [batch_size, 1, 16, 16] of a step."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self.images), generator=generator)
            self._epoch = epoch
        return self.images[self._order[position * self.batch_size :][: self.batch_size]]
