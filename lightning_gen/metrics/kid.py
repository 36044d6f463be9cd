"""Kernel distance: unbiased squared MMD with a cubic kernel, https://arxiv.org/abs/1801.01401, section 4."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

from lightning_gen.bounds import PositiveInt
from lightning_gen.metrics.stored_features import StoredFeaturesMetric, all_finite, concat
from lightning_gen.randomness import generator, preserved_rng, seed_all

PAIRS = 10  # of disjoint subsets of real images


class KernelDistance(StoredFeaturesMetric):
    """Mean over `subsets` of the squared MMD of `subset_size` real and generated images, k(x, y) = (x.y / d + 1)^3.

    If one side has fewer images, subsets have the size of the smaller side. They depend on `seed` alone.
    """

    better = {"kid": "lower"}

    def __init__(self, subsets: PositiveInt = 100, subset_size: PositiveInt = 1000, seed: int = 0):
        super().__init__()
        self.subsets = subsets
        self.subset_size = subset_size
        self.seed = seed
        self.used = {"subsets": subsets, "subset_size": subset_size}

    def compute(self) -> dict[str, Tensor]:
        """The distance; NaN with fewer than two images on a side."""
        num_real, num_fake = len(concat(self.real_features)), len(concat(self.fake_features))
        size = min(self.subset_size, num_real, num_fake)
        subsets = 1 if size == num_real == num_fake else self.subsets  # all subsets are the whole sets
        self.used = {"subsets": subsets, "subset_size": size}
        return super().compute()

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        estimates = [
            poly_mmd(real[rows], fake[others]) for rows, others in self._subsets(len(real), len(fake)).to(real.device)
        ]
        return {"kid": torch.stack(estimates).mean()}

    def _subsets(self, num_real: int, num_fake: int) -> Tensor:
        """Indices of the images of each subset, `(subsets, 2, size)`; together, as each copy to a device is a wait."""
        size = self.used["subset_size"]
        with preserved_rng():
            seed_all("kid", self.seed)
            pairs = [[torch.randperm(n)[:size] for n in (num_real, num_fake)] for _ in range(self.used["subsets"])]
        return torch.stack([torch.stack(pair) for pair in pairs])

    def real_against_real(self) -> dict[str, tuple[float, float, int]]:
        """Of at most `subset_size` images, none of which is in both subsets; for four images and more."""
        real = concat(self.real_features)
        size = min(self.subset_size, len(real) // 2)
        if size < 2 or not all_finite(real):
            return {}
        values = []
        for pair in range(PAIRS):
            order = torch.randperm(len(real), generator=generator("real against real", self.seed, pair))
            one, other = order.to(real.device)[: 2 * size].chunk(2)
            values.append(poly_mmd(real[one], real[other]))
        distances = torch.stack(values)
        return {"kid": (distances.mean().item(), distances.std().item(), size)}

    def protocol(self) -> dict[str, Any]:
        """Number and size of the subsets used, kernel and seed."""
        return {**self.used, "kernel": "(x.y / d + 1)^3", "seed": self.seed}
