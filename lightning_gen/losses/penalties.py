"""Regularizers of the two players of a GAN: scalars added to the loss of the player that is updated.

A penalty gets both players as functions, and a round of training data; it keeps no player and never calls backward.
Penalties with double backward run in float32, outside autocast and compiled code.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.optim.schedules import Schedule, cheap
from lightning_gen.utilities.ranks import mean_over_ranks, std_over_ranks
from lightning_gen.utilities.whole_batch import batch_dim

Player = Literal["generator", "discriminator"]


class Round(NamedTuple):
    """Real and generated images `(B, *image_shape)`, the latents `(B, d)` of the latter, labels `(B,)` of both or None.

    Discriminator outputs are `(B, 1 + extra)`: the logit, then the other predictions of a model. They are None where
    the discriminator has not been run; in the generator's update it sees real images for relativistic losses only.
    """

    real: Tensor
    fake: Tensor
    latent: Tensor
    labels: Tensor | None = None
    real_output: Tensor | None = None
    fake_output: Tensor | None = None

    @property
    def real_logits(self) -> Tensor | None:
        """Logits `(B,)` of real images, None where the discriminator has not been run on them."""
        return None if self.real_output is None else logits_of(self.real_output)

    @property
    def fake_logits(self) -> Tensor | None:
        """Logits `(B,)` of generated images, None where the discriminator has not been run on them."""
        return None if self.fake_output is None else logits_of(self.fake_output)

    def output(self, side: Literal["real", "fake"]) -> Tensor:
        """Discriminator outputs `(B, 1 + extra)` of one side; ValueError where it has not been run."""
        output = self.real_output if side == "real" else self.fake_output
        if output is None:
            raise ValueError(f"the discriminator has not been run on the {side} images of this round")
        return output

    def logits(self, side: Literal["real", "fake"]) -> Tensor:
        """Logits `(B,)` of one side; ValueError where the discriminator has not been run."""
        return logits_of(self.output(side))


def logits_of(output: Tensor) -> Tensor:
    """`(B,)`: the first column of discriminator outputs; backward through a squeeze copies nothing."""
    return output.squeeze(1) if output.shape[1] == 1 else output[:, 0]


class Players(NamedTuple):
    """Both players: `generator(latent, labels)` to images, `discriminator(images, labels)` to logits `(B,)`."""

    generator: Callable[[Tensor, Tensor | None], Tensor]
    discriminator: Callable[[Tensor, Tensor | None], Tensor]


class Penalty(nn.Module):
    """Base of penalties: `weight * forward(players, round)` is added to the loss of `player`.

    It is applied every `every` steps of the player, scaled by `every` (lazy regularization,
    https://arxiv.org/abs/1912.04958, section 3.1). `schedule(images_seen, total_images)` scales the weight.
    """

    player: Player = "discriminator"
    differentiates: tuple[str, ...] = ()  # `real`, `fake`: images of the round whose gradients it takes
    double_backward = True

    def __init__(self, weight: NonNegativeFloat, every: PositiveInt = 1, schedule: Schedule | None = None):
        super().__init__()
        self.weight = weight
        self.every = every
        self.schedule = cheap(schedule)

    def is_due(self, step: int) -> bool:
        """Whether it is applied at this step of its player, counted from 0."""
        return step % self.every == 0

    def factor(self, images_seen: int, total_images: int) -> float:
        """The factor on the unweighted value at this step."""
        scale = 1.0 if self.schedule is None else self.schedule(images_seen, total_images)
        return self.weight * self.every * scale

    def forward(self, players: Players, round: Round) -> Tensor:
        """The unweighted value, a scalar."""
        raise NotImplementedError


def check_penalties(penalties: Mapping[str, Any]) -> None:
    """UserError unless each is a `Penalty` or None."""
    for name, penalty in penalties.items():
        if penalty is not None and not isinstance(penalty, Penalty):
            base = f"{Penalty.__module__}.{Penalty.__name__}"
            raise UserError(f"model.penalty.{name}: {type(penalty).__name__} is no Penalty; extend {base}")
        if penalty is not None and penalty.player not in get_args(Player):
            raise UserError(f"model.penalty.{name}: its `player` is {penalty.player!r}; give one of {get_args(Player)}")


class R1(Penalty):
    """Half the squared gradient of the logit at real images, https://arxiv.org/abs/1801.04406, eq. 9."""

    differentiates = ("real",)

    def forward(self, players: Players, round: Round) -> Tensor:
        # 1/2 E[|grad D(x)|^2]
        return 0.5 * squared_gradient(players, round.real, round.labels, round.real_logits).mean()


class R2(Penalty):
    """Half the squared gradient of the logit at generated images, https://arxiv.org/abs/1801.04406, eq. 10."""

    differentiates = ("fake",)

    def forward(self, players: Players, round: Round) -> Tensor:
        return 0.5 * squared_gradient(players, round.fake, round.labels, round.fake_logits).mean()


class GradientPenalty(Penalty):
    """One-centered gradient penalty between real and generated images, https://arxiv.org/abs/1704.00028, eq. 3."""

    def forward(self, players: Players, round: Round) -> Tensor:
        fraction = torch.rand(len(round.real), *[1] * (round.real.ndim - 1), device=round.real.device)
        interpolated = torch.lerp(round.real.detach(), round.fake.detach(), fraction)
        return one_centered(squared_gradient(players, interpolated, round.labels))


class DRAGAN(Penalty):
    """One-centered gradient penalty around real images, https://arxiv.org/abs/1705.07215, section 2.4.

    `spread` times the images' standard deviation bounds the perturbation.
    """

    def __init__(self, *args, spread: NonNegativeFloat = 0.5, **kwargs):
        super().__init__(*args, **kwargs)
        self.spread = spread

    def forward(self, players: Players, round: Round) -> Tensor:
        real = round.real.detach()
        perturbed = real + self.spread * std_over_ranks(real) * torch.rand_like(real)
        return one_centered(squared_gradient(players, perturbed, round.labels))


class LeCam(Penalty):
    """LeCam regularization for small data sets, https://arxiv.org/abs/2104.03310.

    `|D(x) - a_fake|^2 + |D(G(z)) - a_real|^2`; the anchors `a` are moving averages of logits.
    """

    double_backward = False
    anchors: Tensor  # running means of real and of fake logits

    def __init__(self, *args, decay: UnitInterval = 0.99, **kwargs):
        super().__init__(*args, **kwargs)
        self.decay = decay
        self.register_buffer("anchors", torch.zeros(2))

    def forward(self, players: Players, round: Round) -> Tensor:
        real, fake = round.logits("real"), round.logits("fake")
        with torch.no_grad():
            means = torch.stack([real.mean(), fake.mean()]).float()
            self.anchors.lerp_(mean_over_ranks(means), 1 - self.decay)
        real_anchor, fake_anchor = self.anchors.clone()
        return (real - fake_anchor).square().mean() + (fake - real_anchor).square().mean()


class Consistency(Penalty):
    """bCR: logits should be invariant to shifts and flips of images, https://arxiv.org/abs/2002.04724, algorithm 1."""

    double_backward = False

    def __init__(self, *args, shift: NonNegativeInt = 4, flip: bool = True, **kwargs):
        super().__init__(*args, **kwargs)
        self.shift = shift  # pixels
        self.flip = flip

    def forward(self, players: Players, round: Round) -> Tensor:
        real = self.change(players, round.real, round.labels, round.logits("real"))
        return real + self.change(players, round.fake, round.labels, round.logits("fake"))

    def change(self, players: Players, images: Tensor, labels: Tensor | None, logits: Tensor) -> Tensor:
        """The mean squared change of `logits` under a transform of their images."""
        return (players.discriminator(self.moved(images.detach()), labels) - logits).square().mean()

    def moved(self, images: Tensor) -> Tensor:
        """Images shifted by up to `shift` pixels, with replicated borders, and flipped at random.

        All frames of a sequence are transformed alike.
        """
        *channels, height, width = images.shape[1:]
        images = images.flatten(1, -3)
        shift = min(self.shift, height - 1, width - 1)
        batch, device = len(images), images.device
        with batch_dim(1):
            down, right = torch.randint(-shift, shift + 1, (2, batch, 1), device=device)
        rows = (torch.arange(height, device=device) + down).clamp(0, height - 1)
        columns = (torch.arange(width, device=device) + right).clamp(0, width - 1)
        if self.flip:
            flipped = torch.rand(batch, 1, device=device) < 0.5
            columns = torch.where(flipped, width - 1 - columns, columns)
        index = torch.arange(batch, device=device)[:, None, None]
        return images.movedim(1, -1)[index, rows[:, :, None], columns[:, None]].movedim(-1, 1).unflatten(1, channels)


class LatentConsistency(Penalty):
    """zCR of the discriminator: logits should not change near a latent, https://arxiv.org/abs/2002.04724, algorithm 2.

    `step` is the standard deviation of the perturbation of latents.
    """

    double_backward = False

    def __init__(self, *args, step: PositiveFloat = 0.05, **kwargs):
        super().__init__(*args, **kwargs)
        self.step = step

    def forward(self, players: Players, round: Round) -> Tensor:
        with torch.no_grad():
            near = players.generator(round.latent + self.step * torch.randn_like(round.latent), round.labels)
        return (players.discriminator(near, round.labels) - round.logits("fake")).square().mean()


class LatentDiversity(LatentConsistency):
    """zCR of the generator: images should change near a latent, https://arxiv.org/abs/2002.04724, algorithm 2."""

    player = "generator"

    def forward(self, players: Players, round: Round) -> Tensor:
        near = players.generator(round.latent + self.step * torch.randn_like(round.latent), round.labels)
        return -(near - round.fake).square().mean()


def squared_gradient(players: Players, images: Tensor, labels: Tensor | None, logits: Tensor | None = None) -> Tensor:
    """Squared norms `(B,)` of the logits' gradients with respect to the images, with a graph to differentiate again.

    `logits` computed from `images` that require gradients save a second pass through the discriminator.
    """
    if logits is None or not images.requires_grad:
        images = images.detach().requires_grad_()
        logits = players.discriminator(images, labels)
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def one_centered(squared_norms: Tensor) -> Tensor:
    """Mean of `(norm - 1)^2`; its gradient is finite at a norm of zero."""
    return ((squared_norms + 1e-12).sqrt() - 1).square().mean()
