"""Path length regularization of generators, https://arxiv.org/abs/1912.04958, section 3.2."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt, UnitInterval
from lightning_gen.losses.penalties import Penalty, Players, Round
from lightning_gen.utilities.ranks import mean_over_ranks
from lightning_gen.utilities.renames import renamed
from lightning_gen.utilities.whole_batch import batch_rows


@runtime_checkable
class StyleBased(Protocol):
    """A generator with a style space."""

    def style(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents `(B, d)` to styles `(B, style_dim)`."""
        ...

    def render(self, styles: Tensor) -> Tensor:
        """Styles to images."""
        ...


class PathLengthPenalty(Penalty):
    """The generator's Jacobian should have a constant norm, eq. 4: `E[(|J^T y| - a)^2]` with noise `y`.

    The Jacobian is with respect to styles, or latents where the generator has no styles. Noise is divided by the square
    root of the number of pixels, so that lengths don't grow with the resolution.
    """

    player = "generator"
    mean_length: Tensor  # a

    def __init__(
        self,
        *args,
        batch_share: PositiveInt = 1,  # computed on 1 / batch_share of the batch
        decay: UnitInterval = 0.99,  # of the running mean of lengths
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self.batch_share = batch_share
        self.decay = decay
        self.register_buffer("mean_length", torch.zeros(()))

    def forward(self, players: Players, round: Round) -> Tensor:
        n = -(-len(round.latent) // self.batch_share)
        latent, labels = round.latent[:n].detach(), None if round.labels is None else round.labels[:n]
        with batch_rows(n):
            vectors, images = self.generate(players, latent, labels)
            lengths = path_lengths(vectors, images)
        self.update_mean(lengths.detach())
        return (lengths - self.mean_length.clone()).square().mean()

    def generate(self, players: Players, latent: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Styles or latents, requiring gradients, and their images."""
        generator = players.generator
        if isinstance(generator, StyleBased):
            styles = generator.style(latent, labels)
            return styles, generator.render(styles)
        latent = latent.requires_grad_()
        return latent, generator(latent, labels)

    @torch.no_grad()
    def update_mean(self, lengths: Tensor) -> None:
        """Update the running mean with lengths `(B,)` of all ranks."""
        self.mean_length.lerp_(mean_over_ranks(lengths.mean()), 1 - self.decay)


def path_lengths(vectors: Tensor, images: Tensor) -> Tensor:
    """Norms `(B,)` of the transposed Jacobian of images times noise, with a graph to differentiate again."""
    noise = torch.randn_like(images) / (images.shape[-2] * images.shape[-1]) ** 0.5
    (gradient,) = torch.autograd.grad((images * noise).sum(), vectors, create_graph=True)
    return (gradient.square().sum(1) + 1e-12).sqrt()  # its gradient is finite at zero


__getattr__ = renamed(__name__)
