"""Distributions of latents, by numbers."""

import pytest
import torch
from torch import distributions as D

from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_model
from lightning_gen.losses.divergences import kl_from_standard_normal
from lightning_gen.networks.diagonal_normal import DiagonalNormal
from lightning_gen.networks.latent_prior import AutoregressivePrior


def test_kl_of_two_normals_equals_that_of_the_whitened_one_from_a_standard_normal():
    one, other = DiagonalNormal(*torch.randn(2, 5, 3)), DiagonalNormal(*torch.randn(2, 5, 3))
    expected = D.kl_divergence(*(D.Normal(mean, (log_var / 2).exp()) for mean, log_var in (one, other))).sum(1)
    torch.testing.assert_close(kl_from_standard_normal(*one.relative_to(other)), expected)


def test_draws_have_the_mean_and_the_variance():
    normal = DiagonalNormal.of(torch.tensor([1.0, -2.0, 0.0, 2.0]))
    drawn = normal.reparameterize(torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0)))
    assert drawn.mean(0).tolist() == pytest.approx([1.0, -2.0], abs=0.03)
    assert drawn.var(0).log().tolist() == pytest.approx([0.0, 2.0], abs=0.03)


class TestAutoregressivePrior:
    def prior(self):
        torch.manual_seed(0)
        return AutoregressivePrior(6, group=2, hidden=8)

    def test_drawing_is_the_inverse_of_standardising(self):
        prior, noise = self.prior(), torch.randn(4, 6)
        latents = prior.sample(noise)
        mean, log_var = prior(latents)
        torch.testing.assert_close((latents - mean) * (-0.5 * log_var).exp(), noise, rtol=1e-4, atol=1e-5)

    def test_a_group_of_latents_depends_on_the_groups_before_it(self):
        prior, latents = self.prior(), torch.randn(1, 6, requires_grad=True)
        mean, _ = prior(latents)
        for number, seen in enumerate((0, 0, 2, 2, 4, 4)):
            (gradient,) = torch.autograd.grad(mean[0, number], latents, retain_graph=True, allow_unused=True)
            assert (gradient[0, :seen] != 0).all()
            assert (gradient[0, seen:] == 0).all()

    def test_learns_a_distribution_that_is_not_normal(self):
        prior = self.prior()
        optimizer = torch.optim.Adam(prior.parameters(), 1e-2)
        for _ in range(300):
            latents = torch.randn(128, 6)
            latents[:, 2] = latents[:, 0] ** 2 + 0.1 * latents[:, 2]
            mean, log_var = prior(latents)
            loss = -D.Normal(mean, (log_var / 2).exp()).log_prob(latents).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        drawn = prior.sample(torch.randn(1000, 6))
        assert (drawn[:, 2] - drawn[:, 0] ** 2).std().item() < 0.5  # of independent normals it is 2
        assert drawn[:, [0, 2]].mean(0).tolist() == pytest.approx([0.0, 1.0], abs=0.2)


class TestVAEWithALearnedPrior:
    def model(self):
        torch.manual_seed(0)
        config = compose(
            [
                *("model=mlp_vae", "model/prior=autoregressive", "model.prior.group=1", "model.prior.hidden=8"),
                *("model.latent_dim=2", "model.encoder.width=8", "model.decoder.width=8", "data=fake"),
            ]
        ).model
        model = build_model(config, (1, 3, 3), None).eval()
        with torch.no_grad():
            model.prior.groups.out.bias += 1  # away from standard normal
        return model

    def test_weights_and_divergence_are_of_posterior_and_prior(self):
        model, images = self.model(), torch.where(torch.rand(5, 1, 3, 3) < 0.5, 1.0, -1.0)
        [inference] = model.inferences(images, None, samples=1)
        posterior = model.posterior(images)
        latent = posterior.reparameterize(inference.noise)
        q, p = (D.Normal(mean, (log_var / 2).exp()) for mean, log_var in (posterior, model.prior(latent)))
        torch.testing.assert_close(inference.kl, D.kl_divergence(q, p).sum(1))
        ratio = (p.log_prob(latent) - q.log_prob(latent)).sum(1)
        torch.testing.assert_close(inference.log_weight - inference.log_prob, ratio)

    def test_latents_are_whitened_by_the_prior(self):
        model, images = self.model(), torch.where(torch.rand(5, 1, 3, 3) < 0.5, 1.0, -1.0)
        latent = model.latent(20_000)
        assert latent.std(0).tolist() == pytest.approx([1.0, 1.0], abs=0.05)
        expected = model.decoder_output(model.prior.sample(latent), None)
        torch.testing.assert_close(model.decode(latent), model.likelihood.mean(expected))
        torch.manual_seed(1)  # to binarize alike
        encoded = model.encode(images)
        torch.manual_seed(1)
        mean = model.posterior(model.to_support(images)).mean
        torch.testing.assert_close(model.prior.sample(encoded), mean)
        torch.testing.assert_close(model.decode(encoded), model.likelihood.mean(model.decoder_output(mean, None)))
