"""Intervals of a run: counted in images, and in minutes."""

import math

from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer


def validates(trainer: ImageTrainer, batch_idx: int) -> bool:
    """Whether a validation follows this `training_step`: later actions wait for `on_validation_end`."""
    interval = trainer.val_check_batch
    return trainer.enable_validation and interval is not None and (batch_idx + 1) % interval == 0


def crossed(model: ImageGenerator, every: int) -> bool:
    """Whether the last `training_step` took `images_seen` to or over a multiple of `every`."""
    return crossed_within(model, every, model.images_per_call)


def crossed_within(model: ImageGenerator, every: int, images: int) -> bool:
    """Whether the last `images` took `images_seen` to or over a multiple of `every`.

    Depends on the count alone, so a resumed run acts at the same images as an uninterrupted one.
    """
    return model.images_seen // every > (model.images_seen - images) // every


class Pause:
    """A number of minutes between two actions; None: it never ends. All ranks agree, as on `trainer.seconds`."""

    def __init__(self, minutes: float | None):
        self.seconds = math.inf if minutes is None else 60 * minutes
        self._end = self.seconds

    def is_over(self, trainer: ImageTrainer) -> bool:
        """Whether the time has passed since the start of the training, or since `restart`."""
        return trainer.seconds >= self._end

    def restart(self, trainer: ImageTrainer, at_least: float = 0.0) -> None:
        """Begin again, for `at_least` so many seconds."""
        self._end = trainer.seconds + max(self.seconds, at_least)
