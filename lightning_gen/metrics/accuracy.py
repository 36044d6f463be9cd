"""Accuracy of a classifier (`model=classifier`) on real images: over all, of each class, and where it is wrong."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from lightning_gen.batch import Batch
from lightning_gen.capabilities import Classifies
from lightning_gen.images import MODES, to_uint8
from lightning_gen.metrics.class_pictures import confusion_picture, mistakes_picture
from lightning_gen.metrics.image_metric import PairedMetric, Table
from lightning_gen.metrics.stored_features import concat
from lightning_gen.sampling.captions import class_caption

MOST_MISTAKES = 64  # images of the picture of mistakes
MOST_CLASSES = 200  # of a confusion matrix that is written


class Accuracy(PairedMetric):
    """Top-1 accuracy of the evaluated model itself, and the means over classes of precision, recall and F1.

    Means are over the classes that have images. The tables have the scores of each class and the confusion matrix, the
    pictures the matrix and the wrongly classified images of the highest probability. The standard error of the accuracy
    p of n images is that of a binomial distribution, sqrt(p (1 - p) / n).

    Of samples, `ClassScores` gives the agreement with a given classifier, and `ClassificationAccuracy` the accuracy of
    a classifier trained on them.
    """

    needs = "classify"
    needs_labels = True
    better = {"accuracy": "higher", "mean_precision": "higher", "mean_recall": "higher", "mean_f1": "higher"}

    confusion: Tensor  # images by true and by predicted class
    images: list[Tensor]  # those of mistakes, with true class, predicted class and its probability
    true: list[Tensor]
    predicted: list[Tensor]
    probability: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.counts = torch.zeros(0, 0)  # `confusion` of all processes
        self.mistakes: list[Tensor] = []

    def why_not(self, model: Any, data: Any) -> str | None:
        return None if data.num_classes else f"needs labels, and data={data.name} has none"

    def start(self, data: Any, split: str) -> None:
        self.names = list(data.class_names)
        zeros = torch.zeros(data.num_classes, data.num_classes, dtype=torch.int64, device=self.device)
        self.add_state("confusion", zeros, dist_reduce_fx="sum")
        for state in ("images", "true", "predicted", "probability"):
            self.add_state(state, [], dist_reduce_fx="cat")
        super().start(data, split)
        # so that a process without mistakes can take part in the reduction
        self._add(torch.zeros(0, *data.image_shape), zeros[0, :0], zeros[0, :0], torch.zeros(0))

    def update_from(self, model: Classifies, batch: Batch) -> None:
        """Classify a batch."""
        assert batch.labels is not None  # `why_not` excludes data without labels
        self.update(model.classify(batch.images), batch.labels, batch.images)

    def update(self, probabilities: Tensor, labels: Tensor, images: Tensor | None = None) -> None:
        """Add probabilities `(B, num_classes)` and true labels `(B,)` of images `(B, C, H, W)` in [-1, 1]."""
        highest, predicted = probabilities.to(self.confusion.device).max(1)
        labels = labels.to(predicted.device)
        self.confusion += multiclass_confusion_matrix(predicted, labels, len(self.confusion), validate_args=False)
        if images is not None:
            wrong = predicted != labels
            self._add(images.to(wrong.device)[wrong], labels[wrong], predicted[wrong], highest[wrong])

    def _add(self, images: Tensor, true: Tensor, predicted: Tensor, probability: Tensor) -> None:
        """Add mistakes, and keep those of the highest probability."""
        new = {"images": to_uint8(images), "true": true, "predicted": predicted, "probability": probability.float()}
        together = {name: concat([*getattr(self, name), values.to(self.device)]) for name, values in new.items()}
        first = together["probability"].argsort(descending=True, stable=True)[:MOST_MISTAKES]
        for name, values in together.items():
            setattr(self, name, [values[first]])

    def compute(self) -> dict[str, Tensor]:
        """Accuracy and means over classes; NaN without images."""
        self.counts = self.confusion.cpu()
        mistakes = [concat(state).cpu() for state in (self.images, self.true, self.predicted, self.probability)]
        first = mistakes[-1].argsort(descending=True, stable=True)[:MOST_MISTAKES]
        self.mistakes = [values[first] for values in mistakes]
        present = self.confusion.sum(1) > 0
        means = scores_by_class(self.confusion)[:, present].mean(1)
        accuracy = self.confusion.diagonal().sum().double() / self.confusion.sum()
        return {"accuracy": accuracy} | dict(zip(("mean_precision", "mean_recall", "mean_f1"), means, strict=True))

    def standard_errors(self) -> dict[str, float]:
        images = self.counts.sum()
        accuracy = self.counts.diagonal().sum().double() / images
        return {"accuracy": (accuracy * (1 - accuracy) / images).sqrt().item()}

    def tables(self) -> dict[str, Table]:
        """Images and scores of each class, and the confusion matrix."""
        scores = dict(zip(("precision", "recall", "f1"), scores_by_class(self.counts).tolist(), strict=True))
        tables = {"classes": {"class": self.names, "images": self.counts.sum(1).tolist(), **scores}}
        if len(self.names) <= MOST_CLASSES:
            by_prediction = dict(zip(self.names, self.counts.T.tolist(), strict=True))
            tables["confusion_matrix"] = {"true \\ predicted": self.names, **by_prediction}
        return tables

    def pictures(self) -> dict[str, Callable[[], Tensor]]:
        """The confusion matrix, and the wrongly classified images, if they are pictures."""
        drawn: dict[str, Callable[[], Tensor]] = {}
        if len(self.names) <= MOST_CLASSES:
            drawn["confusion_matrix"] = partial(confusion_picture, self.counts.tolist(), self.names)
        images, true, predicted, probability = self.mistakes
        if len(images) and images.shape[1] in MODES:
            names = [class_caption(label, self.names) for label in true.tolist()]
            others = [
                f"{class_caption(label, self.names)} ({share:.2f})"
                for label, share in zip(predicted.tolist(), probability.tolist(), strict=True)
            ]
            drawn["wrongly_classified"] = partial(mistakes_picture, images, names, others)
        return drawn


def scores_by_class(confusion: Tensor) -> Tensor:
    """Precision, recall and F1 `(3, K)` of a matrix `(K, K)` of numbers of images by true and predicted class.

    The precision of a class that is never predicted is 0, the recall of a class without images NaN.
    """
    right, images, predicted = confusion.diagonal().double(), confusion.sum(1), confusion.sum(0)
    return torch.stack([right / predicted.clamp(min=1), right / images, 2 * right / (images + predicted)])
