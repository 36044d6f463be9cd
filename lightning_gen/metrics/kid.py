"""Kernel distance: unbiased squared MMD with a cubic kernel, https://arxiv.org/abs/1801.01401, section 4."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.metrics.kernel import means_across, means_within
from lightning_gen.metrics.stored_features import StoredFeaturesMetric, all_finite, concat
from lightning_gen.randomness import generator, preserved_rng, seed_all

PAIRS = 10  # of disjoint subsets of real images


class KernelDistance(StoredFeaturesMetric):
    """Mean over `subsets` of the squared MMD of `subset_size` real and generated images, k(x, y) = (x.y / d + 1)^3.

    If one side has fewer images, subsets have the size of the smaller side. They depend on `seed` alone. As in the
    paper, subsets are the default, so that scores are comparable with published ones. `subsets=0` is the unbiased
    estimate from all images, which the mean over ever more subsets approaches: it scatters least, and its cost grows
    with the square of the number of images.
    """

    better = {"kid": "lower"}

    def __init__(self, subsets: NonNegativeInt = 100, subset_size: PositiveInt = 1000, seed: int = 0):
        super().__init__()
        self.subsets = subsets
        self.subset_size = subset_size
        self.seed = seed
        self.used: dict[str, int] = {"subsets": subsets, "subset_size": subset_size}

    def compute(self) -> dict[str, Tensor]:
        """The distance; NaN with fewer than two images on a side."""
        num_real, num_fake = len(concat(self.real_features)), len(concat(self.fake_features))
        size = min(self.subset_size, num_real, num_fake)
        subsets = 1 if size == num_real == num_fake else self.subsets  # all subsets are the whole sets
        self.used = {"subsets": subsets, "subset_size": size} if self.subsets else {"subsets": 0}
        return super().compute()

    def compare_parts(self, real: Tensor, fake: Tensor, parts: Tensor) -> list[dict[str, Tensor]]:
        rows, columns = (sets.to(real.device) for sets in self._sets(len(real), parts.shape[1]))
        columns = parts[:, columns]  # (P, S, size)
        across = means_across(real, fake, rows.repeat(len(parts), 1), columns.flatten(0, 1))
        within = means_within(fake, columns.flatten(0, 1))
        estimates = means_within(real, rows) + (within - 2 * across).view(columns.shape[:2])  # (P, S)
        return [{"kid": distance} for distance in estimates.mean(1)]

    def _sets(self, num_real: int, num_fake: int) -> tuple[Tensor, Tensor]:
        """Indices of the real and generated images of each subset, `(S, size)`."""
        size = min(self.subset_size, num_real, num_fake)
        if self.subsets == 0 or size == num_real == num_fake:
            return torch.arange(num_real)[None], torch.arange(num_fake)[None]
        with preserved_rng():
            seed_all("kid", self.seed)
            pairs = [[torch.randperm(n)[:size] for n in (num_real, num_fake)] for _ in range(self.subsets)]
        real, fake = (torch.stack(sets) for sets in zip(*pairs, strict=True))
        return real, fake

    def real_against_real(self) -> dict[str, tuple[float, float, int]]:
        """Of at most `subset_size` images, none of which is in both subsets; for four images and more."""
        real = concat(self.real_features)
        size = min(self.subset_size, len(real) // 2)
        if size < 2 or not all_finite(real):
            return {}
        generators = [generator("real against real", self.seed, pair) for pair in range(PAIRS)]
        orders = torch.stack([torch.randperm(len(real), generator=each)[: 2 * size] for each in generators])
        one, other = orders.to(real.device).chunk(2, 1)
        within = means_within(real, one) + means_within(real, other)
        distances = within - 2 * means_across(real, real, one, other)
        return {"kid": (distances.mean().item(), distances.std().item(), size)}

    def protocol(self) -> dict[str, Any]:
        """Number and size of the subsets used, kernel and seed."""
        return {**self.used, "kernel": "(x.y / d + 1)^3", "seed": self.seed}
