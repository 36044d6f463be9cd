"""Objectives of VAEs that look at the latents of the whole batch: total correlation, maximum mean discrepancy."""

import math

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.errors import UserError
from lightning_gen.models.latent_variable_model import bound_terms
from lightning_gen.models.objective import Objective
from lightning_gen.models.vae import VAE
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.posterior import DiagonalNormalPosterior

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of the kernels of the discrepancy


class TotalCorrelation(Objective):
    """beta-TC-VAE, https://arxiv.org/abs/1802.04942, eq. 4: `weight` is that of the total correlation.

    The aggregate posterior q(z) is estimated by the batch, on each process by its own images.
    """

    def __init__(self, weight: NonNegativeFloat):
        super().__init__()
        self.weight = weight

    def prepare(self, model: VAE) -> None:
        if not isinstance(model.posterior_family, DiagonalNormalPosterior):
            raise UserError(
                "model/objective=beta_tc: needs the density of each latent; use model/posterior=diagonal_normal"
            )

    def forward(self, model: VAE, batch: Batch) -> dict[str, Tensor]:
        images = model.to_support(batch.images)
        posterior = model.posterior(images, batch.labels)
        assert isinstance(posterior, DiagonalNormal)
        latent, inference = model.infer(posterior, model.prior_density(), images, batch.labels)
        total = total_correlation(posterior, latent).mean()
        kl = inference.kl  # mutual information, total correlation, and the divergence of each latent: eq. 2
        terms = bound_terms(inference.log_prob, kl, model.scaled_kl(kl).mean() + (self.weight - 1) * total)
        return terms | {"total_correlation": total.detach()}


def total_correlation(posterior: DiagonalNormal, latent: Tensor) -> Tensor:
    """log q(z) - sum_i log q(z_i) of each sample, `(B,)`, where q(z) is the mean of the posteriors of the batch.

    Minibatch-weighted sampling, appendix C.1, but for the constant -log(number of training images) of each density,
    which has no gradient.
    """
    log_q = DiagonalNormal(*(tensor[None] for tensor in posterior)).log_probs(latent[:, None])  # (B, B, d)
    joint, each = log_q.sum(2).logsumexp(1), log_q.logsumexp(1)
    return joint - each.sum(1) + (latent.shape[1] - 1) * math.log(len(latent))


class MaximumMeanDiscrepancy(Objective):
    """Moves the aggregate posterior to the prior: https://arxiv.org/abs/1706.02262 and 1711.01558, algorithm 2.

    `weight` is that of the discrepancy of the batch's latents and as many of the prior, on each process of its images;
    `kl_weight` that of the KL divergence, 1 - alpha in the former paper.
    """

    def __init__(self, weight: NonNegativeFloat, kl_weight: NonNegativeFloat = 0.0):
        super().__init__()
        self.weight = weight
        self.kl_weight = kl_weight

    def forward(self, model: VAE, batch: Batch) -> dict[str, Tensor]:
        images = model.to_support(batch.images)
        posterior, prior = model.posterior(images, batch.labels), model.prior_density()
        latent, inference = model.infer(posterior, prior, images, batch.labels)
        expected = prior.sample(prior.points(torch.randn(len(latent), model.latent_dim, device=latent.device)))
        mmd, kl = maximum_mean_discrepancy(latent, expected), inference.kl
        terms = bound_terms(inference.log_prob, kl, self.weight * mmd + self.kl_weight * model.scaled_kl(kl).mean())
        return terms | {"mmd": mmd.detach()}


def maximum_mean_discrepancy(latent: Tensor, expected: Tensor) -> Tensor:
    """Squared discrepancy of two samples `(B, d)`: unbiased, 0 on average where their distributions are the same.

    The kernels are inverse multiquadratics C / (C + |a - b|^2) of several scales, which fall slowly: section 4 of
    1711.01558.
    """
    joined = torch.cat([latent, expected])
    squared = (joined[:, None] - joined).square().sum(2)
    kernel = torch.stack([c / (c + squared) for c in (2 * latent.shape[1] * s for s in SCALES)]).mean(0)
    n = len(latent)
    within = (kernel[:n, :n].sum() + kernel[n:, n:].sum() - 2 * n) / max(1, n * (n - 1))  # of a sample with itself: 1
    return within - 2 * kernel[:n, n:].mean()
