"""Posteriors q(z | x) of latents: what an encoder's output means. The default is diagonal normal."""

from typing import Any, Protocol, Self

from torch import Tensor, nn

from lightning_gen.networks.diagonal_normal import DiagonalNormal


class Posterior(Protocol):
    """The distribution of latents `(B, d)` of a batch of images."""

    @property
    def mean(self) -> Tensor:
        """The latents that stand for the images, `(B, d)`: the mean, or what the mean of the noise is mapped to."""
        ...

    def noise(self) -> Tensor:
        """Random numbers for one sample of each image."""
        ...

    def reparameterize(self, noise: Tensor) -> Tensor:
        """The sample z, `(B, d)`, differentiable with respect to the parameters."""
        ...

    def log_prob(self, latents: Tensor) -> Tensor:
        """log q(z | x) in nats, `(B,)`; of a flow only for the sample that was drawn last."""
        ...

    def kl(self, prior: Any) -> Tensor | None:
        """KL(q(z | x) || p(z)), `(B,)`, if it has a closed form."""
        ...

    def detached(self) -> Self:
        """The same distribution, without gradients to its parameters."""
        ...


class PosteriorFamily(nn.Module):
    """Base of posteriors of `dim` latents: maps the encoder's output `(B, out_dim)` to a `Posterior`."""

    anywhere = True  # `log_prob` is known of all latents, and there is `detached`

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    @property
    def out_dim(self) -> int:
        """Values that the encoder predicts."""
        return 2 * self.dim

    def prepare(self, model: Any) -> None:
        """Called once when the VAE has its parts; UserError for parts that don't suit."""

    def forward(self, output: Tensor) -> Posterior:
        """The posterior of each image of the batch."""
        raise NotImplementedError


class DiagonalNormalPosterior(PosteriorFamily):
    """Independent normal latents."""

    def forward(self, output: Tensor) -> DiagonalNormal:
        return DiagonalNormal.of(output)
