"""Classes of samples according to a given classifier: agreement with the labels, and coverage of the classes.

On stacked digits these are the modes and the KL of https://arxiv.org/abs/1611.02163, section 3.3.1.
"""

import hashlib
from typing import Any

import torch
from torch import Tensor

from lightning_gen.capabilities import Classifies
from lightning_gen.checkpoint import checkpoint_of, load_model, read_checkpoint
from lightning_gen.errors import UserError
from lightning_gen.metrics.image_metric import SampleMetric
from lightning_gen.metrics.modes import kl_of_counts

KEY = "metrics.classes.classifier"


class ClassScores(SampleMetric):
    """Scores of samples by `classifier`, a run of `model=classifier` or a checkpoint of one.

    - `class_accuracy`: fraction of a conditional model's samples classified as the class they were conditioned on.
    - `modes`: number of classes covered.
    - `modes_kl`: KL in nats of the samples' classes from those of the training images, infinite if samples cover a
      class without training images.

    If the classifier takes one channel, images with several are classified channel by channel; the first channel is
    the most significant digit of the class.
    """

    better = {"class_accuracy": "higher", "modes": "higher", "modes_kl": "lower"}

    seen: Tensor  # samples by class
    labeled: Tensor  # samples with a label
    right: Tensor  # of these, classified as their label
    reference: Tensor  # training images by class

    def __init__(self, classifier: str):
        super().__init__()
        path = checkpoint_of(classifier, KEY)
        read_checkpoint(path, KEY)  # its errors name the key
        model = load_model(path)
        if not isinstance(model, Classifies) or model.num_classes is None:
            raise UserError(f"{KEY}={classifier}: holds a {type(model).__name__}, give a run of model=classifier")
        self.classifier = model
        self.base = model.num_classes
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def why_not(self, model: Any, data: Any) -> str | None:
        channels, *size = self.classifier.image_shape
        if size != list(data.image_shape[1:]) or channels not in (1, data.image_shape[0]):
            return f"the classifier takes images of {self.classifier.image_shape}, not {tuple(data.image_shape)}"
        classes = self.base ** self._digits(data)
        if data.num_classes != classes:
            return f"the classifier has {classes} classes, the data {data.num_classes}"
        return None

    def start(self, data: Any, split: str) -> None:
        labels = data.sources["train"].labels.to(self.device)
        self.reference = labels.bincount(minlength=data.num_classes)
        self.add_state("seen", torch.zeros_like(self.reference), dist_reduce_fx="sum")
        for state in ("labeled", "right"):
            self.add_state(state, torch.zeros_like(self.reference[0]), dist_reduce_fx="sum")
        super().start(data, split)

    def update(self, images: Tensor, labels: Tensor | None = None) -> None:
        """Add samples `(B, C, H, W)` in [-1, 1] and the labels they were conditioned on; skips non-finite samples."""
        images = images.to(self.seen.device).float()
        finite = images.flatten(1).isfinite().all(1)
        classes = self._classes(images[finite])
        self.seen += classes.bincount(minlength=len(self.seen))
        if labels is not None:
            self.labeled += len(labels)
            self.right += (classes == labels.to(classes.device)[finite]).sum()

    def _classes(self, images: Tensor) -> Tensor:
        """Predicted classes `(B,)`."""
        channels = self.classifier.image_shape[0]
        digits = self.classifier.classify(images.reshape(-1, channels, *images.shape[2:])).argmax(1)
        digits = digits.view(len(images), -1)  # (B, C), or (B, 1) for a classifier of all channels
        place_values = self.base ** torch.arange(digits.shape[1] - 1, -1, -1, device=digits.device)
        return (digits * place_values).sum(1)

    def _digits(self, data: Any) -> int:
        return data.image_shape[0] // self.classifier.image_shape[0]

    def compute(self) -> dict[str, Tensor]:
        """The scores; the KL is NaN without a finite sample."""
        scores = {"modes": (self.seen > 0).sum().double(), "modes_kl": kl_of_counts(self.seen, self.reference)}
        if self.labeled > 0:
            scores["class_accuracy"] = self.right.double() / self.labeled
        return scores

    def protocol(self) -> dict[str, Any]:
        """The classifier, and the number of classes."""
        return {"classifier_sha256": self.sha256, "modes_there_are": len(self.reference)}
