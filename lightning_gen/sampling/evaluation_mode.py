"""Looking at a model without leaving traces in its training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from lightning_gen.randomness import preserved_rng

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator


@contextmanager
def evaluation_mode(model: "ImageGenerator", ema: bool = True) -> Iterator[None]:
    """Evaluation mode, averaged weights if `ema`, float32, no gradients; afterwards all is as it was."""
    training = [module for module in model.modules() if module.training]
    with full_precision(), torch.autocast(model.device.type, enabled=False), model.averaged_weights(ema):
        model.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True


@contextmanager
def full_precision() -> Iterator[None]:
    """Float32 in full and no gradients; afterwards random generators are as they were."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # trainer=gpu trains with TensorFloat-32
    try:
        with preserved_rng(), torch.no_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
