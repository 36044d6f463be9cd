"""Image classifier: for images of one's own, and for samples of other models (`metrics=[classes]`)."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.classification import cross_entropy, squared_error

LOSSES = {"cross_entropy": cross_entropy, "mse": squared_error}
NO_LABELS = (
    "model=classifier: the data has no labels; put the images of each class into a folder of its own in data.path, "
    "or choose data with labels, as data=mnist5k"
)


class Classifier(ImageGenerator):
    """The outputs of `encoder(image_shape, out_dim)` are class logits, trained with the `loss` of that name.

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
        loss: Literal["cross_entropy", "mse"] = "cross_entropy",  # a config from before this key lacks it
        conditional: bool = True,
        **training,
    ):
        if not num_classes:
            raise UserError(NO_LABELS)
        if loss not in LOSSES:
            raise UserError(f"model.loss: a classifier has {' or '.join(LOSSES)}; give model.loss=cross_entropy")
        if not conditional:
            raise UserError("model.conditional=false: a classifier learns labels, leave it true")
        super().__init__(image_shape, num_classes, conditional=True, **training)
        self.encoder = encoder(image_shape=self.image_shape, out_dim=num_classes)
        self.label_smoothing = label_smoothing
        self.loss = LOSSES[loss]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The loss, and accuracy."""
        if batch.labels is None:
            raise UserError(NO_LABELS)
        logits = self.encoder(batch.images)
        loss = self.loss(logits, batch.labels, self.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(1) == batch.labels).float().mean()}

    def classify(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] to class probabilities `(B, num_classes)`."""
        return self.encoder(images).softmax(1)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Raise UserError."""
        raise UserError("model=classifier: makes no images, give a model that does")
