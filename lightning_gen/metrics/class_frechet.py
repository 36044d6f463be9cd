"""Fréchet distance within each class (intra-class FID), https://arxiv.org/abs/1802.05637, section 4."""

import math
from typing import Any

import torch
from torch import Tensor

from lightning_gen.metrics.frechet import frechet_distance
from lightning_gen.metrics.image_metric import why_no_labels
from lightning_gen.metrics.stored_features import StoredFeaturesMetric, concat


class ClassFrechet(StoredFeaturesMetric):
    """Mean over classes of the Fréchet distance between samples conditioned on a class and its real images.

    Classes with fewer than two images on a side are left out and listed in the protocol. The curve has the distance of
    each class. Distances grow as images get fewer: compare equal numbers of images only.
    """

    better = {"class_frechet": "lower"}
    needs_labels = True

    def __init__(self):
        super().__init__()
        self.by_class: list[float] = []
        self.used: dict[str, Any] = {}

    def why_not(self, model: Any, data: Any) -> str | None:
        """Both sides must have labels."""
        return why_no_labels(model, data)

    def compare(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        real_labels, fake_labels = concat(self.real_labels), concat(self.fake_labels)
        classes = int(max(real_labels.max(), fake_labels.max())) + 1
        counts = torch.stack([labels.bincount(minlength=classes) for labels in (real_labels, fake_labels)]).amin(0)
        self.by_class = [
            frechet_distance_of(real[real_labels == label], fake[fake_labels == label]).item()
            if count > 1
            else math.nan
            for label, count in enumerate(counts.tolist())
        ]
        distances = [distance for distance in self.by_class if not math.isnan(distance)]
        self.used = {
            "classes": len(distances),
            "fewest_images": int(counts[counts > 1].min()) if distances else 0,
            "classes_left_out": [label for label, count in enumerate(counts.tolist()) if count < 2],
        }
        return {"class_frechet": torch.tensor(distances, dtype=torch.float64).mean()}  # NaN without a class

    def curves(self) -> dict[str, list[float]]:
        """The distance of each class."""
        return {"class_frechet": self.by_class} if self.by_class else {}

    def protocol(self) -> dict[str, Any]:
        """Number of classes compared, smallest number of images, and classes left out."""
        return self.used


def frechet_distance_of(real: Tensor, fake: Tensor) -> Tensor:
    """Fréchet distance of features `(N, d)` and `(M, d)`.

    With fewer images than features, Tr((S1 S2)^(1/2)) is the sum of the singular values of the small matrix `X1 X2^T`,
    where X is the centered features divided by sqrt(N - 1).
    """
    real, fake = real.double(), fake.double()
    if min(len(real), len(fake)) > real.shape[1]:
        covariances = [torch.atleast_2d(side.T.cov()) for side in (real, fake)]
        return frechet_distance(real.mean(0), covariances[0], fake.mean(0), covariances[1])
    centered = [(side - side.mean(0)) / math.sqrt(len(side) - 1) for side in (real, fake)]
    trace = torch.linalg.svdvals(centered[0] @ centered[1].T).sum()
    variances = sum(side.square().sum() for side in centered)
    return ((real.mean(0) - fake.mean(0)).square().sum() + variances - 2 * trace).clamp(min=0)
