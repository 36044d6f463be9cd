"""A checkpoint as torch-fidelity's generative model, for torch-fidelity's own functions."""

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
    """The model in a checkpoint or a run's folder, as torch-fidelity's `input1`."""
    return Wrapped(load_model(checkpoint, ema=ema, device=device), rounded)


class Wrapped(GenerativeModelBase):
    """Noise `(B, z_size)` to RGB images: uint8, or without `rounded` floats in 0...255.

    The noise is a sample of the model's own prior, from a noise source registered under a unique name. A class is drawn
    with each latent and appended as its last value: torch-fidelity 0.4 can't draw labels with NumPy 1.24 or later, so
    `num_classes` is 0. For models without latents the noise is the seed of a batch.
    """

    def __init__(self, model: ImageGenerator, rounded: bool = True):
        super().__init__()
        if not model.generates or len(model.image_shape) != 3:
            problem = "makes no images" if not model.generates else "makes sequences"
            raise UserError(f"{type(model).__name__} {problem}, and torch-fidelity needs a generator of images")
        self.model = model.eval()
        self.rounded = rounded
        self._z_size = self.sample_noise(1).shape[1]
        # Names can be registered only once; each model has its own prior, and registration must not keep it alive.
        self._z_type = f"lightning-gen-{next(_numbers)}"
        register_noise_source(self._z_type, _weakly_bound(WeakMethod(self._noise_source)))

    # torch-fidelity gives its abstract properties no types, so they seem to return None.
    @property
    def z_size(self) -> int:  # pyrefly: ignore[bad-override]  # see above
        """Number of noise values per image."""
        return self._z_size

    @property
    def z_type(self) -> str:  # pyrefly: ignore[bad-override]  # see above
        """Name of this model's noise source."""
        return self._z_type

    @property
    def num_classes(self) -> int:  # pyrefly: ignore[bad-override]  # see above
        """0: classes are part of the noise."""
        return 0

    def _noise_source(self, rng: Any, shape: tuple[int, int]) -> Tensor:
        with preserved_rng():
            seed_all("torch-fidelity", int(rng.randint(2**31)))
            return self.sample_noise(shape[0]).cpu()

    @torch.no_grad()
    def sample_noise(self, n: int) -> Tensor:
        """Sample noise `(n, z_size)`: latents or seeds, then classes if the model is conditional."""
        model = self.model
        noise = model.latent(n) if isinstance(model, HasLatent) else torch.rand(n, 1, device=model.device)
        labels = model.draw_labels(n)
        return noise if labels is None else torch.cat([noise, labels[:, None].to(noise.dtype)], 1)

    @torch.no_grad()
    def forward(self, noise: Tensor) -> Tensor:
        """Images of noise; the decoder's own randomness is the same for the same batch."""
        model = self.model
        noise, labels = noise.to(model.device), None
        if model.num_classes is not None:
            # Rounding gives a small step between two latents the class of its start.
            labels = noise[:, -1].round().long().clamp(0, model.num_classes - 1)
            noise = noise[:, :-1]
        with preserved_rng():
            if isinstance(model, HasLatent):
                seed_all("torch-fidelity")
                images = model.decode(noise, labels)
            else:
                seed_all("torch-fidelity", noise[0].item())
                images = model.sample(len(noise), labels)
        values = to_uint8(images) if self.rounded else (images.float().clamp(-1, 1) + 1) * 127.5
        return as_channels(values, 3)


def _weakly_bound(method: WeakMethod) -> Any:
    def noise(rng: Any, shape: tuple[int, int]) -> Tensor:
        source = method()
        assert source is not None  # torch-fidelity holds the model while it draws noise
        return source(rng, shape)

    return noise
