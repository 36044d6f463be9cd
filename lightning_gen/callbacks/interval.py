"""Intervals counted in images, and looking at a model without leaving traces in its training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lightning_gen.image_generator import ImageGenerator
from lightning_gen.randomness import preserved_rng, seed_all


def crossed(model: ImageGenerator, every: int) -> bool:
    """Whether the last training_step took `images_seen` to or over a multiple of `every`.

    A function of the count alone, so a resumed run acts where the straight one does.
    """
    return model.images_seen // every > (model.images_seen - model.images_per_call) // every


@contextmanager
def looking_at(model: ImageGenerator, *seed: int | str) -> Iterator[None]:
    """Averaged weights, evaluation mode, no gradients, randomness from `seed`; all as it was afterwards."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), preserved_rng(), model.averaged_weights():
            seed_all(*seed)
            yield
    finally:
        model.train(training)
