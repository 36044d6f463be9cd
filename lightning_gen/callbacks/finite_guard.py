"""Stops a run that diverged and keeps its last good checkpoint."""

import math

from lightning.pytorch import Callback
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer

# A loss is absurd above a million times its first value. Log-determinants may begin at 0 and critics have no scale, so
# nothing below FLOOR is absurd; nothing above CEILING is sound, as float32 resolves it to 1e11.
FACTOR, FLOOR, CEILING = 1e6, 1e9, 1e18


class FiniteGuard(Callback):
    """Ends the run at the first logged NaN or infinity, and at a loss that is absurdly large twice in a row, or at the
    end; costs no device synchronization per step.

    Once is not enough, as deep VAEs recover from steps that explode. Meanwhile `last.ckpt` is not replaced.
    """

    def __init__(self) -> None:
        self.suspects: dict[str, float] = {}  # losses that were absurd when last logged
        self._checked: dict[str, float] = {}
        self._first: dict[str, Tensor] | None = None  # terms of the first step, read when they are needed
        self._limits: dict[str, float] = {}  # by term

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Check newly logged training values."""
        if self._first is None:
            self._first = model.terms.peek()
        self._check(model)

    def on_validation_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Check the validation means before they can make a best checkpoint."""
        self._check(model)

    def on_train_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Check the last training values before they can make a last checkpoint."""
        self._check(model)
        for name, value in self.suspects.items():
            raise diverged(model, f"{name} is {value:.3g}")

    def _check(self, model: ImageGenerator) -> None:
        if model.latest is self._checked:
            return
        new = {name: value for name, value in model.latest.items() if self._checked.get(name) is not value}
        self._checked = model.latest
        for name, value in new.items():
            if not math.isfinite(value):
                raise diverged(model, f"{name} is {value}")
            if abs(value) <= self._limit(name):
                self.suspects.pop(name, None)
            elif name in self.suspects:
                raise diverged(model, f"{name} is {value:.3g}")
            else:
                self.suspects[name] = value

    def _limit(self, name: str) -> float:
        """Of `train/<term>` and `val/<term>`; other values, such as scores, may have any size."""
        if self._first is None:
            return math.inf
        if not self._limits:
            first = {term: abs(value.item()) for term, value in self._first.items()}
            self._limits = {term: min(max(FACTOR * value, FLOOR), CEILING) for term, value in first.items()}
        return self._limits.get(name.partition("/")[2], math.inf)


def diverged(model: ImageGenerator, reason: str) -> UserError:
    """The error that ends a diverged run."""
    return UserError(
        f"training diverged: {reason} at {model.images_seen:,} images; the checkpoints before it are kept; "
        "lower model.optimizer.lr, or bound the gradients with model.gradient_clip=1"
    )
