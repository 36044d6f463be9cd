"""A checkpoint as torch-fidelity's generative model, for its own functions and for what they will be able to do."""

from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakMethod

import torch
from torch import Tensor
from torch_fidelity import GenerativeModelBase, register_noise_source

from lightning_gen.capabilities import HasLatent
from lightning_gen.checkpoint import load_model
from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import as_channels
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.images import to_uint8
from lightning_gen.randomness import preserved_rng, seed_all

_numbers = count()


def wrap(checkpoint: str | Path, ema: bool = True, device: str = "cpu", rounded: bool = True) -> "Wrapped":
    """The model in a checkpoint or a run's folder, to be given to torch-fidelity as `input1`."""
    return Wrapped(load_model(checkpoint, ema=ema, device=device), rounded)


class Wrapped(GenerativeModelBase):
    """Noise `(B, z_size)` to RGB images, uint8, or floats of 0...255 that are not `rounded`.

    The noise is the model's latents, drawn by itself from a source that it registers under a name of its own. A class
    is drawn with each latent and lies behind it as its last value: torch-fidelity 0.4 can't draw labels with
    NumPy 1.24 or later, and so is told of no classes. The noise of a model without latents is the seed of a batch.
    """

    num_classes = 0
    z_size = 1
    z_type = ""

    def __init__(self, model: ImageGenerator, rounded: bool = True):
        super().__init__()
        if not model.generates or len(model.image_shape) != 3:
            what = "makes no images" if not model.generates else "makes sequences"
            raise UserError(f"{type(model).__name__} {what}, and torch-fidelity wants a generator of images")
        self.model = model.eval()
        self.rounded = rounded
        self.has_latent = isinstance(model, HasLatent)
        self.z_size = self._draw(1).shape[1]
        # Names can't be registered twice, each model has its own prior, and none should live on for its name's sake.
        self.z_type = f"lightning-gen-{next(_numbers)}"
        noise = WeakMethod(self._noise)
        register_noise_source(self.z_type, lambda rng, shape: noise()(rng, shape))

    def _noise(self, rng: Any, shape: tuple[int, int]) -> Tensor:
        with preserved_rng():
            seed_all("torch-fidelity", int(rng.randint(2**31)))
            return self._draw(shape[0]).cpu()

    def _draw(self, n: int) -> Tensor:
        with torch.no_grad():
            latent = self.model.latent(n) if self.has_latent else torch.rand(n, 1, device=self.model.device)
            labels = self.model.draw_labels(n)
            return latent if labels is None else torch.cat([latent, labels[:, None].to(latent.dtype)], 1)

    @torch.no_grad()
    def forward(self, noise: Tensor) -> Tensor:
        """Images of noise; what a decoder draws besides is the same for the same batch."""
        noise, labels = noise.to(self.model.device), None
        if self.model.num_classes is not None:
            # Between classes, as a path between two latents begins, is that of the beginning.
            labels = noise[:, -1].round().long().clamp(0, self.model.num_classes - 1)
            noise = noise[:, :-1]
        with preserved_rng():
            seed_all("torch-fidelity", *([] if self.has_latent else [noise[0].item()]))
            images = self.model.decode(noise, labels) if self.has_latent else self.model.sample(len(noise), labels)
        values = to_uint8(images) if self.rounded else (images.float().clamp(-1, 1) + 1) * 127.5
        return as_channels(values, 3)
