"""Path length regularization of generators, https://arxiv.org/abs/1912.04958, section 3.2."""

import torch
from torch import Tensor

from lightning_gen.bounds import NonNegativeFloat, PositiveInt, UnitInterval
from lightning_gen.losses.penalties import Penalty, Players, Round


class PathLength(Penalty):
    """A step in style space must change images by as much everywhere and in all directions, eq. 4.

    Steps are those of latents where the generator has no styles. Noise is divided by the root of the number of pixels,
    so that lengths don't grow with the resolution. One in `batch_share` images is looked at; `decay` is of the running
    mean of lengths.
    """

    player = "generator"

    def __init__(
        self,
        weight: NonNegativeFloat,
        every: PositiveInt = 1,
        schedule=None,
        batch_share: PositiveInt = 1,
        decay: UnitInterval = 0.99,
    ):
        super().__init__(weight, every, schedule)
        self.batch_share = batch_share
        self.decay = decay
        self.register_buffer("mean_length", torch.zeros(()))  # a

    def forward(self, players: Players, round: Round) -> Tensor:
        n = -(-len(round.latent) // self.batch_share)
        latent, labels = round.latent[:n].detach(), None if round.labels is None else round.labels[:n]
        if hasattr(players.generator, "style"):
            vectors = players.generator.style(latent, labels)
            images = players.generator.render(vectors)
        else:
            vectors = latent.requires_grad_()
            images = players.generator(vectors, labels)
        lengths = path_lengths(vectors, images)
        self.follow(lengths.detach())
        return (lengths - self.mean_length.clone()).square().mean()

    @torch.no_grad()
    def follow(self, lengths: Tensor) -> None:
        """Take the lengths `(B,)` of all ranks into their running mean."""
        mean = lengths.mean()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(mean)
            mean /= torch.distributed.get_world_size()
        self.mean_length.lerp_(mean, 1 - self.decay)


def path_lengths(vectors: Tensor, images: Tensor) -> Tensor:
    """`(B,)`: the norm of the images' Jacobian, transposed, times one draw of noise; differentiable."""
    noise = torch.randn_like(images) / (images.shape[-2] * images.shape[-1]) ** 0.5
    (gradient,) = torch.autograd.grad((images * noise).sum(), vectors, create_graph=True)
    return (gradient.square().sum(1) + 1e-12).sqrt()  # its gradient is finite at zero
