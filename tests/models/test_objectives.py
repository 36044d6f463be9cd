"""Objectives of VAEs by numbers, and the pairs of parts that don't suit."""

import math
from functools import partial

import pytest
import torch
from helpers.linear_gaussian import LinearGaussian
from torch import Tensor
from torch import distributions as D

from lightning_gen.batch import Batch
from lightning_gen.errors import UserError
from lightning_gen.models.factor import Factor
from lightning_gen.models.importance_weighted import ImportanceWeighted
from lightning_gen.models.objective import EvidenceLowerBound
from lightning_gen.models.objectives import (
    MaximumMeanDiscrepancy,
    TotalCorrelation,
    maximum_mean_discrepancy,
    total_correlation,
)
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.flow_prior import FlowPrior
from lightning_gen.networks.mixture_prior import VampPrior
from lightning_gen.networks.posterior_flows import InverseAutoregressivePosterior
from lightning_gen.networks.von_mises_fisher import UniformSpherePrior, VonMisesFisherPosterior

VARIANTS = {
    "iwae": {},
    "miwae": {"groups": 2},
    "piwae": {"groups": 2, "partial": True},
    "ciwae": {"elbo_share": 0.4},
}


def model_of(objective, mean_error: float = 0.15, log_var_error: float = 0.8, **parts) -> LinearGaussian:
    return LinearGaussian(mean_error, log_var_error, objective=objective, **parts)


