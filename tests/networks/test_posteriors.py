"""Posteriors and priors of VAEs by numbers: densities, divergences, samples."""

import math

import pytest
import torch
from torch import Tensor
from torch import distributions as D

from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.flow_prior import FlowPrior
from lightning_gen.networks.householder import HouseholderPosterior
from lightning_gen.networks.latent_prior import AutoregressivePrior, Prior, StandardNormalPrior
from lightning_gen.networks.low_rank_normal import LowRankNormalPosterior
from lightning_gen.networks.mixture_prior import MixturePrior, NormalMixture
from lightning_gen.networks.posterior import DiagonalNormalPosterior, PosteriorFamily
from lightning_gen.networks.posterior_flows import InverseAutoregressivePosterior, PlanarPosterior
from lightning_gen.networks.von_mises_fisher import UniformSpherePrior, VonMisesFisher, VonMisesFisherPosterior

BY_CHANGE_OF_VARIABLES = {
    "diagonal_normal": lambda: DiagonalNormalPosterior(3),
    "householder": lambda: HouseholderPosterior(3, steps=2),
    "planar": lambda: PlanarPosterior(3, steps=3),
    "iaf": lambda: InverseAutoregressivePosterior(3, steps=2, hidden=8, context=4),
}


def outputs(family: PosteriorFamily, n: int, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return torch.randn(n, family.out_dim)


def log_normal(noise: Tensor) -> Tensor:
    return D.Normal(0, 1).log_prob(noise).sum(-1)


@pytest.mark.parametrize("name", BY_CHANGE_OF_VARIABLES)
def test_density_is_that_of_the_noise_over_the_change_of_volume(name):
    torch.manual_seed(1)
    family = BY_CHANGE_OF_VARIABLES[name]()
    posterior = family(outputs(family, 1))
    noise = posterior.noise()
    jacobian = torch.autograd.functional.jacobian(lambda z: posterior.reparameterize(z)[0], noise)[:, 0]
    expected = log_normal(noise) - torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(posterior.log_prob(posterior.reparameterize(noise)), expected, rtol=1e-4, atol=1e-4)


def test_a_flow_has_no_density_of_other_latents():
    family = PlanarPosterior(3, steps=1)
    posterior = family(outputs(family, 2))
    with pytest.raises(RuntimeError, match="drawn last"):
        posterior.log_prob(posterior.reparameterize(posterior.noise()).clone())


def test_each_latent_of_an_autoregressive_flow_depends_on_those_before_it():
    network = InverseAutoregressivePosterior(4, steps=1, hidden=16, context=2).networks[0]
    jacobian = torch.autograd.functional.jacobian(lambda z: network(z[None], torch.ones(1, 2))[0], torch.randn(4))
    for part in jacobian.chunk(2):
        assert (part.triu() == 0).all()
        assert (part[torch.tril_indices(4, 4, -1).unbind()] != 0).all()


def test_low_rank_normal_is_that_of_torch():
    family = LowRankNormalPosterior(4, rank=2)
    posterior = family(outputs(family, 5))
    expected = D.LowRankMultivariateNormal(posterior.mean, posterior.factors, posterior.log_var.exp())
    latents = torch.randn(5, 4)
    torch.testing.assert_close(posterior.log_prob(latents), expected.log_prob(latents))
    standard = D.MultivariateNormal(torch.zeros(4), torch.eye(4))
    torch.testing.assert_close(posterior.kl(StandardNormalPrior(4)), D.kl_divergence(expected, standard))
    drawn = torch.stack([posterior.reparameterize(posterior.noise())[0] for _ in range(5000)])
    torch.testing.assert_close(drawn.T.cov(), expected.covariance_matrix[0], atol=0.5, rtol=0.1)


@pytest.mark.parametrize("concentration", [0.5, 7.0, 300.0])
@pytest.mark.parametrize("dim", [2, 3, 24])
def test_von_mises_fisher_is_normalized_and_its_divergence_is_the_mean(dim, concentration):
    direction = torch.nn.functional.normalize(torch.randn(1, dim), dim=1).expand(4000, -1)
    posterior, prior = VonMisesFisher(direction, torch.full((4000, 1), concentration)), UniformSpherePrior(dim)
    latents = posterior.reparameterize(posterior.noise())
    assert latents.norm(dim=1).sub(1).abs().max() < 1e-5
    log_q, log_p = posterior.log_prob(latents), prior.log_prob(latents)
    ratio = log_q - log_p
    assert posterior.kl(prior)[0].item() == pytest.approx(ratio.mean().item(), abs=5 * ratio.std().item() / 4000**0.5)
    if dim == 2:  # von Mises
        angle = latents[:, 1].atan2(latents[:, 0]) - direction[0, 1].atan2(direction[0, 0])
        torch.testing.assert_close(log_q, D.VonMises(0.0, concentration).log_prob(angle), atol=2e-3, rtol=1e-3)
    if dim == 3:  # C = k / (4 pi sinh k)
        log_c = math.log(concentration / (2 * math.pi)) - concentration - math.log1p(-math.exp(-2 * concentration))
        torch.testing.assert_close(log_q, log_c + concentration * (latents * direction).sum(1), atol=2e-3, rtol=1e-3)


def test_gradients_of_von_mises_fisher_samples_are_those_of_their_mean():
    concentration = torch.full((8000, 1), 5.0, requires_grad=True)
    posterior = VonMisesFisher(torch.eye(3)[:1].expand(8000, -1), concentration)
    cosine = posterior.reparameterize(posterior.noise())[:, 0].mean()
    (gradient,) = torch.autograd.grad(cosine, concentration)
    # E cos = coth k - 1 / k
    assert gradient.sum().item() == pytest.approx(1 / 25 - 1 / math.sinh(5) ** 2, rel=0.08)


@pytest.mark.parametrize("family", [LowRankNormalPosterior(3, rank=1), HouseholderPosterior(3, steps=2)])
def test_closed_divergences_are_the_mean_of_the_ratio(family):
    output, prior = outputs(family, 1).expand(20_000, -1), StandardNormalPrior(3)
    posterior = family(output)
    latents = posterior.reparameterize(posterior.noise())
    ratio = posterior.log_prob(latents) - prior.log_prob(latents)
    assert posterior.kl(prior)[0].item() == pytest.approx(ratio.mean().item(), abs=5 * ratio.std().item() / 141)
    assert posterior.kl(AutoregressivePrior(3, group=1, hidden=4)) is None


def test_a_mixture_is_that_of_torch():
    torch.manual_seed(0)
    prior = MixturePrior(2, components=3)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter)
    density = prior.density(None)
    normals = D.Independent(D.Normal(prior.mean, (prior.log_var / 2).exp()), 1)
    expected = D.MixtureSameFamily(D.Categorical(logits=prior.logits), normals)
    latents = density.points(torch.randn(20_000, 2))
    torch.testing.assert_close(density.log_prob(latents), expected.log_prob(latents))
    torch.testing.assert_close(latents.mean(0), expected.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(latents.var(0), expected.variance, atol=0.15, rtol=0.05)


@pytest.mark.parametrize(
    ("dim", "prior"),
    [
        (3, FlowPrior(3, steps=3, hidden=8)),
        (2, FlowPrior(2, steps=2, hidden=8)),
        (4, AutoregressivePrior(4, group=2, hidden=4)),
    ],
)
def test_a_prior_that_maps_noise_has_the_density_of_the_change_of_volume(dim: int, prior: Prior):
    torch.manual_seed(0)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    noise = prior.points(torch.randn(1, dim))
    jacobian = torch.autograd.functional.jacobian(lambda z: prior.sample(z)[0], noise)[:, 0]
    latents = prior.sample(noise)
    torch.testing.assert_close(prior.whiten(latents), noise, rtol=1e-4, atol=1e-5)
    expected = log_normal(noise) - torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(prior.log_prob(latents), expected, rtol=1e-4, atol=1e-4)


def test_points_of_a_mixture_are_latents():
    components = DiagonalNormal(torch.tensor([[5.0], [-5.0]]), torch.zeros(2, 1))
    mixture = NormalMixture(components, torch.tensor([0.0, -100.0]))
    points = mixture.points(torch.zeros(4, 1))
    assert (points == 5).all()
    assert mixture.sample(points) is points
    assert mixture.whiten(points) is points
    assert VonMisesFisherPosterior(4).out_dim == 5


def test_latents_of_a_scaled_sphere_are_as_large_as_standard_normal_ones():
    posterior = VonMisesFisherPosterior(3, scaled=True)(torch.randn(5, 4))
    latents = posterior.reparameterize(posterior.noise())
    torch.testing.assert_close(latents.square().sum(1), torch.full((5,), 3.0))
    unit = VonMisesFisher(posterior.direction, posterior.concentration)
    # a sphere of radius r has r^(d - 1) times the area
    expected = unit.log_prob(latents / 3**0.5) - 2 * math.log(3**0.5)
    torch.testing.assert_close(posterior.log_prob(latents), expected)
    assert posterior.concentration.min() >= 3
