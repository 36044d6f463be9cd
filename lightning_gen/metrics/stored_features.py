"""Metrics that need the features of all images at once."""

import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

from lightning_gen.metrics.features import Features
from lightning_gen.metrics.image_metric import FeatureMetric
from lightning_gen.utilities.renames import renamed

__getattr__ = renamed(__name__)


class StoredFeaturesMetric(FeatureMetric):
    """Base of metrics that store all features (5 KB per image with 1280 features), and labels if the images have any.

    Subclasses implement `compare`. All scores are NaN with features that are not finite, or fewer than `min_images`
    images on a side.
    """

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

    def update_real(self, features: Features) -> None:
        """Add the features and labels of the real images."""
        self.update(features.values, real=True, labels=features.labels)

    def update_fake(self, features: Features) -> None:
        """Add the features and labels of the samples."""
        self.update(features.values, real=False, labels=features.labels)

    def update(self, features: Tensor, real: bool, labels: Tensor | None = None) -> None:
        """Add features `(B, d)` and labels `(B,)`; labels for all images of a side, or for none."""
        (self.real_features if real else self.fake_features).append(features)
        if labels is not None:
            (self.real_labels if real else self.fake_labels).append(labels)

    def compute(self) -> dict[str, Tensor]:
        """The scores, or NaN."""
        real, fake = concat(self.real_features), concat(self.fake_features)
        if any(len(side) < self.min_images or not all_finite(side) for side in (real, fake)):
            return dict.fromkeys(self.better, torch.tensor(torch.nan))
        return self.compare(real, fake)


def concat(parts: list[Tensor] | Tensor) -> Tensor:
    """A list state, or its reduction over processes, as one tensor; `(0,)` if it is empty."""
    return dim_zero_cat(parts) if len(parts) else torch.zeros(0)


def all_finite(features: Tensor) -> bool:
    """Whether no value is NaN or infinite; unlike `isfinite`, without copies (400 MB for 50k x 2048)."""
    return all(bool(bound.isfinite()) for bound in features.aminmax())  # both are NaN if any value is
