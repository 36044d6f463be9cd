"""Models that continue image sequences frame by frame, feeding on what they predicted."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
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


class ScheduledPredictor(FramePredictor):
    """Base of predictors without latents, trained on every frame after the first; evaluated on those after the context.

    They learn to feed on their own predictions by scheduled sampling, https://arxiv.org/abs/1506.03099: the chance of
    reading the true frame instead falls from 1 to 0 over `scheduled_sampling_images` images. It is 0 from the start if
    these are, and always in evaluation.

    A model implements `read`.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        likelihood: Likelihood,
        scheduled_sampling_images: int,
        **prediction,
    ):
        super().__init__(image_shape, num_classes, **prediction)
        self.likelihood = likelihood
        self.scheduled_sampling_images = scheduled_sampling_images

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Nats of the frames, and the squared error per pixel of those after the context."""
        frames = self.observe(batch.images)
        context, truth = frames[:, : self.context_frames], frames[:, self.context_frames :]
        forced = self.draw_forced(*truth.shape[:2])
        parameters, state = self.roll_out(context, truth.shape[1], self.start(), truth, forced)
        mse = (self.mean(parameters[:, -truth.shape[1] :]) - truth).square().mean()
        # To predict frames of the context from true ones is easy, and soon learned: without it, many predictors stay
        # with the mean image for long.
        scored = parameters.shape[1] if self.training else truth.shape[1]
        nll = -self.log_prob(parameters[:, -scored:], frames[:, -scored:]).mean()
        terms = {"reconstruction": nll} | self.extra_terms(state, truth)
        return {"loss": sum(terms.values()), **terms, "mse": mse.detach()}

    def read(self, frames: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Parameters `(B, T, P * C, H, W)` of what comes after each of `frames`, and the state; None: before all."""
        raise NotImplementedError

    def roll_out(
        self, context: Tensor, steps: int, state: Any = None, truth: Tensor | None = None, forced: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Parameters `(B, T0 + steps - 1, P * C, H, W)` of all frames after the first of `context`, and the last state.

        What is read next is the expected frame, or of `truth` `(B, steps, C, H, W)` those `forced` `(B, steps)`.
        """
        parameters, state = self.read(context, state)
        outputs = [parameters]
        for step in range(steps - 1):
            frame = self.likelihood.mean(parameters[:, -1])
            if forced is not None:
                frame = torch.where(forced[:, step, None, None, None], truth[:, step], frame)
            parameters, state = self.read(frame[:, None], state)
            outputs.append(parameters)
        return torch.cat(outputs, dim=1), state

    def predict(self, context: Tensor, steps: int) -> Tensor:
        """The `steps` expected frames after `context` `(B, T0, C, H, W)`, each given those before it."""
        return self.mean(self.roll_out(self.observe(context), steps)[0][:, -steps:])

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """What follows a blank frame, as no sequence of the data begins: all `n` are alike where nothing is drawn.

        Predictors are no models of the frames given; look at `predict`.
        """
        blank = torch.full((n, 1, *self.frame_shape), -1.0, device=self.device)
        return self.predict(blank, self.image_shape[0])

    def start(self) -> Any:
        """The state before all frames of a roll-out that is trained on."""
        return None

    def extra_terms(self, state: Any, truth: Tensor) -> dict[str, Tensor]:
        """What else is minimised, given the last state."""
        return {}

    @property
    def forced_share(self) -> float:
        """The chance of reading a true frame instead of the predicted one."""
        if not self.training or self.scheduled_sampling_images == 0:
            return 0.0
        return max(0.0, 1 - self.images_seen / self.scheduled_sampling_images)

    def draw_forced(self, n: int, steps: int) -> Tensor | None:
        """Which frames are to be read as they are, drawn for each sequence and step; None if no more."""
        share = self.forced_share
        return torch.rand(n, steps, device=self.device) < share if share > 0 else None
