"""A VAE whose evidence and posterior are known."""

import math
from functools import partial
from typing import Any

import torch
from torch import distributions as D
from torch import nn

from lightning_gen.losses.likelihoods import LEVEL_WIDTH, Gaussian
from lightning_gen.models.vae import VAE

IMAGE_SHAPE, SCALE = (1, 2, 3), 0.3


class LinearGaussian(VAE):
    """x = W z + b + noise, with orthogonal columns of W, so that the posterior's covariance is diagonal too.

    `mean_error` and `log_var_error` are added to the parameters of the exact posterior.
    """

    def __init__(self, mean_error: float = 0.0, log_var_error: float = 0.0, beta: float = 1.0, **parts: Any):
        torch.manual_seed(0)
        super().__init__(
            IMAGE_SHAPE,
            None,
            encoder=lambda image_shape, out_dim: nn.Sequential(nn.Flatten(), nn.Linear(6, out_dim)),
            decoder=lambda in_dim, image_shape: nn.Sequential(nn.Linear(in_dim, 6), nn.Unflatten(1, image_shape)),
            likelihood=Gaussian(scale=SCALE),
            latent_dim=2,
            beta=beta,
            optimizer=partial(torch.optim.SGD, lr=0.1),
            **parts,
        )
        self.setup_parts()
        weight = torch.linalg.qr(torch.randn(6, 2))[0] * torch.tensor([0.8, 0.3])
        bias = torch.randn(6) * 0.2
        self.evidence = D.MultivariateNormal(bias, weight @ weight.T + SCALE**2 * torch.eye(6))
        self.posterior_var = 1 / (1 + weight.square().sum(0) / SCALE**2)
        regression = self.posterior_var[:, None] * weight.T / SCALE**2
        self.decoder[0].load_state_dict({"weight": weight, "bias": bias})
        self.encoder[1].load_state_dict(
            {
                "weight": torch.cat([regression, torch.zeros(2, 6)]),
                "bias": torch.cat([mean_error - regression @ bias, self.posterior_var.log() + log_var_error]),
            }
        )
        self.errors = mean_error, log_var_error

    def log_evidence(self, images: torch.Tensor) -> torch.Tensor:
        return self.evidence.log_prob(images.flatten(1)) + 6 * math.log(LEVEL_WIDTH)

    def gap(self) -> float:
        """KL(q(z | x) || p(z | x)), here the same for every image."""
        mean_error, log_var_error = self.errors
        posterior = D.Normal(torch.zeros(2), self.posterior_var.sqrt())
        said = D.Normal(torch.full((2,), mean_error), self.posterior_var.sqrt() * math.exp(log_var_error / 2))
        return D.kl_divergence(said, posterior).sum().item()

    def images(self, n: int) -> torch.Tensor:
        return self.evidence.sample((n,)).view(n, *IMAGE_SHAPE)
