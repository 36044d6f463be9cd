"""Likelihoods and divergences against torch.distributions, and as distributions: what they give sums to one."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from helpers.configs import composed
from helpers.dispatched import NOT_DETERMINISTIC, dispatched
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions as D

from lightning_gen.config.instantiation import instantiate
from lightning_gen.losses.continuous_bernoulli import ContinuousBernoulli
from lightning_gen.losses.divergences import kl_from_standard_normal
from lightning_gen.losses.likelihoods import (
    LEVEL_WIDTH,
    Bernoulli,
    CrossEntropy,
    DiscretizedLogistic,
    Gaussian,
    Laplace,
)
from lightning_gen.losses.one_scale_gaussian import OneScaleGaussian

ALL = {
    "bernoulli": Bernoulli(),
    "gaussian": Gaussian(scale=0.2),
    "gaussian_learned": Gaussian(scale=None),
    "gaussian_shared": Gaussian(scale=None, shared=True),
    "laplace": Laplace(scale=0.2),
    "laplace_shared": Laplace(scale=None, shared=True),
    "sigma_vae": OneScaleGaussian(scale=0.2),
    "continuous_bernoulli": ContinuousBernoulli(),
    "discretized_logistic": DiscretizedLogistic(),
    "logistic_mixture": DiscretizedLogistic(components=5),
    "cross_entropy": CrossEntropy(levels=256),
    "cross_entropy_4": CrossEntropy(levels=4),
}
SHAPE = (5, 3, 4, 6)
LOCATIONS, LOG_SCALES = st.floats(-5, 5, width=32), st.floats(-10, 10, width=32)


def random_images(*shape: int, levels: int = 256) -> torch.Tensor:
    return torch.randint(levels, shape).double() / (levels - 1) * 2 - 1


def random_parameters(likelihood, b: int, c: int, h: int, w: int) -> torch.Tensor:
    return torch.randn(b, likelihood.parameters_per_value * c, h, w, dtype=torch.float64)


def every_level(dtype=torch.float32) -> torch.Tensor:
    return (torch.arange(256, dtype=dtype) / 127.5 - 1).view(256, 1, 1, 1)


def independent(distribution: D.Distribution) -> D.Distribution:
    return D.Independent(distribution, 3)


def test_bernoulli_is_that_of_torch():
    logits, images = torch.randn(SHAPE, dtype=torch.float64), random_images(*SHAPE, levels=2)
    expected = independent(D.Bernoulli(logits=logits)).log_prob((images + 1) / 2)
    torch.testing.assert_close(Bernoulli().log_prob(logits, images), expected)
    torch.testing.assert_close(Bernoulli().mean(logits), D.Bernoulli(logits=logits).mean * 2 - 1)


def test_bernoulli_sums_to_one_over_all_binary_images():
    logits = torch.randn(1, 1, 2, 2, dtype=torch.float64).expand(16, -1, -1, -1)
    images = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=4))).double().view(16, 1, 2, 2)
    assert Bernoulli().log_prob(logits, images).exp().sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("likelihood", "of_torch"),
    [(Gaussian(scale=0.3), lambda p: D.Normal(p, 0.3)), (Laplace(scale=0.3), lambda p: D.Laplace(p, 0.3))],
)
def test_fixed_scales_are_torchs_times_the_width_of_a_level(likelihood, of_torch):
    location, images = torch.randn(SHAPE, dtype=torch.float64), random_images(*SHAPE)
    expected = independent(of_torch(location)).log_prob(images) + 3 * 4 * 6 * math.log(2 / 255)
    torch.testing.assert_close(likelihood.log_prob(location, images), expected)


def test_one_scale_is_learned_to_be_the_root_of_the_mean_squared_error():
    likelihood, location = OneScaleGaussian(), torch.zeros(50, 1, 8, 8)
    images = 0.1 * torch.randn_like(location)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (-likelihood.log_prob(location, images).mean()).backward()
        optimizer.step()
    assert likelihood.log_scale.exp().item() == pytest.approx(images.square().mean().sqrt().item(), rel=1e-2)
    torch.testing.assert_close(
        likelihood.log_prob(location, images), Gaussian(likelihood.log_scale.exp().item()).log_prob(location, images)
    )


def test_learned_scale_is_the_second_half_of_the_channels():
    parameters, images = torch.randn(5, 6, 4, 6, dtype=torch.float64), random_images(*SHAPE)
    normal = independent(D.Normal(parameters[:, :3], parameters[:, 3:].exp()))
    expected = normal.log_prob(images) + 3 * 4 * 6 * math.log(2 / 255)
    torch.testing.assert_close(Gaussian(scale=None).log_prob(parameters, images), expected)


def test_a_shared_scale_is_the_geometric_mean_over_a_channel():
    parameters, images = torch.randn(5, 6, 4, 6, dtype=torch.float64), random_images(*SHAPE)
    scale = parameters[:, 3:].mean((2, 3), keepdim=True).exp()
    expected = independent(D.Normal(parameters[:, :3], scale)).log_prob(images) + 3 * 4 * 6 * math.log(2 / 255)
    torch.testing.assert_close(Gaussian(scale=None, shared=True).log_prob(parameters, images), expected)


def test_the_default_gaussian_weights_all_errors_alike():
    """Scales of single values let the decoder explain objects as noise, and draw blurs."""
    gaussian = instantiate(composed("data=fake", "model/likelihood=gaussian").model.likelihood)
    parameters, images = torch.randn(5, 6, 4, 6, dtype=torch.float64).requires_grad_(), random_images(*SHAPE)
    (gradient,) = torch.autograd.grad(gaussian.log_prob(parameters, images).sum(), parameters)
    weights = gradient[:, :3] / (images - parameters[:, :3])
    torch.testing.assert_close(weights, weights[:, :, :1, :1].expand_as(weights))


@pytest.mark.parametrize(
    ("likelihood", "mass"),
    # The last one is uniform here: of its two outermost levels half is outside of [-1, 1].
    [(Gaussian(scale=0.1), 1), (Laplace(scale=0.1), 1), (ContinuousBernoulli(), 256 / 255)],
    ids=["gaussian", "laplace", "continuous_bernoulli"],
)
def test_the_width_of_a_level_makes_a_density_a_mass(likelihood, mass):
    images = every_level(torch.float64)
    assert likelihood.log_prob(torch.zeros_like(images), images).exp().sum().item() == pytest.approx(mass, abs=1e-3)


def logistic_masses(location: float, log_scale: float) -> torch.Tensor:
    """By the differences of the distribution function, in float64, from the tail where they keep their digits."""
    images, scale = every_level(torch.float64), math.exp(max(log_scale, -7))
    upper = (images + LEVEL_WIDTH / 2 - location) / scale
    lower = (images - LEVEL_WIDTH / 2 - location) / scale
    upper[-1], lower[0] = math.inf, -math.inf
    return torch.where(lower > 0, (-lower).sigmoid() - (-upper).sigmoid(), upper.sigmoid() - lower.sigmoid()).flatten()


def logistic_log_masses(location: float, log_scale: float, dtype: torch.dtype) -> torch.Tensor:
    parameters = torch.tensor([location, log_scale], dtype=dtype).view(1, 2, 1, 1).expand(256, -1, -1, -1)
    return DiscretizedLogistic().log_prob(parameters, every_level(dtype)).double()


@settings(max_examples=200, deadline=None)
@given(LOCATIONS, LOG_SCALES)
def test_discretized_logistic_sums_to_one(location, log_scale):
    masses = logistic_log_masses(location, log_scale, torch.float32).exp()
    assert masses.sum().item() == pytest.approx(1, abs=2e-5)
    torch.testing.assert_close(masses, logistic_masses(location, log_scale), rtol=1e-3, atol=1e-7)


@settings(max_examples=200, deadline=None)
@given(LOCATIONS, LOG_SCALES)
def test_discretized_logistic_is_exact_far_into_its_tails(location, log_scale):
    exact, expected = logistic_log_masses(location, log_scale, torch.float64), logistic_masses(location, log_scale)
    known = expected > 1e-300  # below, the reference has no digits left
    torch.testing.assert_close(exact[known], expected[known].log(), rtol=1e-9, atol=1e-9)
    rounded = logistic_log_masses(location, log_scale, torch.float32)
    # float32 holds an image less its location, up to 6, to 5e-7.
    torch.testing.assert_close(rounded, exact, rtol=2e-6, atol=1e-5 + 1e-6 * math.exp(-max(log_scale, -7)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(LOCATIONS, LOG_SCALES, st.floats(-10, 10, width=32)), min_size=2, max_size=4))
def test_mixtures_masses_are_weighted_sums_and_sum_to_one(components):
    parameters = torch.tensor(components, dtype=torch.float64).T  # locations, log-scales, log-weights
    likelihood = DiscretizedLogistic(components=len(components))
    nats = likelihood.log_prob(parameters.reshape(1, -1, 1, 1).expand(256, -1, -1, -1), every_level(torch.float64))
    each = torch.stack([logistic_masses(location, log_scale) for location, log_scale, _ in components])
    torch.testing.assert_close(nats.exp(), parameters[2].softmax(0) @ each, rtol=1e-9, atol=1e-12)
    assert nats.exp().sum().item() == pytest.approx(1)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["discretized_logistic", "gaussian_learned"]), LOCATIONS, LOG_SCALES)
def test_gradients_are_finite_at_extreme_parameters(name, location, log_scale):
    images = torch.tensor([-1, -1 + LEVEL_WIDTH, 1 / 255, 1 - LEVEL_WIDTH, 1]).view(5, 1, 1, 1)
    parameters = torch.tensor([location, log_scale]).view(1, 2, 1, 1).repeat(5, 1, 1, 1).requires_grad_()
    nats = ALL[name].log_prob(parameters, images)
    nats.sum().backward()
    assert nats.isfinite().all()
    assert parameters.grad.isfinite().all()


@pytest.mark.parametrize("location", [1e3, 1e6, -1e9])
def test_discretized_logistic_pulls_back_a_location_that_ran_away(location):
    parameters = torch.tensor([location, 0.0]).view(1, 2, 1, 1).requires_grad_()
    DiscretizedLogistic().log_prob(parameters, torch.zeros(1, 1, 1, 1)).sum().backward()
    assert parameters.grad.flatten()[0].item() == pytest.approx(-math.copysign(1, location))
    assert parameters.grad.isfinite().all()


@pytest.mark.parametrize("levels", [4, 256])
def test_cross_entropy_is_that_of_each_channel(levels):
    parameters, images = torch.randn(5, levels * 3, 4, 6, dtype=torch.float64), random_images(*SHAPE, levels=levels)
    classes = ((images + 1) / 2 * (levels - 1)).round().long()
    nats = [F.cross_entropy(parameters[:, c::3], classes[:, c], reduction="none").sum((1, 2)) for c in range(3)]
    likelihood = CrossEntropy(levels=levels)
    torch.testing.assert_close(likelihood.log_prob(parameters, images), -sum(nats))
    gray = torch.linspace(-1, 1, levels, dtype=torch.float64)
    expected = [(parameters[:, c::3].softmax(1) * gray.view(-1, 1, 1)).sum(1) for c in range(3)]
    torch.testing.assert_close(likelihood.mean(parameters), torch.stack(expected, dim=1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 30))
def test_cross_entropy_sums_to_one(seed, spread):
    logits = torch.randn(1, 256, 1, 1, generator=torch.Generator().manual_seed(seed)) * spread
    masses = CrossEntropy(levels=256).log_prob(logits.expand(256, -1, -1, -1), every_level()).exp()
    assert masses.sum().item() == pytest.approx(1, abs=1e-5)


def test_cross_entropy_is_pytorchs_by_what_is_deterministic_on_cuda():
    likelihood, images = CrossEntropy(levels=256), random_images(2, 3, 4, 5).float()
    parameters = torch.randn(2, 3 * 256, 4, 5, requires_grad=True)

    def log_prob():
        value = likelihood.log_prob(parameters, images)
        value.sum().backward()
        return value

    assert not dispatched(log_prob) & NOT_DETERMINISTIC
    gradient, parameters.grad = parameters.grad, None
    level = ((images + 1) / 2 * 255).round().long()
    expected = -F.cross_entropy(parameters.unflatten(1, (256, 3)), level, reduction="none").flatten(1).sum(1)
    expected.sum().backward()
    assert torch.equal(likelihood.log_prob(parameters, images), expected)
    assert torch.equal(gradient, parameters.grad)


@pytest.mark.parametrize("name", ALL)
def test_log_prob_is_a_sum_over_channels(name):
    likelihood, images = ALL[name], random_images(*SHAPE, levels=2)
    parameters = random_parameters(likelihood, *SHAPE)
    of_channels = [likelihood.log_prob(parameters[:, c::3], images[:, c : c + 1]) for c in range(3)]
    assert likelihood.log_prob(parameters, images).shape == (5,)
    torch.testing.assert_close(likelihood.log_prob(parameters, images), sum(of_channels))


@pytest.mark.parametrize("name", ["gaussian_learned", "discretized_logistic"])
def test_location_is_the_first_half_of_the_channels(name):
    parameters = torch.rand(5, 6, 4, 6) * 2 - 1
    assert torch.equal(ALL[name].mean(parameters), parameters[:, :3])


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(ALL)), st.integers(0, 2**32), st.floats(0, 100), st.sampled_from([1, 3]))
def test_mean_is_an_image(name, seed, spread, channels):
    likelihood = ALL[name]
    shape = (2, likelihood.parameters_per_value * channels, 4, 6)
    mean = likelihood.mean(torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * spread)
    assert mean.shape == (2, channels, 4, 6)
    assert mean.min() >= -1
    assert mean.max() <= 1


def test_mean_of_a_nearly_certain_level_stays_in_range():
    torch.manual_seed(0)
    logits = torch.randn(64, 256, 4, 4)
    logits[:, -1] += torch.rand(64, 4, 4) * 40
    for nearly_white_or_black in (logits, logits.flip(1)):  # rounding alone would take some out
        assert CrossEntropy(levels=256).mean(nearly_white_or_black).abs().max() <= 1


@pytest.mark.parametrize("name", ALL)
def test_observing_binary_images_changes_nothing(name):
    images = random_images(*SHAPE, levels=2).float()
    assert torch.equal(ALL[name].to_support(images), images)


def test_observed_gray_images_are_binary_with_the_right_mean():
    torch.manual_seed(0)
    gray = torch.tensor([-1, -0.8, 0, 0.3, 1])
    drawn = Bernoulli().to_support(gray.expand(100_000, 1, 1, 5))
    assert drawn.unique().tolist() == [-1, 1]
    deviation = ((1 - gray**2) / 100_000).sqrt()
    assert ((drawn.mean(dim=(0, 1, 2)) - gray).abs() <= 5 * deviation).all()


def test_kl_is_that_of_torch():
    mean, log_var = torch.randn(7, 4, dtype=torch.float64) * 2, torch.randn(7, 4, dtype=torch.float64) * 3
    posterior = D.Normal(mean, (0.5 * log_var).exp())
    expected = D.kl_divergence(posterior, D.Normal(torch.zeros_like(mean), torch.ones_like(mean))).sum(1)
    torch.testing.assert_close(kl_from_standard_normal(mean, log_var), expected)
    assert kl_from_standard_normal(torch.zeros(2, 4), torch.zeros(2, 4)).tolist() == [0, 0]


@pytest.mark.parametrize("name", ALL)
def test_a_temperature_of_one_changes_no_bit(name):
    parameters = random_parameters(ALL[name], *SHAPE)
    drawn = []
    for temperature in ([], [1.0]):
        torch.manual_seed(0)
        drawn.append(ALL[name].sample(parameters, *temperature))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("levels", [2, 4])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_logits_are_divided_by_the_temperature(levels, temperature):
    likelihood = CrossEntropy(levels=levels)
    logits = torch.tensor([1.0, 0.0, -1.0, 0.5])[:levels]
    samples = likelihood.sample(logits.view(1, -1, 1, 1).expand(20_000, -1, 1, 1), temperature)
    found = torch.bincount(((samples.flatten() + 1) / 2 * (levels - 1)).round().long(), minlength=levels) / 20_000
    torch.testing.assert_close(found, (logits / temperature).softmax(0), atol=0.015, rtol=0)


@pytest.mark.parametrize("name", ["gaussian", "laplace", "sigma_vae", "discretized_logistic"])
def test_scales_are_multiplied_by_the_temperature(name):
    likelihood, parameters = ALL[name], torch.zeros(1, ALL[name].parameters_per_value, 200, 200)
    if parameters.shape[1] == 2:
        parameters[:, 1] = math.log(0.1)
    whole, half = (likelihood.sample(parameters, temperature).std() for temperature in (1.0, 0.5))
    torch.testing.assert_close(half, whole / 2, rtol=0.03, atol=0)


@pytest.mark.parametrize("name", ["bernoulli", "continuous_bernoulli", "logistic_mixture"])
def test_a_low_temperature_draws_what_is_likeliest(name):
    likelihood = ALL[name]
    parameters = torch.zeros(1, 3 * 5 if name == "logistic_mixture" else 1, 50, 50)
    parameters[:, -1] = 1.0  # white; for the mixture the weight of its last component
    if name == "logistic_mixture":
        parameters[:, 4], parameters[:, 5:10] = 0.75, -3.0
    errors = (likelihood.sample(parameters, 0.02) - (0.75 if name == "logistic_mixture" else 1)).abs()
    assert errors.mean() < 0.2  # of a continuous Bernoulli variable, whose density is exponential
    assert name == "continuous_bernoulli" or errors.max() < 0.1


def test_methods_have_their_old_names_too():
    class Old(Bernoulli):
        def observe(self, images):
            return super().observe(images) + 1

        def draw(self, parameters):
            return parameters

    class Newer(Old):
        def to_support(self, images):
            return super().to_support(images) + 1

    images = torch.ones(1, 1, 2, 2)
    for method in ("observe", "to_support"):
        assert torch.equal(getattr(Old(), method)(images), images + 1)
        assert torch.equal(getattr(Newer(), method)(images), images + 2)
    assert torch.equal(Newer().sample(images), images)
