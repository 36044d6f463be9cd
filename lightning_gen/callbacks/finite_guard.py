"""Stops a run that diverged and keeps its last finite checkpoint."""

import math

import torch
from lightning.pytorch import Callback

from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer


class FiniteGuard(Callback):
    """Ends the run at the first logged NaN or infinity; costs no device synchronization."""

    def __init__(self) -> None:
        self._checked: dict[str, float] = {}

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Check newly logged training values."""
        self._check(model)

    def on_validation_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Check the validation means before they can make a best checkpoint."""
        self._check(model)

    def _check(self, model: ImageGenerator) -> None:
        if model.latest is self._checked:
            return
        self._checked = model.latest
        for name, value in model.latest.items():
            if not math.isfinite(value):
                raise diverged(model, f"{name} is {value}")


def diverged(model: ImageGenerator, reason: str) -> UserError:
    """The error that ends a diverged run."""
    return UserError(
        f"training diverged: {reason} at {model.images_seen:,} images; the checkpoints before it are kept; "
        "lower model.optimizer.lr, or bound the gradients with model.gradient_clip=1"
    )


def all_finite(model: ImageGenerator) -> bool:
    """Whether every weight and buffer is finite; one device synchronization."""
    tensors = [t for t in model.state_dict().values() if t.is_floating_point()]
    return bool(torch.stack([t.isfinite().all() for t in tensors]).all())
