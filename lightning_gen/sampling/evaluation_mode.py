"""Evaluation that leaves no traces in training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from lightning_gen.randomness import preserved_rng
from lightning_gen.utilities.float32 import ieee_float32

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator


@contextmanager
def evaluation_mode(model: "ImageGenerator", ema: bool = True) -> Iterator[None]:
    """Evaluation mode, averaged weights if `ema`, float32, no gradients; everything is restored afterwards.

    All ranks enter it together, since they gather weights that are divided among them.
    """
    modules_in_training = [module for module in model.modules() if module.training]
    averages, autocast = model.averaged_weights(ema), torch.autocast(model.device.type, enabled=False)
    with full_precision(), autocast, averages, model.whole_weights():
        model.eval()
        try:
            yield
        finally:
            for module in modules_in_training:
                module.training = True


@contextmanager
def full_precision() -> Iterator[None]:
    """IEEE float32 and no gradients; random generators are restored afterwards."""
    with ieee_float32(), preserved_rng(), torch.no_grad():
        yield
