"""What a classifier sees in samples: whether they are of their class, and how many classes there are.

On stacked digits these are the modes and the KL of https://arxiv.org/abs/1611.02163, section 3.3.1.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_gen.checkpoint import checkpoint_of, load_model, read_checkpoint
from lightning_gen.errors import UserError
from lightning_gen.metrics.image_metric import SampleMetric
from lightning_gen.metrics.modes import kl_of_counts

KEY = "metrics.classes.classifier"


class ClassScores(SampleMetric):
    """Asks `classifier`, a run of `model=classifier` or a checkpoint of one.

    - `class_accuracy`: the share of a conditional model's samples that are of the class asked for; left out for others.
    - `modes`: how many classes samples are seen of.
    - `modes_kl`: the KL in nats of the samples' classes from those of the training images, infinite if a sample is seen
      of a class that has none.

    Images of C channels are judged channel by channel where the classifier takes one; the first is the highest digit
    of the class.
    """

    better = {"class_accuracy": "higher", "modes": "higher", "modes_kl": "lower"}

    seen: Tensor
    labeled: Tensor
    right: Tensor

    def __init__(self, classifier: str):
        super().__init__()
        path = checkpoint_of(Path(classifier).expanduser(), KEY)
        read_checkpoint(path, KEY)  # its errors name the key
        self.classifier = load_model(path)
        if not hasattr(self.classifier, "classify"):
            kind = type(self.classifier).__name__
            raise UserError(f"{KEY}={classifier}: holds a {kind}, give a run of model=classifier")
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.reference: Tensor | None = None

    def why_not(self, model: Any, data: Any) -> str | None:
        channels, *size = self.classifier.image_shape
        if size != list(data.image_shape[1:]) or channels not in (1, data.image_shape[0]):
            return f"the classifier takes images of {self.classifier.image_shape}, not {tuple(data.image_shape)}"
        classes = self.classifier.num_classes ** self._digits(data)
        return None if data.num_classes == classes else f"the classifier tells {classes} classes, not those of the data"

    def start(self, data: Any, split: str) -> None:
        labels = data.sources["train"].labels.to(self.device)
        self.reference = labels.bincount(minlength=data.num_classes)
        self.add_state("seen", torch.zeros_like(self.reference), dist_reduce_fx="sum")
        for state in ("labeled", "right"):
            self.add_state(state, torch.zeros_like(self.reference[0]), dist_reduce_fx="sum")
        super().start(data, split)

    def update(self, images: Tensor, labels: Tensor | None = None) -> None:
        """Take in samples `(B, C, H, W)` in [-1, 1], and the labels they were asked for; not those that are broken."""
        images = images.to(self.seen.device).float()
        finite = images.flatten(1).isfinite().all(1)
        classes = self._classes(images[finite])
        self.seen += classes.bincount(minlength=len(self.seen))
        if labels is not None:
            self.labeled += len(labels)
            self.right += (classes == labels.to(classes.device)[finite]).sum()

    def _classes(self, images: Tensor) -> Tensor:
        """The class seen in each image, `(B,)`."""
        channels = self.classifier.image_shape[0]
        digits = self.classifier.classify(images.reshape(-1, channels, *images.shape[2:])).argmax(1)
        digits = digits.view(len(images), -1)  # (B, C), or (B, 1) where all channels are seen together
        places = self.classifier.num_classes ** torch.arange(digits.shape[1] - 1, -1, -1, device=digits.device)
        return (digits * places).sum(1)

    def _digits(self, data: Any) -> int:
        return data.image_shape[0] // self.classifier.image_shape[0]

    def compute(self) -> dict[str, Tensor]:
        """The scores; the divergence is NaN without a finite sample."""
        scores = {"modes": (self.seen > 0).sum().double(), "modes_kl": kl_of_counts(self.seen, self.reference)}
        if self.labeled > 0:
            scores["class_accuracy"] = self.right.double() / self.labeled
        return scores

    def protocol(self) -> dict[str, Any]:
        """Which classifier."""
        return {"classifier_sha256": self.sha256, "modes_there_are": len(self.reference)}
