"""What some models can do besides sampling: callbacks, metrics and commands ask for the ability, not for the class."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Reconstructs(Protocol):
    """Maps images to what the model keeps of them."""

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images in [-1, 1] to images in [-1, 1]."""
        ...


@runtime_checkable
class Encodes(Protocol):
    """Maps images to latent vectors."""

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images to latents `(B, d)`; for a distribution, its mean."""
        ...


@runtime_checkable
class HasLatent(Protocol):
    """Makes images from latent vectors."""

    def latent(self, n: int) -> Tensor:
        """Draw latents `(n, d)` from the prior."""
        ...

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents `(n, d)` to images in [-1, 1]."""
        ...


@runtime_checkable
class HasStyle(Protocol):
    """Makes images of styles, the space called w, and these of latents: https://arxiv.org/abs/1812.04948."""

    def style(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents `(n, d)` to styles `(n, style_dim)`; the label is part of what comes out."""
        ...

    def decode_style(self, style: Tensor) -> Tensor:
        """Styles to images in [-1, 1]."""
        ...


@runtime_checkable
class HasLikelihood(Protocol):
    """Gives a likelihood, or a lower bound of one."""

    def observe(self, images: Tensor) -> Tensor:
        """Images as the likelihood's support holds them (binarized, for instance); may draw."""
        ...

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`: the evidence lower bound with one sample, an importance-weighted bound with more."""
        ...


@runtime_checkable
class Completes(Protocol):
    """Goes on with images of which the beginning is given."""

    def complete(self, images: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
        """Images `(B, C, H, W)` with their first `rows` rows as they are and the others drawn."""
        ...


@runtime_checkable
class Predicts(Protocol):
    """Continues image sequences."""

    context_frames: int  # how many frames it was trained to continue

    def predict(self, context: Tensor, steps: int) -> Tensor:
        """The `steps` frames `(B, steps, C, H, W)` in [-1, 1] after `context` `(B, T0, C, H, W)`, any T0 from 1.

        A model with `draws_predictions` gives others each time.
        """
        ...


@runtime_checkable
class Classifies(Protocol):
    """Assigns images to classes."""

    def classify(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] to probabilities `(B, num_classes)`."""
        ...
