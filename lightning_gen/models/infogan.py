"""InfoGAN: part of the latent must be readable from the image, https://arxiv.org/abs/1606.03657."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.losses.penalties import Round
from lightning_gen.models.gan import GAN


class InfoGAN(GAN):
    """The latent ends in a one-hot code of `categories` and `continuous` normal codes; the discriminator finds them."""

    def __init__(self, *data, categories: PositiveInt, continuous: NonNegativeInt, information_weight: float, **game):
        self.categories, self.continuous, self.information_weight = categories, continuous, information_weight
        self.extra_outputs = categories + continuous
        if game["latent_dim"] < self.extra_outputs:
            raise UserError(f"model.latent_dim={game['latent_dim']}: give {self.extra_outputs} or more for the codes")
        super().__init__(*data, **game)

    def latent(self, n: int) -> Tensor:
        """Noise, then the one-hot code, then the continuous ones: `(n, latent_dim)`."""
        noise, code = super().latent(n), torch.randint(self.categories, (n,), device=self.device)
        noise[:, -self.extra_outputs : self.latent_dim - self.continuous] = F.one_hot(code, self.categories).float()
        return noise

    def information(self, round: Round) -> dict[str, Tensor]:
        """Minus the bound of eq. 5 up to a constant, with a Gaussian of unit variance for the continuous codes."""
        code = round.latent[:, -self.extra_outputs :].split([self.categories, self.continuous], dim=1)
        found = round.fake_output[:, 1:].split([self.categories, self.continuous], dim=1)
        bound = F.cross_entropy(found[0], code[0]) + 0.5 * (found[1] - code[1]).square().sum(1).mean()
        return {"information": self.information_weight * bound}

    def discriminator_terms(self, round: Round) -> dict[str, Tensor]:
        return super().discriminator_terms(round) | self.information(round)

    def generator_terms(self, round: Round) -> dict[str, Tensor]:
        return super().generator_terms(round) | self.information(round)
