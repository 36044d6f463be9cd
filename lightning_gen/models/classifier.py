"""Image classifier, to evaluate samples of other models with (`metrics=[classes]`)."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator


class Classifier(ImageGenerator):
    """Cross-entropy of `encoder(image_shape, out_dim)`, whose outputs are class logits.

    `label_smoothing` is the probability spread over all classes, https://arxiv.org/abs/1512.00567, section 7.
    """

    averaged_parts = ("encoder",)
    compiled_parts = ("encoder",)
    generates = False

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        encoder: Callable[..., nn.Module],
        label_smoothing: UnitInterval,
        conditional: bool = True,
        **training,
    ):
        if not num_classes:
            raise UserError("model=classifier: the data has no labels; use labeled data")
        if not conditional:
            raise UserError("model.conditional=false: a classifier learns labels, leave it true")
        super().__init__(image_shape, num_classes, conditional=True, **training)
        self.encoder = encoder(image_shape=self.image_shape, out_dim=num_classes)
        self.label_smoothing = label_smoothing

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy in nats, and accuracy."""
        if batch.labels is None:
            raise UserError("model=classifier: the data has no labels; use labeled data")
        logits = self.encoder(batch.images)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(1) == batch.labels).float().mean()}

    def classify(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] to class probabilities `(B, num_classes)`."""
        return self.encoder(images).softmax(1)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Raise UserError."""
        raise UserError("model=classifier: makes no images, give a model that does")
