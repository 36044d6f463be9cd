"""Samples of the posteriors of images, which together are those of the aggregate posterior."""

from typing import Any

from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel
from lightning_gen.models.vae import VAE
from lightning_gen.networks.diagonal_normal import DiagonalNormal


def posterior_points(model: Any, batch: Batch) -> Tensor:
    """A posterior sample of each image as a point of the prior, `(B, d)`; where there is none, what `encode` gives."""
    if isinstance(model, VAE):
        return model.prior.whiten(posterior_latents(model, batch))
    if isinstance(model, LatentVariableModel):
        inference = next(iter(model.inferences(model.to_support(batch.images), batch.labels, samples=1)))
        if isinstance(inference, Inference):
            return DiagonalNormal(inference.mean, inference.log_var).reparameterize(inference.noise)
    return model.encode(*batch)


def posterior_latents(model: VAE, batch: Batch) -> Tensor:
    """A posterior sample of each image, not whitened by the prior, `(B, latent_dim)`."""
    posterior = model.posterior(model.to_support(batch.images), batch.labels)
    return posterior.reparameterize(posterior.noise())
