"""Intervals counted in images."""

from lightning_gen.image_generator import ImageGenerator


def crossed(model: ImageGenerator, every: int) -> bool:
    """Whether the last training_step took `images_seen` to or over a multiple of `every`.

    A function of the count alone, so a resumed run acts where the straight one does.
    """
    return model.images_seen // every > (model.images_seen - model.images_per_call) // every
