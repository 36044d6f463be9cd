"""What models that continue image sequences frame by frame have in common."""

from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.likelihoods import Likelihood


class FramePredictor(ImageGenerator):
    """Base: of sequences `(T, C, H, W)` the first `context_frames` are given, and the others predicted.

    A model implements `predict(context, steps)`, and sets `likelihood`, that of a frame.
    """

    takes_images = False
    takes_sequences = True
    likelihood: Likelihood

    def __init__(self, image_shape: tuple[int, ...], num_classes: int | None, *, context_frames: int, **training):
        super().__init__(image_shape, num_classes, **training)
        frames, *frame_shape = self.image_shape
        if self.num_classes:
            raise UserError("model.conditional=true: predictors of frames don't see labels; use conditional=false")
        if not 0 < context_frames < frames:
            raise UserError(
                f"model.context_frames={context_frames}: the data's sequences have {frames} frames; "
                "give at least 1, and leave at least one to predict"
            )
        self.context_frames = context_frames
        self.frame_shape = tuple(frame_shape)

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Of the likelihood's parameters for a frame."""
        channels, height, width = self.frame_shape
        return channels * self.likelihood.parameters_per_value, height, width

    def observe(self, images: Tensor) -> Tensor:
        """Frames as the likelihood's support holds them."""
        return self.likelihood.observe(images)

    def log_prob(self, parameters: Tensor, frames: Tensor) -> Tensor:
        """Nats `(B,)` of frames `(B, T, C, H, W)` together."""
        return self.likelihood.log_prob(parameters.flatten(0, 1), frames.flatten(0, 1)).view(frames.shape[:2]).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The expected frames `(B, T, C, H, W)`."""
        return self.likelihood.mean(parameters.flatten(0, 1)).unflatten(0, parameters.shape[:2])