def gradients(model: LinearGaussian, images: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Of the encoder and of the decoder."""
    torch.manual_seed(seed)
    model.zero_grad()
    model.losses(Batch(images))["loss"].backward()
    parts = (model.encoder, model.decoder)
    return tuple(torch.cat([p.grad.flatten() for p in part.parameters()]) for part in parts)


def test_many_importance_weights_are_the_evidence():
    model = model_of(None)
    images = model.images(500)
    with torch.no_grad():
        estimate = model.log_likelihood(images, samples=3000)
    assert estimate.mean().item() == pytest.approx(model.log_evidence(images).mean().item(), abs=1e-3)


@pytest.mark.parametrize("variant", ["iwae", "miwae", "ciwae"])
def test_dreg_has_the_gradient_of_the_bound(variant):
    settings = {"samples": 3, **VARIANTS[variant]}
    models = [model_of(ImportanceWeighted(**settings, gradient=kind)) for kind in ("dreg", "reparameterized")]
    images = models[0].images(1).repeat(4000, 1, 1, 1)
    runs = [torch.stack([torch.cat(gradients(m, images, seed)) for seed in range(20)]) for m in models]
    means, errors = [r.mean(0) for r in runs], [r.std(0) / 20**0.5 for r in runs]
    size = len(gradients(models[0], images)[0])
    difference, error = means[0] - means[1], (errors[0].square() + errors[1].square()).sqrt()
    assert (difference.abs() < 5 * error + 1e-5)[:size].all()
    assert means[1][:size].abs().max() > 20 * error[:size].max()
    torch.testing.assert_close(means[0][size:], means[1][size:], rtol=1e-3, atol=1e-3)  # of the decoder: the same
    assert errors[0][:size].norm() < errors[1][:size].norm()


def test_decoder_and_encoder_of_piwae_have_bounds_of_their_own():
    images = model_of(None).images(50)
    partial_, of_all, of_groups = (
        gradients(model_of(ImportanceWeighted(samples=3, groups=groups, partial=both) if both else objective), images)
        for both, groups, objective in (
            (True, 2, None),
            (False, 0, ImportanceWeighted(samples=6)),
            (False, 0, ImportanceWeighted(samples=3, groups=2)),
        )
    )
    torch.testing.assert_close(partial_[1], of_all[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(partial_[0], of_groups[0], rtol=1e-4, atol=1e-4)


def test_bounds_are_in_the_order_of_their_tightness():
    images = model_of(None).images(3000)
    bounds = []
    settings = ({"samples": 1}, {"samples": 6, "elbo_share": 0.5}, {"samples": 3, "groups": 2}, {"samples": 6})
    for chosen in settings:
        model = model_of(ImportanceWeighted(**chosen))
        torch.manual_seed(0)
        with torch.no_grad():
            bounds.append(-model.losses(Batch(images))["loss"].item())
    assert bounds == sorted(bounds)
    assert bounds[-1] < model.log_evidence(images).mean().item()
    elbo = model.log_evidence(images).mean().item() - model.gap()
    assert bounds[0] == pytest.approx(elbo, abs=0.05)


def test_total_correlation_of_a_normal_distribution():
    torch.manual_seed(0)
    covariance, noise = torch.tensor([[1.0, 0.8], [0.8, 1.0]]), 0.05
    factor = torch.linalg.cholesky(covariance - noise * torch.eye(2))
    posterior = DiagonalNormal(torch.randn(2000, 2) @ factor.T, torch.full((2000, 2), math.log(noise)))
    estimate = total_correlation(posterior, posterior.reparameterize(posterior.noise())).mean().item()
    assert estimate == pytest.approx(-0.5 * math.log(1 - 0.64), abs=0.06)


def test_weight_of_total_correlation_is_beyond_that_of_the_bound():
    terms = []
    for weight in (1.0, 6.0):
        model = model_of(TotalCorrelation(weight))
        torch.manual_seed(0)
        terms.append(model.losses(Batch(model.images(200))))
    assert terms[0]["loss"].item() == pytest.approx(terms[0]["negative_elbo"].item(), abs=1e-4)
    expected = terms[1]["negative_elbo"] + 5 * terms[1]["total_correlation"]
    assert terms[1]["loss"].item() == pytest.approx(expected.item(), abs=1e-4)


def test_discrepancy_is_of_distributions_that_differ():
    torch.manual_seed(0)
    alike, moved = (
        torch.stack([maximum_mean_discrepancy(torch.randn(50, 4) + by, torch.randn(50, 4)) for _ in range(50)])
        for by in (0.0, 0.5)
    )
    assert abs(alike.mean().item()) < 3 * alike.std().item() / 50**0.5
    assert moved.mean() > 10 * moved.std() / 50**0.5
    model = model_of(MaximumMeanDiscrepancy(weight=100.0, kl_weight=0.5))
    terms = model.losses(Batch(model.images(50)))
    expected = terms["reconstruction"] + 100 * terms["mmd"] + 0.5 * terms["kl"]
    assert terms["loss"].item() == pytest.approx(expected.item(), abs=1e-4)


def test_players_of_factor_learn_from_their_own_terms():
    model = model_of(Factor(0.0, width=8, depth=1, optimizer=partial(torch.optim.Adam, lr=1e-3)))
    images = model.images(40)
    encoder, _ = gradients(model, images)
    discriminator = [p.grad.clone() for p in model.objective.parameters()]
    model.objective.weight = 20.0
    weighted, _ = gradients(model, images)
    assert not torch.allclose(encoder, weighted)
    for before, parameter in zip(discriminator, model.objective.parameters(), strict=True):
        assert before.any()
        torch.testing.assert_close(parameter.grad, before)  # the model's term does not train the discriminator
    (_, parameters), (_, own) = model.trainable_groups()
    assert len(parameters) + len(own) == len(list(model.parameters()))
    assert not {id(p) for p in parameters} & {id(p) for p in own}
    model.objective = EvidenceLowerBound()
    torch.testing.assert_close(gradients(model, images)[0], encoder)  # nor the discriminator's term the model


def test_free_nats_are_not_penalized():
    model = model_of(EvidenceLowerBound(free_nats=50.0))
    images = model.images(40)
    terms = model.losses(Batch(images))
    assert terms["loss"].item() == pytest.approx((terms["reconstruction"] + 2 * 50).item(), rel=1e-5)
    model.objective.free_nats = 1e-6
    terms = model.losses(Batch(images))
    assert terms["loss"].item() == pytest.approx(terms["negative_elbo"].item(), rel=1e-5)


SPHERE, IAF = VonMisesFisherPosterior, partial(InverseAutoregressivePosterior, steps=1, hidden=4, context=2)
VAMP = partial(VampPrior, components=2)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"posterior": SPHERE}, "add model/prior=uniform_sphere"),
        ({"prior": UniformSpherePrior}, "add model/posterior=von_mises_fisher"),
        ({"prior": VAMP, "posterior": IAF}, "use model/posterior=diagonal_normal"),
        ({"objective": TotalCorrelation(2.0), "posterior": IAF}, "use model/posterior=diagonal_normal"),
        ({"objective": ImportanceWeighted(2), "posterior": IAF}, "add model.objective.gradient=reparameterized"),
        ({"objective": ImportanceWeighted(2), "beta": 2.0}, "remove model.beta"),
        ({"objective": EvidenceLowerBound(1.0), "prior": VAMP}, "free_nats=1.0.*only model/posterior=diagonal_normal"),
        ({"objective": 3}, "model.objective: int is no Objective"),
    ],
)
def test_parts_that_do_not_suit_are_one_line(parts, message):
    with pytest.raises(UserError, match=message) as error:
        LinearGaussian(**parts)
    assert "\n" not in str(error.value)


def test_settings_that_do_not_suit_are_one_line():
    with pytest.raises(UserError, match=r"partial=true: needs model.objective.gradient=dreg"):
        ImportanceWeighted(samples=2, partial=True, gradient="reparameterized")
    with pytest.raises(UserError, match=r"latent_dim=1.*model/prior=mixture"):
        FlowPrior(1, steps=2, hidden=4)
    with pytest.raises(UserError, match="latent_dim=1: a sphere"):
        LinearGaussian(prior=lambda dim: UniformSpherePrior(1))


def test_latents_of_a_vamp_prior_are_those_of_its_posteriors():
    model = LinearGaussian(prior=VAMP)
    with torch.no_grad():
        posterior, points = model.posterior(model.prior.images.tanh()), model.latent(4000)
    torch.testing.assert_close(points.mean(0), posterior.mean.mean(0), atol=0.1, rtol=0)
    expected = D.MixtureSameFamily(
        D.Categorical(torch.ones(2)), D.Independent(D.Normal(posterior.mean, (posterior.log_var / 2).exp()), 1)
    )
    torch.testing.assert_close(model.prior_density().log_prob(points), expected.log_prob(points))
