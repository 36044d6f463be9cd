"""Regularizers of the two players: scalars added to the loss of the one whose turn it is.

A penalty is given both players as functions, and one round of their game; it keeps no player and never calls backward.
Those that differentiate twice run in float32, outside autocast and compiled code.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeFloat, PositiveFloat, PositiveInt, UnitInterval
from lightning_gen.optim.schedules import Schedule, cheap


class Round(NamedTuple):
    """One batch of the game: images `(B, *image_shape)`, latents `(B, d)`, labels `(B,)` of both sides or None.

    Outputs `(B, 1 + extra)` are what the discriminator says of the images: the logit, then what else a model predicts.
    They are None where that player's turn does not need them.
    """

    real: Tensor
    fake: Tensor
    latent: Tensor
    labels: Tensor | None = None
    real_output: Tensor | None = None
    fake_output: Tensor | None = None

    @property
    def real_logits(self) -> Tensor | None:
        return None if self.real_output is None else logits_of(self.real_output)

    @property
    def fake_logits(self) -> Tensor | None:
        return None if self.fake_output is None else logits_of(self.fake_output)


def logits_of(output: Tensor) -> Tensor:
    """`(B,)`: the first column of what the discriminator says; backward through a squeeze copies nothing."""
    return output.squeeze(1) if output.shape[1] == 1 else output[:, 0]


class Players(NamedTuple):
    """Both as functions: `generator(latent, labels)` to images, `discriminator(images, labels)` to logits `(B,)`."""

    generator: Callable[[Tensor, Tensor | None], Tensor]
    discriminator: Callable[[Tensor, Tensor | None], Tensor]


class Penalty(nn.Module):
    """Base: `weight` times what `forward(players, round)` gives is added to the loss of `player`.

    With `every` above 1 it comes at one in so many steps, and counts as often (lazy regularization,
    https://arxiv.org/abs/1912.04958, section 3.1). `schedule(images_seen, total_images)` scales the weight.
    """

    player: Literal["discriminator", "generator"] = "discriminator"
    differentiates: tuple[str, ...] = ()  # of the round's `real` and `fake`: whose gradients it takes
    double_backward = True

    def __init__(self, weight: NonNegativeFloat, every: PositiveInt = 1, schedule: Schedule | None = None):
        super().__init__()
        self.weight = weight
        self.every = every
        self.schedule = cheap(schedule)

    def is_due(self, step: int) -> bool:
        """Whether it applies at this step of its player."""
        return step % self.every == 0

    def factor(self, images_seen: int, total_images: int) -> float:
        """What the value is multiplied by."""
        scale = 1.0 if self.schedule is None else self.schedule(images_seen, total_images)
        return self.weight * self.every * scale

    def forward(self, players: Players, round: Round) -> Tensor:
        """The unweighted value, a scalar."""
        raise NotImplementedError


class R1(Penalty):
    """Half the squared gradient of the logit at real images, https://arxiv.org/abs/1801.04406, eq. 9."""

    differentiates = ("real",)

    def forward(self, players: Players, round: Round) -> Tensor:
        return 0.5 * squared_gradient(players, round.real, round.labels, round.real_logits).mean()


class R2(Penalty):
    """Half the squared gradient of the logit at generated images, https://arxiv.org/abs/1801.04406, eq. 10."""

    differentiates = ("fake",)

    def forward(self, players: Players, round: Round) -> Tensor:
        return 0.5 * squared_gradient(players, round.fake, round.labels, round.fake_logits).mean()


class GradientPenalty(Penalty):
    """One-centered gradient penalty between real and generated images, https://arxiv.org/abs/1704.00028, eq. 3."""

    def forward(self, players: Players, round: Round) -> Tensor:
        share = torch.rand(len(round.real), *[1] * (round.real.ndim - 1), device=round.real.device)
        between = torch.lerp(round.real.detach(), round.fake.detach(), share)
        return one_centered(squared_gradient(players, between, round.labels))


class DRAGAN(Penalty):
    """One-centered gradient penalty around real images, https://arxiv.org/abs/1705.07215, section 2.4.

    `spread` times the images' standard deviation bounds the perturbation.
    """

    def __init__(self, weight: NonNegativeFloat, every: PositiveInt = 1, schedule=None, spread: NonNegativeFloat = 0.5):
        super().__init__(weight, every, schedule)
        self.spread = spread

    def forward(self, players: Players, round: Round) -> Tensor:
        real = round.real.detach()
        around = real + self.spread * real.std(correction=0) * torch.rand_like(real)
        return one_centered(squared_gradient(players, around, round.labels))


class LeCam(Penalty):
    """Keeps logits near the running mean of the other side's, for little data: https://arxiv.org/abs/2104.03310."""

    double_backward = False

    def __init__(self, weight: NonNegativeFloat, every: PositiveInt = 1, schedule=None, decay: UnitInterval = 0.99):
        super().__init__(weight, every, schedule)
        self.decay = decay
        self.register_buffer("anchors", torch.zeros(2))  # running means of real and fake logits

    def forward(self, players: Players, round: Round) -> Tensor:
        real, fake = round.real_logits, round.fake_logits
        with torch.no_grad():
            means = torch.stack([real.mean(), fake.mean()]).float()
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(means)
                means /= torch.distributed.get_world_size()
            self.anchors.lerp_(means, 1 - self.decay)
        real_anchor, fake_anchor = self.anchors.clone()
        return (real - fake_anchor).square().mean() + (fake - real_anchor).square().mean()


class Consistency(Penalty):
    """bCR: logits must not change when images are shifted and flipped, https://arxiv.org/abs/2002.04724."""

    double_backward = False

    def __init__(
        self, weight: NonNegativeFloat, every: PositiveInt = 1, schedule=None, shift: int = 4, flip: bool = True
    ):
        super().__init__(weight, every, schedule)
        self.shift = shift
        self.flip = flip

    def forward(self, players: Players, round: Round) -> Tensor:
        sides = [(round.real.detach(), round.real_logits), (round.fake.detach(), round.fake_logits)]
        return sum(
            (players.discriminator(self.moved(images), round.labels) - logits).square().mean()
            for images, logits in sides
        )

    def moved(self, images: Tensor) -> Tensor:
        """The batch flipped or not, and shifted by up to `shift` pixels with its border repeated.

        The frames of a sequence move together.
        """
        *channels, height, width = images.shape[1:]
        images = images.flatten(1, -3)
        shift = min(self.shift, height - 1, width - 1)
        batch, device = len(images), images.device
        down, right = torch.randint(-shift, shift + 1, (2, batch, 1), device=device)
        rows = (torch.arange(height, device=device) + down).clamp(0, height - 1)
        columns = (torch.arange(width, device=device) + right).clamp(0, width - 1)
        if self.flip:
            flipped = torch.rand(batch, 1, device=device) < 0.5
            columns = torch.where(flipped, width - 1 - columns, columns)
        index = torch.arange(batch, device=device)[:, None, None]
        return images.movedim(1, -1)[index, rows[:, :, None], columns[:, None]].movedim(-1, 1).unflatten(1, channels)


class LatentConsistency(Penalty):
    """zCR of the discriminator: logits must not change near a latent, https://arxiv.org/abs/2002.04724, algorithm 2."""

    double_backward = False

    def __init__(self, weight: NonNegativeFloat, every: PositiveInt = 1, schedule=None, step: PositiveFloat = 0.05):
        super().__init__(weight, every, schedule)
        self.step = step

    def forward(self, players: Players, round: Round) -> Tensor:
        with torch.no_grad():
            near = players.generator(round.latent + self.step * torch.randn_like(round.latent), round.labels)
        return (players.discriminator(near, round.labels) - round.fake_logits).square().mean()


class LatentDiversity(LatentConsistency):
    """zCR of the generator: images must change near a latent, https://arxiv.org/abs/2002.04724, algorithm 2."""

    player = "generator"

    def forward(self, players: Players, round: Round) -> Tensor:
        near = players.generator(round.latent + self.step * torch.randn_like(round.latent), round.labels)
        return -(near - round.fake).square().mean()


def squared_gradient(players: Players, images: Tensor, labels: Tensor | None, logits: Tensor | None = None) -> Tensor:
    """`(B,)`: the squared norm of each logit's gradient with respect to its image, differentiable itself.

    `logits` that were computed from `images` with a graph spare a second pass through the discriminator.
    """
    if logits is None or not images.requires_grad:
        images = images.detach().requires_grad_()
        logits = players.discriminator(images, labels)
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def one_centered(squared_norms: Tensor) -> Tensor:
    """The mean squared distance of the norms from one; its gradient is finite where a norm is zero."""
    return ((squared_norms + 1e-12).sqrt() - 1).square().mean()
