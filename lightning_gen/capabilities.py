"""Abilities of models beyond sampling, as protocols: callbacks, metrics and commands check these, not classes."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Reconstructs(Protocol):
    """Reconstructs images."""

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images in [-1, 1] to images in [-1, 1]."""
        ...


@runtime_checkable
class Encodes(Protocol):
    """Maps images to latent vectors."""

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images to latents `(B, d)`, or the mean of their posterior."""
        ...


@runtime_checkable
class HasLatent(Protocol):
    """Maps latent vectors to images."""

    def latent(self, n: int) -> Tensor:
        """Latents `(n, d)` sampled from the prior."""
        ...

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents `(n, d)` to images in [-1, 1]."""
        ...


class CodeGrid(NamedTuple):
    """Of each image `depth` codes below `num_codes` at each of `height` x `width` positions."""

    depth: int
    height: int
    width: int
    num_codes: int


@runtime_checkable
class HasCodes(Protocol):
    """Maps images to discrete codes and back; of several grids the coarsest comes first."""

    @property
    def grids(self) -> list[CodeGrid]:
        """The grids of codes of an image."""
        ...

    def codes(self, images: Tensor) -> list[Tensor]:
        """Images in the likelihood's support to int64 codes `(B, depth, height, width)` of each grid."""
        ...

    def decode_codes(self, codes: list[Tensor]) -> Tensor:
        """The codes of each grid to images in [-1, 1]."""
        ...


@runtime_checkable
class HasStyle(Protocol):
    """Maps latents to styles, the space called w, and styles to images: https://arxiv.org/abs/1812.04948."""

    def style(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents `(n, d)` and labels to styles `(n, style_dim)`."""
        ...

    def decode_style(self, style: Tensor) -> Tensor:
        """Styles to images in [-1, 1]."""
        ...


@runtime_checkable
class Truncates(Protocol):
    """Draws latents nearer to their mean: less varied, better samples."""

    truncation: float | None  # above 0, the lower the stronger; None for none


@runtime_checkable
class HasTemperature(Protocol):
    """Samples from its distributions with their scales, or their logits' inverse, multiplied by a temperature."""

    temperature: float  # above 0, of samples only; below 1 they are likelier and less varied


@runtime_checkable
class HasLikelihood(Protocol):
    """Computes log-likelihoods of images, or lower bounds."""

    @property
    def exact_likelihood(self) -> bool:
        """Whether more samples give no tighter bound."""
        ...

    def to_support(self, images: Tensor) -> Tensor:
        """Images mapped to the support of the likelihood (binarized, for instance), possibly at random."""
        ...

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`: the evidence lower bound for one sample, an importance-weighted bound for more."""
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

    @property
    def context_frames(self) -> int:
        """The number of given frames in training."""
        ...

    @property
    def draws_predictions(self) -> bool:
        """Whether predictions are random."""
        ...

    def to_support(self, images: Tensor) -> Tensor:
        """Sequences as `predict` takes them."""
        ...

    def predict(self, context: Tensor, steps: int) -> Tensor:
        """The next `steps` frames `(B, steps, C, H, W)` in [-1, 1] after `context` `(B, T0, C, H, W)`, any T0 >= 1."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Assigns images to classes."""

    def classify(self, images: Tensor) -> Tensor:
        """Images in [-1, 1] to probabilities `(B, num_classes)`."""
        ...
