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

    def to_support(self, images: Tensor) -> Tensor:
        """Images mapped to the support of the likelihood (binarized, for instance), possibly at random."""
        ...

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`: the evidence lower bound with one sample, an importance-weighted bound with more."""
        ...


@runtime_checkable
class Completes(Protocol):
    """Completes images of which the upper rows are given."""

    def to_support(self, images: Tensor) -> Tensor:
        """Images as `complete` takes them."""
        ...

    def complete(self, images: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
        """Keep the first `rows` rows of images `(B, C, H, W)` and sample the others."""
        ...


@runtime_checkable
class Predicts(Protocol):
    """Continues image sequences."""

    context_frames: int  # number of frames it was trained to continue

    def to_support(self, images: Tensor) -> Tensor:
        """Sequences as `predict` takes them."""
        ...

    def predict(self, context: Tensor, steps: int) -> Tensor:
        """The `steps` frames `(B, steps, C, H, W)` in [-1, 1] after `context` `(B, T0, C, H, W)`, any T0 from 1.

        Predictions of a model with `draws_predictions` are random.
        """
        ...
