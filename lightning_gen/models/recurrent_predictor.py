"""Frames predicted from recurrent maps, by models that learn to feed on what they predicted."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.losses.likelihoods import Likelihood
from lightning_gen.models.frame_predictor import FramePredictor
from lightning_gen.networks.next_frame import NextFrame


class RecurrentPredictor(FramePredictor):
    """`NextFrame` of recurrent `cells`, trained on every frame after the first; evaluated on those after the context.

    It learns to feed on its own predictions by scheduled sampling, https://arxiv.org/abs/1506.03099: the chance of
    reading the true frame instead falls from 1 to 0 over `scheduled_sampling_images` images. It is 0 from the start if
    these are, and always in evaluation.
    """

    averaged_parts = ("next_frame",)
    compiled_parts = ("next_frame",)

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        likelihood: Likelihood,
        cells: Callable[..., nn.Module],
        patch_size: PositiveInt,
        out_width: PositiveInt,
        scheduled_sampling_images: NonNegativeInt,
        **prediction,
    ):
        super().__init__(image_shape, num_classes, **prediction)
        self.likelihood = likelihood
        self.scheduled_sampling_images = scheduled_sampling_images
        self.next_frame = NextFrame(
            self.frame_shape, self.output_shape[0], cells=cells, patch_size=patch_size, out_width=out_width
        )

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

    def roll_out(
        self, context: Tensor, steps: int, state: Any = None, truth: Tensor | None = None, forced: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Parameters `(B, T0 + steps - 1, P * C, H, W)` of all frames after the first of `context`, and the last state.

        What is read next is the expected frame, or of `truth` `(B, steps, C, H, W)` those `forced` `(B, steps)`.
        """
        parameters, state = self.next_frame(context, state)
        outputs = [parameters]
        for step in range(steps - 1):
            frame = self.likelihood.mean(parameters[:, -1])
            if forced is not None:
                frame = torch.where(forced[:, step, None, None, None], truth[:, step], frame)
            parameters, state = self.next_frame(frame[:, None], state)
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
        """What else is minimized, given the last state."""
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
