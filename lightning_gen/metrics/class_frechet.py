"""Fréchet distance within each class (intra-class FID), https://arxiv.org/abs/1802.05637, section 4."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.metrics.frechet import distances_of_parts, gaussian_of
from lightning_gen.metrics.image_metric import why_no_labels
from lightning_gen.metrics.stored_features import StoredFeaturesMetric, concat

SIDES = ("real", "fake")


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
        everything = torch.arange(len(fake), device=fake.device)[None]
        (self.by_class,) = self._by_class(real, fake, everything).tolist()
        counts = torch.stack([self._labels(side).bincount(minlength=len(self.by_class)) for side in SIDES]).amin(0)
        self.used = {
            "classes": int((counts > 1).sum()),
            "fewest_images": int(counts[counts > 1].min()) if (counts > 1).any() else 0,
            "classes_left_out": [label for label, count in enumerate(counts.tolist()) if count < 2],
        }
        return {"class_frechet": torch.tensor(self.by_class, dtype=torch.float64).nanmean()}  # NaN without a class

    def compare_parts(self, real: Tensor, fake: Tensor, parts: Tensor) -> list[dict[str, Tensor]]:
        return [{"class_frechet": distance} for distance in self._by_class(real, fake, parts).nanmean(1)]

    def _labels(self, side: str) -> Tensor:
        return concat(getattr(self, f"{side}_labels"))

    def _by_class(self, real: Tensor, fake: Tensor, parts: Tensor) -> Tensor:
        """Distances `(P, C)` of each class; NaN with fewer than two images on a side."""
        real_labels, fake_labels = (self._labels(side) for side in SIDES)
        classes = int(max(real_labels.max(), fake_labels.max())) + 1
        members = torch.zeros(len(parts), len(fake), dtype=torch.bool, device=fake.device).scatter_(1, parts, True)
        found = torch.full((len(parts), classes), torch.nan, dtype=torch.float64)
        for label in range(classes):
            reals, fakes = real[real_labels == label], fake[fake_labels == label]
            indices = [row.nonzero().flatten() for row in members[:, fake_labels == label]]
            used = [part for part, index in enumerate(indices) if min(len(index), len(reals)) > 1]
            if used:
                distances = distances_of_parts(*gaussian_of(reals), fakes, [indices[part] for part in used])
                found[used, label] = torch.stack(list(distances)).to(found.device)
        return found

    def curves(self) -> dict[str, list[float]]:
        """The distance of each class."""
        return {"class_frechet": self.by_class} if self.by_class else {}

    def protocol(self) -> dict[str, Any]:
        """Number of classes compared, smallest number of images, and classes left out."""
        return self.used


def frechet_distance_of(real: Tensor, fake: Tensor) -> Tensor:
    """Fréchet distance of features `(N, d)` and `(M, d)`."""
    return next(distances_of_parts(*gaussian_of(real), fake, [torch.arange(len(fake), device=fake.device)]))
