"""EDM: diffusion with preconditioned networks, https://arxiv.org/abs/2206.00364."""

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveFloat
from lightning_gen.errors import UserError
from lightning_gen_flow.probability_flow import ProbabilityFlow, like


class EDM(ProbabilityFlow):
    """Noise is added: at the level sigma, x is image + sigma * noise.

    `sigma_data` is about the standard deviation of pixels. Samples begin at `sigma_max` and go down to `sigma_min` in
    steps that are even in sigma^(1 / `rho`), then to 0.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        sigma_data: PositiveFloat,
        sigma_min: PositiveFloat,
        sigma_max: PositiveFloat,
        rho: PositiveFloat,
        **flow,
    ):
        super().__init__(image_shape, num_classes, **flow)
        if not sigma_min < sigma_max:
            raise UserError(f"model.sigma_min={sigma_min}: give more than 0 and less than sigma_max={sigma_max}")
        self.sigma_data, self.sigma_min, self.sigma_max, self.rho = sigma_data, sigma_min, sigma_max, rho

    @property
    def largest(self) -> float:
        return self.sigma_max

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error of the denoised image, weighted so that all levels begin with the same (table 1, eq. 8)."""
        x = self.to_support(batch.images)
        sigma = self.noise_level.draw(len(x), x.device).exp()
        noisy = x + like(sigma, x) * torch.randn_like(x)
        denoised = self.denoise(noisy, sigma, self.forgotten(batch.labels))
        weight = (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        return {"loss": (like(weight, x) * (denoised - x).square()).mean()}

    def denoise(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """The expected image, eq. 7."""
        variance = sigma**2 + self.sigma_data**2
        skip = self.sigma_data**2 / variance
        out = sigma * self.sigma_data / variance.sqrt()
        return like(skip, x) * x + like(out, x) * self.predict_noise(x, sigma, labels)

    def field(self, x: Tensor, level: Tensor, labels: Tensor | None) -> Tensor:
        """(x - denoised) / sigma, eq. 3, with the division carried out: nothing is divided by 0 at the level 0."""
        variance = level**2 + self.sigma_data**2
        of_network = self.sigma_data / variance.sqrt()
        return like(level / variance, x) * x - like(of_network, x) * self.predict_noise(x, level, labels)

    def predict_noise(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """The network's raw output F, given inputs of unit variance."""
        scale = (sigma**2 + self.sigma_data**2).rsqrt()
        noise = sigma.clamp(min=self.sigma_min).log().expand(len(x)) / 4
        return self.network(like(scale, x) * x, noise, labels).float()

    def sampling_levels(self, steps: int) -> Tensor:
        """Eq. 5, and 0."""
        return torch.cat([self._between(steps - 1), torch.zeros(1)])

    def likelihood_levels(self, steps: int) -> Tensor:
        """From `sigma_min`, whose noise is less than that within an image's level."""
        return self._between(steps).flip(0)

    def _between(self, steps: int) -> Tensor:
        share = torch.linspace(0, 1, steps + 1) if steps else torch.zeros(1)
        ends = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return torch.lerp(torch.full_like(share, ends[0]), torch.full_like(share, ends[1]), share) ** self.rho
