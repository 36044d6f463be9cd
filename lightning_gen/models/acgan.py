"""Auxiliary classifier GAN: the discriminator also predicts the class, https://arxiv.org/abs/1610.09585."""

import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.losses.penalties import Round
from lightning_gen.models.gan import GAN


class ACGAN(GAN):
    """Both players minimize the cross-entropy of the predicted class; without labels it is a plain GAN."""

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        class_weight: NonNegativeFloat,  # of the cross-entropy
        **gan,
    ):
        self.extra_outputs = (num_classes or 0) if gan["conditional"] else 0
        super().__init__(image_shape, num_classes, **gan)
        self.class_weight = class_weight

    def discriminator_terms(self, round: Round) -> dict[str, Tensor]:
        terms = super().discriminator_terms(round)
        if round.labels is None:
            return terms
        real = self.class_loss(round.output("real"), round.labels)
        fake = self.class_loss(round.output("fake"), round.labels)
        return terms | {"class_real": real, "class_fake": fake}

    def generator_terms(self, round: Round) -> dict[str, Tensor]:
        terms = super().generator_terms(round)
        if round.labels is None:
            return terms
        return terms | {"class": self.class_loss(round.output("fake"), round.labels)}

    def class_loss(self, output: Tensor, labels: Tensor) -> Tensor:
        """Weighted cross-entropy of the class logits, the outputs after the first."""
        return self.class_weight * F.cross_entropy(output[:, 1:], labels)
