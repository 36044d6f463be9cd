"""Hierarchical VAEs: their bounds are of probabilities, and their latents are those of all layers."""

from typing import Any

import pytest
import torch
from helpers.probabilities import check_probabilities

from lightning_gen.batch import Batch
from lightning_gen.losses.likelihoods import Bernoulli
from lightning_gen.models.hierarchical_vae import HierarchicalVAE
from lightning_gen.models.ladder_vae import LadderVAE
from lightning_gen.models.vdvae import VDVAE
from lightning_gen.networks.layers import with_condition

SIZES: dict[type[HierarchicalVAE], dict[str, int]] = {
    VDVAE: {"layers": 2, "width": 4, "largest": 4},
    LadderVAE: {"layers": 1, "width": 4, "vector": 4, "patch": 2, "latent_dim": 1},
}
both = pytest.mark.parametrize("kind", SIZES, ids=lambda kind: kind.__name__)


def made(kind: Any, shape: tuple[int, int, int], conditional: bool = False) -> HierarchicalVAE:
    torch.manual_seed(0)
    settings = {"latent_channels": 1, "beta": 1.0, "likelihood": Bernoulli(), "conditional": conditional}
    return kind(shape, 3, **SIZES[kind], **settings, optimizer=torch.optim.Adam).eval()


@both
def test_likelihoods_are_those_of_probabilities(kind):
    model = made(kind, (1, 2, 2))
    with torch.no_grad():  # away from the prior
        for layer in model.decoder.blocks:
            layer.posterior[-1].bias += torch.tensor([0.5, -1.0])
    check_probabilities(model)


@both
@pytest.mark.parametrize("shape", [(1, 9, 14), (3, 5, 5)])
@torch.no_grad()
def test_latents_of_all_layers_are_those_of_the_image(kind, shape):
    model = made(kind, shape, conditional=True)
    for layer in model.decoder.blocks:  # priors that depend on the latents above
        torch.nn.init.normal_((layer.prior if kind is LadderVAE else layer.prior[-1]).weight, std=0.3)
    labels = torch.tensor([0, 1])
    images = model.to_support(torch.rand(2, *shape) * 2 - 1)
    noise = model.latent(2)
    assert noise.shape[1] == sum(c * h * w for c, h, w in model.decoder.latent_shapes)
    features = model.encoder(with_condition(images, model.condition(labels)))
    parameters, whitened = model._infer(features, noise, labels)
    # The posterior's sample in units of the prior: decoded from the prior it is the same image.
    decoded = model.decode(whitened.reparameterize(noise), labels)
    torch.testing.assert_close(decoded, model.likelihood.mean(parameters), rtol=1e-4, atol=1e-5)


@both
def test_divergences_of_the_sizes_sum_to_that_of_all(kind):
    model = made(kind, (1, 9, 14))
    terms = model.losses(Batch(torch.rand(4, 1, 9, 14) * 2 - 1))
    assert {"kl_1x1", "kl_5x7"} <= terms.keys()
    assert sum(value for name, value in terms.items() if name.startswith("kl_")).item() == pytest.approx(
        terms["kl"].item(), rel=1e-5
    )


@torch.no_grad()
def test_vector_of_a_ladder_tells_positions_apart():
    # Maps that begin as one vector repeated could tell them apart by their borders only.
    decoder = made(LadderVAE, (1, 16, 16)).decoder
    maps = decoder.entered(1, torch.randn(1, 4, 1, 1))
    assert maps.std((2, 3)).min() > 0.01
