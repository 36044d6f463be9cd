"""The VAE's bounds against a linear Gaussian model, whose evidence is known, and its contract as a generator."""

import pytest
import torch
from helpers.linear_gaussian import IMAGE_SHAPE, LinearGaussian
from helpers.tiny_models import tiny_vae

from lightning_gen.batch import Batch
from lightning_gen.errors import UserError
from lightning_gen.losses.divergences import kl_from_standard_normal
from lightning_gen.models.vae import VAE


@pytest.fixture(scope="module")
def conditional() -> VAE:
    return tiny_vae("model.conditional=true")[0]


@pytest.fixture
def averaged() -> VAE:
    """A VAE whose averages differ from its weights."""
    model = tiny_vae()[0]
    for parameter in model.decoder.parameters():
        parameter.data += 1
    return model


def test_with_the_exact_posterior_every_importance_weight_is_the_evidence():
    model = LinearGaussian()
    images = model.images(20)
    assert model.gap() == 0
    for samples in (2, 10):
        log_likelihood = model.log_likelihood(images, samples=samples)
        torch.testing.assert_close(log_likelihood, model.log_evidence(images), atol=1e-4, rtol=0)


@pytest.mark.parametrize("errors", [(0.0, 0.0), (0.2, 0.0), (0.0, 1.0), (-0.1, -0.7)])
def test_elbo_lacks_the_posteriors_divergence(errors):
    model = LinearGaussian(*errors)
    images = model.images(4)
    elbos = model.log_likelihood(images.repeat(5000, 1, 1, 1)).view(5000, 4)
    expected = model.log_evidence(images) - model.gap()
    assert ((elbos.mean(0) - expected).abs() < 5 * elbos.std(0) / 5000**0.5).all()


def test_more_samples_tighten_the_bound_up_to_the_evidence():
    model = LinearGaussian(mean_error=0.15, log_var_error=0.8)
    images = model.images(1000)
    evidence = model.log_evidence(images).mean().item()
    bounds = [model.log_likelihood(images, samples=samples).mean().item() for samples in (1, 3, 30, 1000)]
    assert bounds == sorted(bounds)
    assert bounds[0] < evidence - 0.2
    assert evidence - 0.01 < bounds[-1] < evidence + 0.002


@torch.no_grad()
@pytest.mark.parametrize("part", ["diagonal_normal", "iaf"])
def test_samples_decoded_together_are_those_of_one_after_another(part):
    model = tiny_vae("model.conditional=true", f"model/posterior={part}")[0].eval()
    images, labels = model.to_support(torch.rand(3, *model.image_shape) * 2 - 1), torch.tensor([2, 0, 1])
    posterior, prior = model.posterior(images, labels), model.prior_density()
    torch.manual_seed(1)
    expected = [model.infer(posterior, prior, images, labels)[1].log_weight for _ in range(4)]
    torch.manual_seed(1)
    samples = model.infer_together(posterior, prior, images, labels, samples=4)
    torch.testing.assert_close([inference.log_weight for _, inference in samples], expected)


def test_beta_warms_up_in_training():
    model = LinearGaussian(mean_error=0.1, beta=4.0)
    model.beta_warmup_images = 100
    weights = []
    for model.images_seen in (0, 25, 100, 1000):
        weights.append(model.train().kl_weight)
        assert model.eval().kl_weight == 4.0
    assert weights == [0.0, 1.0, 4.0, 4.0]


def test_beta_rises_again_in_each_cycle():
    model = LinearGaussian(beta=4.0)
    model.beta_cycle_images = 100
    weights = []
    for model.images_seen in (0, 25, 50, 99, 125):
        weights.append(model.train().kl_weight)
        assert model.eval().kl_weight == 4.0
    assert weights == [0.0, 2.0, 4.0, 4.0, 2.0]


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_loss_is_reconstruction_plus_beta_kl(beta):
    model = LinearGaussian(mean_error=0.1, beta=beta)
    images = model.images(2000)
    terms = model.losses(Batch(images))
    assert terms["loss"].item() == pytest.approx((terms["reconstruction"] + beta * terms["kl"]).item())
    assert terms["negative_elbo"].item() == pytest.approx((terms["reconstruction"] + terms["kl"]).item())
    assert terms["kl"].item() == pytest.approx(kl_from_standard_normal(*model.posterior(images)).mean().item())
    expected = model.gap() - model.log_evidence(images).mean().item()
    assert terms["negative_elbo"].item() == pytest.approx(expected, abs=0.2)


