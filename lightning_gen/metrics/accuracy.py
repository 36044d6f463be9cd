"""Accuracy of a classifier (`model=classifier`) on real images, over images and over classes."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.capabilities import Classifies
from lightning_gen.metrics.image_metric import PairedMetric


class Accuracy(PairedMetric):
    """Top-1 accuracy of the evaluated model itself, and its mean over classes (classes without images are left out).

    Of samples, `ClassScores` gives the agreement with a given classifier, and `ClassificationAccuracy` the accuracy of
    a classifier trained on them.
    """

    needs = "classify"
    needs_labels = True
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

    def update_from(self, model: Classifies, batch: Batch) -> None:
        """Classify a batch."""
        assert batch.labels is not None  # `why_not` excludes data without labels
        self.update(model.classify(batch.images), batch.labels)

    def update(self, probabilities: Tensor, labels: Tensor) -> None:
        """Add probabilities `(B, num_classes)` and true labels `(B,)`."""
        probabilities, labels = probabilities.to(self.count.device), labels.to(self.count.device)
        correct = labels[probabilities.argmax(1) == labels]
        self.count += labels.bincount(minlength=len(self.count))
        self.correct += correct.bincount(minlength=len(self.count))

    def compute(self) -> dict[str, Tensor]:
        """Accuracy and mean recall; NaN without images."""
        present = self.count > 0
        recall = self.correct[present].double() / self.count[present]
        return {"accuracy": self.correct.sum().double() / self.count.sum(), "mean_recall": recall.mean()}
