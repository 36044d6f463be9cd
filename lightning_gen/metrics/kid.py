"""Kernel distance: unbiased squared MMD with a cubic kernel, https://arxiv.org/abs/1801.01401, section 4."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance
from torchmetrics.utilities import dim_zero_cat

from lightning_gen.bounds import PositiveInt
from lightning_gen.metrics.image_metric import FeatureMetric
from lightning_gen.randomness import preserved_rng, seed_all


class KernelDistance(FeatureMetric, KernelInceptionDistance):
    """torchmetrics' KID on features that are already there: the mean over `subsets` of `subset_size` images.

    With fewer images than `subset_size` a subset is all of the smaller set. The subsets depend on `seed` alone. Keeps
    all features: 5 KB an image with 1280 of them.
    """

    better = {"kid": "lower"}

    def __init__(self, subsets: PositiveInt = 100, subset_size: PositiveInt = 1000, seed: int = 0):
        with warnings.catch_warnings():  # torchmetrics warns of the memory
            warnings.simplefilter("ignore")
            super().__init__(feature=nn.Identity(), subsets=subsets, subset_size=subset_size)
        # torchmetrics exchanges these batch by batch, which hangs if one process has more batches than another.
        for state in ("real_features", "fake_features"):
            self.add_state(state, [], dist_reduce_fx="cat")
        self.seed = seed
        self.asked = {"subsets": subsets, "subset_size": subset_size}
        self.used = dict(self.asked)

    def update(self, features: Tensor, real: bool) -> None:
        """Take in features `(B, d)`."""
        KernelInceptionDistance.update(self, features, real)

    def compute(self) -> dict[str, Tensor]:
        """The distance; NaN with fewer than two images on a side."""
        real, fake = len(dim_zero_cat(self.real_features)), len(dim_zero_cat(self.fake_features))
        self.subset_size = min(self.asked["subset_size"], real, fake)
        # Subsets of everything are all the same one.
        self.subsets = 1 if self.subset_size == real == fake else self.asked["subsets"]
        self.used = {"subsets": self.subsets, "subset_size": self.subset_size}
        if self.subset_size < 2:
            return {"kid": torch.tensor(torch.nan)}
        with preserved_rng():
            seed_all("kid", self.seed)
            mean, _ = KernelInceptionDistance.compute(self)
        return {"kid": mean}

    def protocol(self) -> dict[str, Any]:
        """Subsets as they were, with the size capped by the number of images."""
        return {**self.used, "kernel": "(x.y / d + 1)^3", "seed": self.seed}
