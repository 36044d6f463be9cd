"""Adversarial losses: what each player minimizes, as a function of the logits of real and generated images.

`relativistic` says whether the generator's loss looks at the real logits too; the others are given None for them.
"""

import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import UnitInterval


class NonSaturating:
    """The game of https://arxiv.org/abs/1406.2661 with the generator's loss of its section 3.

    `smoothing` takes so much off the target of real images (one-sided, https://arxiv.org/abs/1606.03498, section 3.4).
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
    """The minimax game itself, https://arxiv.org/abs/1406.2661, eq. 1: its generator learns slowly while it loses."""

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -F.softplus(fake).mean()


class Hinge:
    """Margins of one on either side, https://arxiv.org/abs/1705.02894."""

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
    """Squared distances to targets, https://arxiv.org/abs/1611.04076, eq. 9."""

    relativistic = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return 0.5 * (fake - 1).square().mean()


class Relativistic:
    """Each generated image against one real image (RpGAN), https://arxiv.org/abs/1807.00734; 2501.05441, eq. 2."""

    relativistic = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake - real).mean()

    def generator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(real - fake).mean()
