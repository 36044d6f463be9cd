"""Metrics that look at all features at once."""

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lightning_gen.metrics.features import Features
from lightning_gen.metrics.image_metric import FeatureMetric


class KeptFeatures(FeatureMetric):
    """Base of metrics that keep all features, 5 KB an image with 1280 of them, and labels where the images have any.

    Subclasses implement `compare`. All scores are NaN with features that are not finite, or fewer than `fewest` images
    on a side.
    """

    fewest = 2

    real_features: list[Tensor]
    fake_features: list[Tensor]
    real_labels: list[Tensor]
    fake_labels: list[Tensor]

    def __init__(self):
        super().__init__()
        for kind in ("real", "fake"):
            for state in ("features", "labels"):
                self.add_state(f"{kind}_{state}", [], dist_reduce_fx="cat")

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """The scores of features `(N, d)` and `(M, d)`."""
        raise NotImplementedError

    def see_real(self, features: Features) -> None:
        """Take in the real images."""
        self.update(features.values, real=True, labels=features.labels)

    def see_fake(self, features: Features) -> None:
        """Take in the samples."""
        self.update(features.values, real=False, labels=features.labels)

    def update(self, features: Tensor, real: bool, labels: Tensor | None = None) -> None:
        """Take in features `(B, d)`, and labels `(B,)`: all images of a side have one, or none has."""
        (self.real_features if real else self.fake_features).append(features)
        if labels is not None:
            (self.real_labels if real else self.fake_labels).append(labels)

    def compute(self) -> dict[str, Tensor]:
        """The scores, or NaN."""
        sides = [together(features) for features in (self.real_features, self.fake_features)]
        if any(side is None or len(side) < self.fewest or not all_finite(side) for side in sides):
            return dict.fromkeys(self.better, torch.tensor(torch.nan))
        return self.compare(*sides)


def together(parts: list[Tensor] | Tensor) -> Tensor | None:
    """A state that is a list of tensors, or what processes made one of, as one tensor; None if nothing is in it."""
    return dim_zero_cat(parts) if len(parts) else None


def all_finite(features: Tensor) -> bool:
    """Whether no value is NaN or infinite, without a copy: `isfinite` makes several, of 400 MB with 50k x 2048."""
    return all(bool(bound.isfinite()) for bound in features.aminmax())  # both are NaN if any value is
