"""Intervals counted in images."""

from lightning.pytorch import Trainer

from lightning_gen.image_generator import ImageGenerator


def validates(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a validation follows this call: what must come after it waits for `on_validation_end`."""
    return trainer.enable_validation and (batch_idx + 1) % trainer.val_check_batch == 0


def crossed(model: ImageGenerator, every: int) -> bool:
    """Whether the last training_step took `images_seen` to or over a multiple of `every`.

    A function of the count alone, so a resumed run acts where the straight one does.
    """
    return model.images_seen // every > (model.images_seen - model.images_per_call) // every
