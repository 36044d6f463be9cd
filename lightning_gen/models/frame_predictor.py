"""Base of models that continue image sequences frame by frame."""

from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.models.likelihood_model import LikelihoodModel


class FramePredictor(LikelihoodModel):
    """Base: the first `context_frames` of sequences `(T, C, H, W)` are given, and the others predicted.

    A model implements `predict(context, steps)`; its `likelihood` is that of a frame.
    """

    takes_images = False
    takes_sequences = True

    def __init__(self, image_shape: tuple[int, ...], num_classes: int | None, *, context_frames: int, **training):
        super().__init__(image_shape, num_classes, **training)
        frames, channels, height, width = self.image_shape
        if self.num_classes:
            raise UserError("model.conditional=true: predictors of frames don't see labels; use conditional=false")
        if not 0 < context_frames < frames:
            raise UserError(
                f"model.context_frames={context_frames}: the data's sequences have {frames} frames; "
                "give at least 1, and leave at least one to predict"
            )
        self.context_frames = context_frames
        self.frame_shape = (channels, height, width)

    def log_prob(self, parameters: Tensor, frames: Tensor) -> Tensor:
        """Log-likelihood of frames `(B, T, C, H, W)` in nats, summed over time, `(B,)`."""
        return self.likelihood.log_prob(parameters.flatten(0, 1), frames.flatten(0, 1)).view(frames.shape[:2]).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The expected frames `(B, T, C, H, W)`."""
        return self.likelihood.mean(parameters.flatten(0, 1)).unflatten(0, parameters.shape[:2])
