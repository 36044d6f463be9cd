"""Stops a run that diverged, with its last good checkpoint kept."""

import math

import torch
from lightning.pytorch import Callback, Trainer

from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator


class FiniteGuard(Callback):
    """Looks at each newly logged value (so costs no device sync) and ends the run at the first NaN or infinity."""

    def __init__(self) -> None:
        self._checked: dict[str, float] = {}

    def on_train_batch_end(self, trainer: Trainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Check what was logged in training."""
        self._check(model)

    def on_validation_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Check the validation's means, before they can make a best checkpoint."""
        self._check(model)

    def _check(self, model: ImageGenerator) -> None:
        if model.latest is self._checked:
            return
        self._checked = model.latest
        for name, value in model.latest.items():
            if not math.isfinite(value):
                raise diverged(model, f"{name} is {value}")


def diverged(model: ImageGenerator, what: str) -> UserError:
    """The error of a run that left the finite numbers."""
    return UserError(
        f"training diverged: {what} at {model.images_seen:,} images; the checkpoints before it are kept; "
        "lower model.optimizer.lr, or bound the gradients with model.gradient_clip=1"
    )


def all_finite(model: ImageGenerator) -> bool:
    """Whether every weight and buffer is finite; one device sync."""
    tensors = [t for t in model.state_dict().values() if t.is_floating_point()]
    return bool(torch.stack([t.isfinite().all() for t in tensors]).all())
