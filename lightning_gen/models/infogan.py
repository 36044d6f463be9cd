"""InfoGAN: mutual information of latent codes and images, https://arxiv.org/abs/1606.03657."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.losses.penalties import Round
from lightning_gen.models.gan import GAN


class InfoGAN(GAN):
    """The discriminator also predicts the latent's last part: a one-hot code of `categories`, `continuous` codes."""

    def __init__(self, *data, categories: PositiveInt, continuous: NonNegativeInt, information_weight: float, **gan):
        self.categories, self.continuous, self.information_weight = categories, continuous, information_weight
        self.extra_outputs = categories + continuous
        if gan["latent_dim"] < self.extra_outputs:
            raise UserError(f"model.latent_dim={gan['latent_dim']}: give {self.extra_outputs} or more for the codes")
        super().__init__(*data, **gan)

    def latent(self, n: int) -> Tensor:
        """Latents `(n, latent_dim)`: noise, the one-hot code, the continuous codes."""
        noise, code = super().latent(n), torch.randint(self.categories, (n,), device=self.device)
        noise[:, -self.extra_outputs : self.latent_dim - self.continuous] = F.one_hot(code, self.categories).float()
        return noise

    def information(self, round: Round) -> dict[str, Tensor]:
        """The negative lower bound of eq. 5, up to a constant; continuous codes have unit variance."""
        category, continuous = round.latent[:, -self.extra_outputs :].split([self.categories, self.continuous], dim=1)
        logits, mean = round.output("fake")[:, 1:].split([self.categories, self.continuous], dim=1)
        negative_bound = F.cross_entropy(logits, category) + 0.5 * (mean - continuous).square().sum(1).mean()
        return {"information": self.information_weight * negative_bound}

    def discriminator_terms(self, round: Round) -> dict[str, Tensor]:
        return super().discriminator_terms(round) | self.information(round)

    def generator_terms(self, round: Round) -> dict[str, Tensor]:
        return super().generator_terms(round) | self.information(round)
