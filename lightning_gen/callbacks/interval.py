"""Intervals counted in images."""

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
