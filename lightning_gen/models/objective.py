"""What a VAE minimizes: the base of objectives, and the evidence lower bound."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.errors import UserError
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel, bound_terms


class Objective(nn.Module):
    """Base of objectives: the terms of one batch, of which `loss` is minimized.

    Modules of an objective are trained by `make_optimizer`, if it has one, beside those of the model.
    """

    make_optimizer: Callable[..., torch.optim.Optimizer] | None = None

    def prepare(self, model: Any) -> None:
        """Called once when the VAE has its parts; UserError for parts that don't suit."""

    def forward(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """Scalars by name."""
        raise NotImplementedError


class EvidenceLowerBound(Objective):
    """The negative evidence lower bound, with the KL term weighted by the model's `beta`.

    `free_nats` of each latent's mean KL divergence are free, so that the decoder has latents to read: free bits,
    https://arxiv.org/abs/1606.04934, section C.8, with a group for each latent.
    """

    def __init__(self, free_nats: NonNegativeFloat = 0.0):
        super().__init__()
        self.free_nats = free_nats

    def prepare(self, model: Any) -> None:
        if self.free_nats and not model.has_closed_kl:
            raise UserError(
                f"model.objective.free_nats={self.free_nats}: needs the KL divergence of each latent, which only "
                "model/posterior=diagonal_normal with model/prior=standard_normal or autoregressive has"
            )

    def forward(self, model: LatentVariableModel, batch: Batch) -> dict[str, Tensor]:
        [inference] = model.inferences(model.to_support(batch.images), batch.labels, samples=1)
        if not (self.free_nats and isinstance(inference, Inference)):
            return model.bound(inference)
        penalty = model.scaled_kl(inference.kls.mean(0).clamp(min=self.free_nats).sum())
        return bound_terms(inference.log_prob, inference.kl, penalty)