def test_gradient_reaches_encoder_and_decoder():
    model = LinearGaussian(mean_error=0.1)
    terms = model.losses(Batch(model.images(8)))
    assert not terms["negative_elbo"].requires_grad
    terms["loss"].backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


def test_posterior_and_latents():
    model = LinearGaussian()
    images = model.images(5)
    mean, log_var = model.posterior(images)
    assert torch.equal(model.encode(images), mean)
    torch.testing.assert_close(log_var.exp(), model.posterior_var.expand(5, 2))
    drawn = model.latent(20_000)
    assert drawn.shape == (20_000, 2)
    assert drawn.mean().item() == pytest.approx(0, abs=0.03)
    assert drawn.std().item() == pytest.approx(1, abs=0.03)


def test_log_variance_is_bounded():
    model = LinearGaussian(log_var_error=1e6)
    assert model.posterior(model.images(3))[1].eq(15).all()
    assert model.losses(Batch(model.images(3)))["loss"].isfinite()


def test_samples_and_reconstructions_are_expected_images():
    model = LinearGaussian()
    images = model.images(6)
    torch.testing.assert_close(model.reconstruct(images), model.decode(model.encode(images)))
    torch.testing.assert_close(model.decode(torch.zeros(1, 2)).flatten(), model.evidence.mean.clamp(-1, 1))
    samples = model.sample(500)
    assert samples.shape == (500, *IMAGE_SHAPE)
    assert samples.min() >= -1
    assert samples.max() <= 1


def test_labels_change_what_a_conditional_model_sees_and_shows(conditional):
    images, latent = torch.rand(5, 1, 8, 8) * 2 - 1, torch.randn(5, 3)
    zeros, ones = torch.zeros(5, dtype=torch.long), torch.ones(5, dtype=torch.long)
    assert (
        (conditional.decode(latent, zeros) - conditional.decode(latent, ones)).abs().amax(dim=(1, 2, 3)).gt(1e-3).all()
    )
    means = [conditional.posterior(images, labels)[0] for labels in (zeros, ones)]
    assert (means[0] - means[1]).abs().amax(dim=1).gt(1e-4).all()


def test_a_conditional_model_draws_the_labels_it_is_not_given(conditional):
    assert conditional.sample(9).shape == (9, 1, 8, 8)
    drawn = conditional.draw_labels(1000)
    assert drawn.bincount(minlength=4).min() > 200
    assert len(drawn.unique()) == 4
    assert LinearGaussian().draw_labels(3) is None


def test_labels_are_learned(conditional):
    batch = Batch(torch.rand(6, 1, 8, 8) * 2 - 1, torch.tensor([0, 1, 2, 3, 0, 1]))
    conditional.losses(batch)["loss"].backward()
    assert conditional.label_embedding.weight.grad.any(dim=1).all()


def test_a_conditional_model_needs_labels():
    with pytest.raises(UserError, match=r"conditional=true.*no labels"):
        tiny_vae("model.conditional=true", "data.num_classes=null")


def test_averaged_weights_stand_in_and_go_back(averaged):
    latent, raw = torch.randn(3, 3), dict(averaged.named_modules())
    trained = averaged.decode(latent)
    with averaged.averaged_weights():
        assert averaged.decoder is averaged.averages["decoder"].module
        stood_in = averaged.decode(latent)
    assert not torch.equal(stood_in, trained)
    assert torch.equal(averaged.decode(latent), trained)
    assert dict(averaged.named_modules()) == raw
    with averaged.averaged_weights(enabled=False):
        assert torch.equal(averaged.decode(latent), trained)


def test_averaged_weights_go_back_after_an_error(averaged):
    raw, names = averaged.decoder, list(averaged.state_dict())
    with pytest.raises(RuntimeError, match="inside"), averaged.averaged_weights(), averaged.averaged_weights():
        raise RuntimeError("inside")
    assert averaged.decoder is raw
    assert sorted(averaged.state_dict()) == sorted(names)


def test_averaged_weights_are_a_choice():
    model = tiny_vae("model.ema_decay=null")[0]
    decoder = model.decoder
    with model.averaged_weights():
        assert model.decoder is decoder
    model.use_averaged_weights()
    assert model.decoder is decoder


def test_use_averaged_weights_is_for_good(averaged):
    latent = torch.randn(3, 3)
    with averaged.averaged_weights():
        expected = averaged.decode(latent)
    averages = averaged.averages["decoder"].module
    averaged.use_averaged_weights()
    assert averaged.decoder is averages
    assert torch.equal(averaged.decode(latent), expected)
    assert not any(name.startswith("averages") for name in averaged.state_dict())
    with averaged.averaged_weights():
        assert torch.equal(averaged.decode(latent), expected)
