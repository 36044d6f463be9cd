"""A density of latents that is fitted after training, two-stage sampling as in https://arxiv.org/abs/1903.12436.

Section 4: the prior of a VAE is seldom the aggregate posterior, from which its decoder has learned. A density of the
latents of the training images is nearer to it; encoder and decoder stay as they are.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.capabilities import Encodes, HasLatent, Reconstructs
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.models.posterior_samples import posterior_latents, posterior_points
from lightning_gen.models.vae import VAE
from lightning_gen.networks.latent_prior import Prior
from lightning_gen.networks.mixture_prior import VampPrior
from lightning_gen.networks.posterior import DiagonalNormalPosterior
from lightning_gen.networks.von_mises_fisher import UniformSpherePrior
from lightning_gen.utilities.progress import Advance, silent

KEPT_IMAGES = 1000  # for priors that are made of images
HELD_OUT = 0.1  # of the latents, by which the best step is chosen
STEPS, BATCH, RATE = 600, 128, 5e-3  # of Adam, with a rate that falls to 0
CHECKS = 20  # of the held-out latents


class Codes(NamedTuple):
    """The latents of images `(N, d)`, a posterior sample each, and the first of these images."""

    latents: Tensor
    images: Tensor


def check_encodes(model: ImageGenerator, key: str) -> None:
    """UserError, which begins with `key`, unless the model encodes and decodes images."""
    kind = type(model).__name__
    if not (isinstance(model, Encodes) and isinstance(model, HasLatent) and isinstance(model, Reconstructs)):
        raise UserError(f"{key}: {kind} has no encoder, whose latents it would be fitted to; leave it out")
    if isinstance(model, VAE) and isinstance(model.prior, UniformSpherePrior):
        raise UserError(f"{key}: the latents of this {kind} lie on a sphere, which it would leave; leave it out")


def new_prior(make: Callable[..., Any], model: Any, key: str) -> Prior:
    """The density that `make(dim)` gives, not fitted yet; UserError, which begins with `key`, if it doesn't suit."""
    prior = make(dim=model.latent(1).shape[1])
    if not isinstance(prior, Prior):
        base = f"{Prior.__module__}.{Prior.__name__}"
        raise UserError(f"{key}: {type(prior).__name__} is no Prior; extend {base}")
    normal = isinstance(model, VAE) and isinstance(model.posterior_family, DiagonalNormalPosterior)
    if isinstance(prior, VampPrior) and not normal:
        raise UserError(f"{key}: is made of normal posteriors, which this {type(model).__name__} lacks; use prior=gmm")
    prior.prepare(model)
    return prior.to(model.device)


@torch.no_grad()
def codes_of(model: Any, batches: Iterable[Batch], advance: Advance = silent) -> Codes:
    """The latents of the images of `batches`; of a model that is no VAE, points of its prior."""
    latents, images, count = [], [], 0
    for batch in batches:
        latents.append((posterior_latents if isinstance(model, VAE) else posterior_points)(model, batch))
        if count < KEPT_IMAGES:
            images.append(batch.images)
        count += len(batch.images)
        advance(len(batch.images))
    return Codes(torch.cat(latents), torch.cat(images)[:KEPT_IMAGES])


def fit(prior: Prior, codes: Codes, encode: Callable[[Tensor], Any]) -> None:
    """Fit by maximum likelihood; the weights of the step at which held-out latents are most likely are kept."""
    prior.initialize(*codes)
    weights = [parameter for parameter in prior.parameters() if parameter.requires_grad]
    if not weights:
        return
    held_out, train = codes.latents.tensor_split([max(1, round(HELD_OUT * len(codes.latents)))])
    train = train if len(train) else held_out
    optimizer = torch.optim.Adam(weights, RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, STEPS)
    best, kept = -torch.inf, {}
    for step in range(STEPS + 1):
        if step % (STEPS // CHECKS) == 0 and (mean := _mean_log_prob(prior, held_out, encode)) > best:
            best, kept = mean, {name: tensor.clone() for name, tensor in prior.state_dict().items()}
        optimizer.zero_grad()
        batch = train[torch.randint(len(train), (BATCH,), device=train.device)]
        (-prior.density(encode).log_prob(batch).mean()).backward()
        optimizer.step()
        schedule.step()
    prior.load_state_dict(kept or prior.state_dict())


@torch.no_grad()
def _mean_log_prob(prior: Prior, latents: Tensor, encode: Callable[[Tensor], Any]) -> float:
    density = prior.density(encode)
    return float(torch.cat([density.log_prob(part) for part in latents.split(BATCH)]).mean())


def use(prior: Prior, model: Any) -> None:
    """Sample the latents of a model from `prior`. A VAE's own is replaced, so that its bounds are those of both."""
    prior.eval().requires_grad_(False)
    if isinstance(model, VAE):
        model.prior = prior
        return

    def latent(n: int) -> Tensor:
        noise = getattr(model, "temperature", 1.0) * torch.randn(n, width, device=model.device)
        return prior.sample(prior.density(model.encode).points(noise))

    width = model.latent(1).shape[1]
    model.latent = latent
