"""Adversarial losses of both players, as functions of the logits of real and generated images."""

from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import UnitInterval
from lightning_gen.errors import UserError


class AdversarialLoss(Protocol):
    """A scalar loss for each player.

    The generator's is given `real=None`, which saves a pass through the discriminator, unless the class has the
    attribute `relativistic = True`: then both players' losses compare real with generated images.
    """

    @property
    def relativistic(self) -> bool: ...

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss of logits `(B,)`."""
        ...

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """The generator's loss of logits `(B,)`."""
        ...


def checked_loss(loss: Any) -> AdversarialLoss:
    """`loss`; UserError unless it has both methods. It is not relativistic unless it says so."""
    for method in ("discriminator", "generator"):
        if not callable(getattr(loss, method, None)):
            raise UserError(f"model.loss: {type(loss).__name__} has no method {method}(real, fake); add it")
    if not hasattr(loss, "relativistic"):
        loss.relativistic = False
    return loss


class NonSaturating:
    """The GAN of https://arxiv.org/abs/1406.2661 with the generator's loss of its section 3.

    `smoothing` is subtracted from the target 1 of real images (one-sided label smoothing,
    https://arxiv.org/abs/1606.03498, section 3.4).
    """

    relativistic = False

    def __init__(self, smoothing: UnitInterval = 0.0):
        self.smoothing = smoothing

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        # softplus(-x) + s * x = -(1 - s) log sigmoid(x) - s log(1 - sigmoid(x))
        return F.softplus(-real).mean() + self.smoothing * real.mean() + F.softplus(fake).mean()

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return F.softplus(-fake).mean()


class Saturating(NonSaturating):
    """The minimax loss, https://arxiv.org/abs/1406.2661, eq. 1: the generator's gradients vanish early in training."""

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -F.softplus(fake).mean()


class Hinge:
    """Hinge loss with a margin of one, https://arxiv.org/abs/1705.02894."""

    relativistic = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -fake.mean()


class Wasserstein:
    """The dual of the Wasserstein distance, https://arxiv.org/abs/1701.07875, eq. 2; the critic must be Lipschitz."""

    relativistic = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -fake.mean()


class LeastSquares:
    """Squared distances to the targets 1 (real) and 0 (fake), https://arxiv.org/abs/1611.04076, eq. 9."""

    relativistic = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return 0.5 * (fake - 1).square().mean()


class Relativistic:
    """Relativistic pairs of real and generated images (RpGAN), https://arxiv.org/abs/1807.00734; 2501.05441, eq. 2."""

    relativistic = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake - real).mean()

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        assert real is not None  # as the loss is relativistic
        return F.softplus(real - fake).mean()
