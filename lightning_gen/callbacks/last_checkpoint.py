"""Keeps `last.ckpt`: the newest training state, whatever its scores."""

from pathlib import Path

from lightning.pytorch.callbacks import Checkpoint

from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.callbacks.finite_guard import FiniteGuard, diverged
from lightning_gen.callbacks.interval import Pause, crossed, validates
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.sampling.preparation import all_finite
from lightning_gen.trainer import ImageTrainer


class LastCheckpoint(Checkpoint):
    """Writes `folder/last.ckpt` every `every_images`, every `every_minutes` and at the end; never a state with NaN or
    infinite weights, or whose loss is absurd (`FiniteGuard`).

    If the same step is followed by a validation, the state is written after it, so that a resumed run doesn't skip the
    validation.
    """

    def __init__(self, folder: str, every_images: PositiveInt, every_minutes: PositiveFloat | None = None):
        self.path = Path(folder) / "last.ckpt"
        self.every_images = every_images
        self._pause = Pause(every_minutes)
        self._due = False

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Save when due, unless a validation follows this step."""
        self._due = crossed(model, self.every_images) or self._pause.is_over(trainer)
        if self._due and not validates(trainer, batch_idx):
            self.save(trainer, model)

    def on_validation_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Save if it was due before this validation."""
        if trainer.state.fn == "fit" and self._due:
            self.save(trainer, model)

    def on_train_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Save the final state."""
        self.save(trainer, model)

    def save(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Write the training state, unless the finite guard doubts it; UserError if a weight is not finite."""
        self._pause.restart(trainer)
        # pyrefly: ignore[missing-attribute]  # which Lightning's Trainer gets from a helper
        if any(callback.suspects for callback in trainer.callbacks if isinstance(callback, FiniteGuard)):
            return
        if not all_finite(model):
            raise diverged(model, "a weight is not finite")
        trainer.save_checkpoint(self.path)
