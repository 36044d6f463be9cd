"""A perceptual term in the objective of a VAE: reconstructions have the features of their images."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.errors import UserError
from lightning_gen.models.latent_variable_model import bound_terms
from lightning_gen.models.objective import Objective
from lightning_gen.models.vae import VAE


class Perceptual(Objective):
    """The negative evidence lower bound, and `weight` times the squared distance of features of unit length.

    Those of images and of the expected images given posterior samples, after https://arxiv.org/abs/1610.00291, here the
    last features of the run's extractor of the name `extractor`. It is fixed, and no part of the model: checkpoints
    have neither its weights nor the paths of its files, but `extractor_hash`, which `use` compares.
    """

    def __init__(self, weight: NonNegativeFloat, extractor: str, extractor_hash: str | None = None):
        super().__init__()
        self.weight = weight
        self.extractor_name = extractor
        self.extractor_hash = extractor_hash
        self._used: tuple[Any, ...] = ()  # the extractor, in a tuple, as modules would be saved

    def use(self, extractor: Any, hash_: str) -> None:
        """Set the extractor; UserError if the run began with another one than that with the hash `hash_`."""
        if self.extractor_hash not in (None, hash_):
            raise UserError(
                f"model.objective.extractor={self.extractor_name}: its weights or settings are not those that this run "
                f"began with ({self.extractor_hash}, now {hash_}); use the same, or model.objective.extractor_hash=null"
            )
        self.extractor_hash = hash_
        self._used = (extractor,)

    def forward(self, model: VAE, batch: Batch) -> dict[str, Tensor]:
        images = model.to_support(batch.images)
        posterior = model.posterior(images, batch.labels)
        noise = posterior.noise()
        latent = posterior.reparameterize(noise)
        parameters = model.decoder_output(latent, batch.labels)
        inference = model.inference_of(posterior, model.prior_density(), noise, latent, parameters, images)
        distance = self._distance(model.likelihood.mean(parameters), batch.images).mean()
        kl = inference.kl
        terms = bound_terms(inference.log_prob, kl, model.scaled_kl(kl).mean() + self.weight * distance)
        return terms | {"perceptual": distance.detach()}

    def _distance(self, images: Tensor, others: Tensor) -> Tensor:
        """Of images in [-1, 1], `(B,)`, between 0 and 4."""
        if not self._used:
            raise UserError("model/objective=perceptual: has its extractor only in training")
        extractor = self._used[0].to(images.device)
        found, expected = extractor.with_gradients(images), extractor.unrounded(others)
        return (F.normalize(found, dim=1) - F.normalize(expected, dim=1)).square().sum(1)
