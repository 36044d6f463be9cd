"""The very deep VAE: its bounds are of probabilities, and its latents are those of all layers."""

import pytest
import torch
from helpers.probabilities import check_probabilities

from lightning_gen.batch import Batch
from lightning_gen.losses.likelihoods import Bernoulli
from lightning_gen.models.vdvae import VDVAE
from lightning_gen.networks.layers import with_condition


def vdvae(shape: tuple[int, int, int], layers: int = 2, conditional: bool = False) -> VDVAE:
    torch.manual_seed(0)
    return VDVAE(
        shape,
        3,
        layers=layers,
        latent_channels=1,
        width=4,
        largest=4,
        beta=1.0,
        likelihood=Bernoulli(),
        conditional=conditional,
        optimizer=torch.optim.Adam,
    ).eval()


def test_likelihoods_are_those_of_probabilities():
    model = vdvae((1, 2, 2))
    with torch.no_grad():  # away from the prior
        for layer in model.decoder.blocks:
            layer.posterior[-1].bias += torch.tensor([0.5, -1.0])
    check_probabilities(model)


@pytest.mark.parametrize("shape", [(1, 9, 14), (3, 5, 5)])
@torch.no_grad()
def test_latents_of_all_layers_are_those_of_the_image(shape):
    model = vdvae(shape, conditional=True)
    labels = torch.tensor([0, 1])
    images = model.to_support(torch.rand(2, *shape) * 2 - 1)
    noise = model.latent(2)
    assert noise.shape[1] == sum(c * h * w for c, h, w in model.decoder.latent_shapes)
    features = model.encoder(with_condition(images, model.condition(labels)))
    parameters, whitened = model._infer(features, noise, labels)
    # The posterior's sample in units of the prior: decoded from the prior it is the same image.
    decoded = model.decode(whitened.reparameterize(noise), labels)
    torch.testing.assert_close(decoded, model.likelihood.mean(parameters), rtol=1e-4, atol=1e-5)


def test_divergences_of_the_sizes_sum_to_that_of_all():
    model = vdvae((1, 9, 14))
    terms = model.losses(Batch(torch.rand(4, 1, 9, 14) * 2 - 1))
    assert {"kl_1x1", "kl_5x7"} <= terms.keys()
    assert sum(value for name, value in terms.items() if name.startswith("kl_")).item() == pytest.approx(
        terms["kl"].item(), rel=1e-5
    )
