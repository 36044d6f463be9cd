"""Auxiliary classifier GAN: the discriminator also tells the class, https://arxiv.org/abs/1610.09585."""

import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.losses.penalties import Round
from lightning_gen.models.gan import GAN


class ACGAN(GAN):
    """Both players want generated images classified as what they were asked to be; `class_weight` weighs that."""

    def __init__(
        self, image_shape: tuple[int, ...], num_classes: int | None, *, class_weight: NonNegativeFloat, **game
    ):
        # Unconditional, it is the GAN without classes.
        self.extra_outputs = (num_classes or 0) if game["conditional"] else 0
        super().__init__(image_shape, num_classes, **game)
        self.class_weight = class_weight

    def discriminator_terms(self, round: Round) -> dict[str, Tensor]:
        terms = super().discriminator_terms(round)
        if not self.num_classes:
            return terms
        real, fake = (self.class_loss(output, round.labels) for output in (round.real_output, round.fake_output))
        return terms | {"class_real": real, "class_fake": fake}

    def generator_terms(self, round: Round) -> dict[str, Tensor]:
        terms = super().generator_terms(round)
        return terms | {"class": self.class_loss(round.fake_output, round.labels)} if self.num_classes else terms

    def class_loss(self, output: Tensor, labels: Tensor) -> Tensor:
        """Weighted cross-entropy of the class logits, the columns after the first."""
        return self.class_weight * F.cross_entropy(output[:, 1:], labels)
