"""Frames predicted by recurrent maps, trained by scheduled sampling, https://arxiv.org/abs/1506.03099."""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.models.frame_predictor import FramePredictor
from lightning_gen.networks.cell_layers import RecurrentMaps
from lightning_gen.networks.next_frame import NextFrame


class RecurrentPredictor(FramePredictor):
    """`NextFrame` of recurrent `cells`, trained on every frame after the first; evaluated on those after the context.

    The probability of teacher forcing, i.e. of reading the true frame instead of the predicted one, falls linearly from
    1 to 0 over `scheduled_sampling_images` images (0: predicted frames from the start). In evaluation it is 0.
    """

    averaged_parts = ("next_frame",)
    compiled_parts = ("next_frame",)

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        cells: Callable[..., RecurrentMaps],
        patch_size: PositiveInt,
        out_width: PositiveInt,
        scheduled_sampling_images: NonNegativeInt,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        self.scheduled_sampling_images = scheduled_sampling_images
        out_channels, _, _ = self.parameters_shape(self.frame_shape)
        self.next_frame = NextFrame(
            self.frame_shape, out_channels, cells=cells, patch_size=patch_size, out_width=out_width
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Negative log-likelihood of the frames in nats, and the mean squared error of those after the context."""
        frames = self.to_support(batch.images)
        context, truth = frames[:, : self.context_frames], frames[:, self.context_frames :]
        teacher_forced = self.teacher_forcing_mask(*truth.shape[:2])
        parameters, state = self.roll_out(context, truth.shape[1], self.initial_state(), truth, teacher_forced)
        mse = (self.mean(parameters[:, -truth.shape[1] :]) - truth).square().mean()
        # Predicting frames of the context from true ones is easy and soon learned; without it, many predictors stay
        # at the mean image for long.
        scored = parameters.shape[1] if self.training else truth.shape[1]
        nll = -self.log_prob(parameters[:, -scored:], frames[:, -scored:]).mean()
        extra = self.extra_terms(state, truth)
        return {"loss": nll + sum(extra.values()), "reconstruction": nll, **extra, "mse": mse.detach()}

    def roll_out(
        self,
        context: Tensor,
        steps: int,
        state: Any = None,
        truth: Tensor | None = None,
        teacher_forced: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Parameters `(B, T0 + steps - 1, P * C, H, W)` of all frames after the first of `context`, and the last state.

        Inputs after the context are the expected frames, or those of `truth` `(B, steps, C, H, W)` where
        `teacher_forced` `(B, steps)`.
        """
        parameters, state = self.next_frame(context, state)
        outputs = [parameters]
        for step in range(steps - 1):
            frame = self.likelihood.mean(parameters[:, -1])
            if truth is not None and teacher_forced is not None:
                frame = torch.where(teacher_forced[:, step, None, None, None], truth[:, step], frame)
            parameters, state = self.next_frame(frame[:, None], state)
            outputs.append(parameters)
        return torch.cat(outputs, dim=1), state

    def predict(self, context: Tensor, steps: int) -> Tensor:
        """The `steps` expected frames after `context` `(B, T0, C, H, W)`, each given the earlier ones."""
        parameters, _ = self.roll_out(self.to_support(context), steps)
        return self.mean(parameters[:, -steps:])

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """The continuation of a blank frame, which is deterministic: all `n` sequences are equal.

        Predictors don't model the first frames; use `predict`.
        """
        blank = torch.full((n, 1, *self.frame_shape), -1.0, device=self.device)
        return self.predict(blank, self.image_shape[0])

    def initial_state(self) -> Any:
        """The state before the first frame, in training."""
        return None

    def extra_terms(self, state: Any, truth: Tensor) -> dict[str, Tensor]:
        """Further loss terms, given the last state."""
        return {}

    @property
    def teacher_forcing_ratio(self) -> float:
        """The probability of reading the true frame instead of the predicted one."""
        if not self.training or self.scheduled_sampling_images == 0:
            return 0.0
        return max(0.0, 1 - self.images_seen / self.scheduled_sampling_images)

    def teacher_forcing_mask(self, n: int, steps: int) -> Tensor | None:
        """Which true frames to read, sampled for each sequence and step, `(n, steps)`; None without teacher forcing."""
        if self.teacher_forcing_ratio == 0:
            return None
        ratio = self.scheduled("teacher_forcing_ratio", lambda: self.teacher_forcing_ratio)
        return torch.rand(n, steps, device=self.device) < ratio

    def step_variant(self) -> Hashable:
        """Whether true frames may be read."""
        return self.teacher_forcing_ratio > 0
