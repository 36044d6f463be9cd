"""VRNN: its bound against torch's, its causality, and its contract, over rows of images and frames of sequences."""

import pytest
import torch
from helpers.configs import composed
from helpers.probabilities import check_probabilities
from torch import distributions as D
from torch.nn.functional import silu

from lightning_gen.batch import Batch
from lightning_gen.capabilities import Completes, Predicts
from lightning_gen.config.instantiation import build_model
from lightning_gen.models.vrnn import VRNN
from lightning_gen.testing import check_model

TINY_VRNN = ["model.latent_dim=2", "model.hidden=6", "model.encoder.width=5", "model.decoder.width=5"]
CONV = [f"network@model.{side}coder=conv_{side}coder" for side in ("en", "de")]
CONDITIONAL = "model.conditional=true"


def vrnn(image_shape: tuple[int, ...], *overrides: str) -> VRNN:
    torch.manual_seed(0)
    return build_model(
        composed("model=vrnn", "data=fake", "data.black_and_white=true", *TINY_VRNN, *overrides).model, image_shape, 4
    )


@pytest.mark.parametrize(
    ("image_shape", "overrides"), [((1, 3, 4), ()), ((1, 3, 4), (CONDITIONAL,)), ((3, 1, 2, 2), ())]
)
def test_bound_by_hand(image_shape, overrides):
    model = vrnn(image_shape, *overrides)
    for network in (model.prior, model.posterior):  # away from the standard normal
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    images = model.to_support(torch.rand(6, *image_shape) * 2 - 1)
    labels = torch.arange(6) % 4 if overrides else None
    condition = [model.label_embedding(labels)] if overrides else []
    torch.manual_seed(1)
    elbo = model.log_likelihood(images, labels)
    torch.manual_seed(1)
    noise = torch.randn(6, 3, 2)

    state, expected = torch.zeros(6, 6), torch.zeros(6)
    for t in range(3):
        step = images[:, t] if len(image_shape) == 4 else images[:, :, t : t + 1]
        context = torch.cat([state, *condition], 1)
        seen = silu(model.encoder(step))
        mean, log_var = model.prior(context).chunk(2, 1)
        prior = D.Normal(mean, (log_var / 2).exp())
        hidden = silu(model.posterior.seen(seen) + model.posterior.state(context))
        mean, log_var = model.posterior.out(hidden).chunk(2, 1)
        posterior = D.Normal(mean, (log_var / 2).exp())
        latent = model.latent_features(posterior.mean + posterior.stddev * noise[:, t])
        logits = model.decoder(torch.cat([latent, context], 1))
        log_prob = D.Bernoulli(logits=logits).log_prob((step + 1) / 2).sum((1, 2, 3))
        expected = expected + log_prob - D.kl_divergence(posterior, prior).sum(1)
        state = model.cell(torch.cat([seen, latent], 1), state)
    torch.testing.assert_close(elbo, expected)


def test_importance_weights_average_to_a_probability():
    model = vrnn((1, 2, 2))
    torch.nn.init.normal_(model.posterior.out.weight, std=0.5)
    torch.nn.init.normal_(model.decoder.layers[-2].weight)
    check_probabilities(model)


@pytest.mark.parametrize("of_frames", [False, True])
def test_a_steps_prior_knows_the_steps_before_it_alone(of_frames):
    model = vrnn((5, 1, 2, 3) if of_frames else (1, 5, 6))
    steps = model.to_steps(torch.rand(2, *model.image_shape) * 2 - 1).requires_grad_()
    _, posterior, prior, _ = model.follow(steps, None, torch.randn(2, 5, 2))
    for t in range(5):
        for normal, known in ((prior, t), (posterior, t + 1)):
            for parameter in normal:
                [gradient] = torch.autograd.grad(parameter[:, t].sum(), steps, retain_graph=True, allow_unused=True)
                assert not gradient[:, known:].any()
                assert gradient[:, :known].flatten(2).any(2).all()


@pytest.mark.parametrize("image_shape", [(2, 5, 6), (5, 1, 9, 8)])
def test_generation_follows_what_it_drew(image_shape):
    """Where the latent says nothing, each step's expectation is that of `follow` for the steps before it."""
    model = vrnn(image_shape, *CONV * (len(image_shape) == 4), CONDITIONAL)
    for parameter in model.latent_features.parameters():
        parameter.data.zero_()
    images, labels = model.to_support(torch.rand(3, *image_shape) * 2 - 1), torch.tensor([0, 1, 2])
    steps = model.to_steps(images)
    draws = iter(steps.unbind(1))
    model.likelihood.sample = lambda parameters: next(draws)
    with torch.no_grad():
        expected = model.reconstruct(images, labels)
        torch.testing.assert_close(model.sample(3, labels), expected)
        draws = iter(steps[:, 2:].unbind(1))
        if len(image_shape) == 4:
            torch.testing.assert_close(model.predict(images[:, :2], 3, labels), expected[:, 2:])
        else:
            completed = model.complete(images, 2, labels)
            assert torch.equal(completed[:, :, :2], images[:, :, :2])
            torch.testing.assert_close(completed[:, :, 2:], expected[:, :, 2:])


@pytest.mark.parametrize("image_shape", [(3, 7, 5), (4, 3, 12, 9)])
def test_gradients_reach_all(image_shape):
    overrides = [*CONV * (len(image_shape) == 4), "model/likelihood=discretized_logistic", CONDITIONAL]
    model = vrnn(image_shape, *overrides)
    batch = Batch(torch.rand(6, *image_shape) * 2 - 1, torch.tensor([0, 1, 2, 3, 0, 1]))
    terms = model.losses(batch)
    assert terms["negative_elbo"].item() == pytest.approx((terms["reconstruction"] + terms["kl"]).item())
    terms["loss"].backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not without


def test_sequences():
    model = vrnn((4, 3, 12, 9), *CONV, "model/likelihood=gaussian")
    context = torch.rand(2, 3, 3, 12, 9) * 2 - 1
    with torch.no_grad():
        assert model.sample(2).shape == (2, 4, 3, 12, 9)
        assert model.reconstruct(context).shape == context.shape
        predicted = model.predict(context, 5)
    assert predicted.shape == (2, 5, 3, 12, 9)
    assert predicted.abs().max() <= 1


def test_rows_complete_and_frames_predict():
    images, sequences = vrnn((1, 5, 6)), vrnn((5, 1, 4, 4))
    assert isinstance(images, Completes)
    assert not isinstance(images, Predicts)
    assert isinstance(sequences, Predicts)
    assert sequences.context_frames == 2
    assert images.complete(torch.ones(2, 1, 5, 6), 0).shape == (2, 1, 5, 6)


@pytest.mark.slow
def test_sequences_of_convolutional_frames():
    check_model("vrnn", *TINY_VRNN, *CONV, data="non_square_sequence")
