"""Memorization-informed Fréchet distance, https://arxiv.org/abs/2106.03062, section 4.1."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.frechet import FrechetDistance
from lightning_gen.metrics.kept_features import together
from lightning_gen.metrics.neighbors import BLOCK

TINY = 1e-14  # keeps copies of the whole training set from a division by zero


class MemorizationInformedFrechet(FrechetDistance):
    """The Fréchet distance from real images, over the mean cosine distance of samples to their nearest training image
    if that is below `threshold`.

    The paper has one set for both; here that is what `split=train` gives. Keeps the features of samples and training
    images, 5 KB an image with 1280 of them.
    """

    better = {"mifid": "lower"}
    needs_training_set = True

    real_training: list[Tensor]
    fake_features: list[Tensor]

    def __init__(self, threshold: NonNegativeFloat = 0.1):
        super().__init__()
        self.threshold = threshold
        for state in ("real_training", "fake_features"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def see_training_set(self, features: Features) -> None:
        """Take in the images that the model has learned from."""
        self.update_training(features.values)

    def update_training(self, features: Tensor) -> None:
        """Take in features `(B, d)` of training images."""
        self.real_training.append(features)

    def update(self, features: Tensor, real: bool) -> None:
        """Take in features `(B, d)`."""
        super().update(features, real)
        if not real:
            self.fake_features.append(features)

    def compute(self) -> dict[str, Tensor]:
        """The penalized distance; NaN where the Fréchet distance is."""
        frechet = super().compute()["frechet"]
        training = together(self.real_training)
        if training is None or frechet.isnan():
            return {"mifid": torch.full_like(frechet, torch.nan)}
        distance = cosine_distances(together(self.fake_features), training).mean()
        return {"mifid": frechet / (distance + TINY) if distance < self.threshold else frechet}

    def protocol(self) -> dict[str, Any]:
        """When the distance is penalized."""
        return {"penalised_below_cosine_distance": self.threshold, "memorization_of": "the training set"}


def cosine_distances(features: Tensor, others: Tensor) -> Tensor:
    """Of each feature `(N, d)` to the nearest of `others` `(M, d)`, `1 - |cos|`, `(N,)`, in blocks and float64."""
    largest = features.new_zeros(len(features), dtype=torch.float64)
    for rows in torch.arange(len(features), device=features.device).split(BLOCK):
        these = F.normalize(features[rows].double(), dim=1)
        for part in others.split(BLOCK):
            cosines = these @ F.normalize(part.double(), dim=1).T
            largest[rows] = torch.maximum(largest[rows], cosines.abs().amax(1))
    return (1 - largest).clamp(min=0)
