"""How often a classifier is right, over all images and as a mean over classes."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.metrics.image_metric import PairedMetric


class Accuracy(PairedMetric):
    """The share of images whose most probable class is theirs, and the mean of that share by class.

    Classes that no image has are left out of the mean.
    """

    needs = "classify"
    better = {"accuracy": "higher", "mean_recall": "higher"}

    correct: Tensor
    count: Tensor

    def why_not(self, model: Any, data: Any) -> str | None:
        return None if data.num_classes else f"needs labels, and data={data.name} has none"

    def start(self, data: Any, split: str) -> None:
        for state in ("correct", "count"):
            zeros = torch.zeros(data.num_classes, dtype=torch.int64, device=self.device)
            self.add_state(state, zeros, dist_reduce_fx="sum")
        super().start(data, split)

    def observe(self, model: Any, batch: Batch) -> None:
        """Classify a batch."""
        self.update(model.classify(batch.images), batch.labels)

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Take in probabilities `(B, num_classes)` and the true labels `(B,)`."""
        probabilities, labels = probabilities.to(self.count.device), labels.to(self.count.device)
        right = labels[probabilities.argmax(1) == labels]
        self.count += labels.bincount(minlength=len(self.count))
        self.correct += right.bincount(minlength=len(self.count))

    def compute(self) -> dict[str, Tensor]:
        """Both shares; NaN without images."""
        there = self.count > 0
        recall = self.correct[there].double() / self.count[there]
        return {"accuracy": self.correct.sum().double() / self.count.sum(), "mean_recall": recall.mean()}
