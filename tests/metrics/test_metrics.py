"""Each metric by numbers: closed forms, references, and what it does at the edges."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
)
from torchmetrics.image.kid import KernelInceptionDistance

from lightning_gen.batch import Batch
from lightning_gen.losses.likelihoods import CrossEntropy
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.frechet import (
    FrechetDistance,
    distance_with_trace,
    mean_and_covariance,
    root_of,
    trace_of_root,
)
from lightning_gen.metrics.image_metric import PairedMetric
from lightning_gen.metrics.kid import KernelDistance
from lightning_gen.metrics.likelihood import LikelihoodMetric
from lightning_gen.metrics.reconstruction import Reconstruction, ms_ssim, num_scales
from lightning_gen.metrics.stored_features import StoredFeaturesMetric
from lightning_gen.randomness import generator


def normal(*shape: int, key: str = "x") -> torch.Tensor:
    return torch.randn(*shape, generator=generator("test metrics", key))


def frechet(real: torch.Tensor, fake: torch.Tensor) -> float:
    metric = FrechetDistance()
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric.compute()["frechet"].item()


def test_metrics_may_define_methods_by_their_old_names():
    with pytest.warns(DeprecationWarning, match=r"Old\.observe is now update_from"):

        class Old(PairedMetric):
            def observe(self, model, batch):
                self.update(batch)

            def update(self, batch):
                self.batch = batch

    metric = Old()
    metric.update_from(None, "batch")
    assert metric.batch == "batch"


def test_renamed_classes_work_by_their_old_names():
    from lightning_gen.callbacks import active_units
    from lightning_gen.metrics import kept_features, likelihood

    with pytest.warns(DeprecationWarning, match=r"likelihood\.Likelihood is now .*LikelihoodMetric"):
        assert likelihood.Likelihood is LikelihoodMetric
    assert kept_features.KeptFeatures is StoredFeaturesMetric
    assert active_units.ActiveUnits is active_units.LogActiveUnits


# Fréchet distance


@pytest.mark.parametrize("n", [200, 5])
def test_frechet_of_a_set_with_itself_is_zero(n):
    x = normal(n, 16)
    assert frechet(x, x) == pytest.approx(0, abs=1e-6)


def test_frechet_of_shifted_and_scaled_gaussians_has_its_closed_form():
    x = normal(500, 8).double()
    scale, shift = 3.0, torch.arange(8.0, dtype=torch.float64)
    variance = torch.cov(x.T).trace()
    mean = x.mean(0)
    # fake = scale x + shift: roots of commuting covariances multiply, so the trace term is (scale - 1)^2 Tr S
    expected = (mean - (scale * mean + shift)).square().sum() + (scale - 1) ** 2 * variance
    assert frechet(x, scale * x + shift) == pytest.approx(expected.item(), rel=1e-9)


def test_frechet_of_diagonal_gaussians_has_its_closed_form():
    a, b = torch.rand(2, 6, dtype=torch.float64, generator=generator("diagonal")) + 0.1
    zero = torch.zeros(6, dtype=torch.float64)
    trace = trace_of_root(root_of(a.diag()), b.diag())
    distance = distance_with_trace(zero, a.diag(), zero + 1, b.diag(), trace)
    assert distance.item() == pytest.approx((6 + (a.sqrt() - b.sqrt()).square().sum()).item(), rel=1e-12)


def test_frechet_of_features_that_never_vary_is_that_of_their_means():
    assert frechet(torch.zeros(5, 3), torch.ones(5, 3)) == 3
    x = normal(50, 3)
    expected = x.mean(0).square().sum() + torch.cov(x.T).trace()
    assert frechet(torch.zeros(5, 3), x) == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("n_real", "n_fake"), [(300, 300), (300, 10), (10, 300), (10, 12)])
def test_trace_of_root_agrees_with_the_nuclear_norm_of_the_centered_features(n_real, n_fake):
    # S = X^T X / (n - 1), so the eigenvalues' roots of S1 S2 are the singular values of X1 X2^T: no covariance needed.
    centered = []
    for n, key in ((n_real, "real"), (n_fake, "fake")):
        x = (normal(n, 40, key=key) @ normal(40, 40, key="mix")).double()
        centered.append((x - x.mean(0)) / math.sqrt(n - 1))
    expected = torch.linalg.svdvals(centered[0] @ centered[1].T).sum()
    a, b = (x.T @ x for x in centered)
    actual = trace_of_root(root_of(a), b)
    assert actual.item() == pytest.approx(expected.item(), rel=1e-7)


@pytest.mark.parametrize(("n_real", "n_fake"), [(60, 60), (60, 10), (10, 60), (10, 12)])
def test_frechet_of_few_images_is_that_of_the_sums(n_real, n_fake):
    real, fake = normal(n_real, 24, key="r"), normal(n_fake, 24, key="f") + 0.5
    metric = FrechetDistance()
    metric.update_real(Features(real, None, None))
    for _ in range(2):
        metric.reset_fake()
        metric.update_fake(Features(fake, None, None))
        assert metric.compute()["frechet"].item() == pytest.approx(frechet(real, fake), rel=1e-7)


def test_trace_of_root_agrees_with_the_eigenvalues_of_the_product():
    a, b = (torch.cov(normal(400, 20, key=key).double().T) for key in "ab")
    expected = torch.linalg.eigvals(a @ b).sqrt().real.sum()
    assert trace_of_root(root_of(a), b).item() == pytest.approx(expected.item(), rel=1e-12)


def test_covariance_from_sums_is_the_unbiased_one():
    x = normal(50, 5).double()
    mean, covariance = mean_and_covariance(torch.tensor(50.0, dtype=torch.float64), x.sum(0), x.T @ x)
    torch.testing.assert_close(mean, x.mean(0))
    torch.testing.assert_close(covariance, torch.cov(x.T))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 29), max_size=5), st.booleans())
def test_frechet_in_pieces_equals_at_once(cuts, interleave):
    real, fake = normal(30, 4, key="r"), normal(30, 4, key="f") + 0.5
    bounds = [0, *sorted(cuts), 30]
    pieces = [slice(a, b) for a, b in itertools.pairwise(bounds)]
    metric = FrechetDistance()
    updates = [(real, True, p) for p in pieces] + [(fake, False, p) for p in pieces]
    for features, is_real, piece in sorted(updates, key=lambda u: u[2].start) if interleave else updates:
        metric.update(features[piece], real=is_real)
    assert metric.compute()["frechet"].item() == pytest.approx(frechet(real, fake), rel=1e-9)


@pytest.mark.parametrize("make", [FrechetDistance, KernelDistance])
def test_broken_features_and_lone_images_give_nan(make):
    broken = normal(10, 4)
    broken[3, 2] = torch.nan
    for fake in (broken, normal(1, 4)):
        metric = make()
        metric.update(normal(10, 4), real=True)
        metric.update(fake, real=False)
        assert all(value.isnan() for value in metric.compute().values())


@pytest.mark.parametrize("make", [FrechetDistance, KernelDistance])
def test_real_features_outlive_reset_fake(make):
    real, fake = normal(20, 4, key="r"), normal(20, 4, key="f")
    metric = make()
    metric.update(real, real=True)
    metric.update(fake, real=False)
    first = metric.compute()
    metric.reset_fake()
    metric.update(fake, real=False)
    assert metric.compute() == first
    metric.reset_fake()
    metric.update(real, real=False)
    assert metric.compute() != first


# Kernel distance


def test_kid_is_that_of_torchmetrics():
    real, fake = normal(60, 8, key="r"), normal(50, 8, key="f") + 0.3
    ours = KernelDistance(subsets=20, subset_size=30, seed=1)
    theirs = KernelInceptionDistance(feature=nn.Identity(), subsets=2000, subset_size=30)
    for metric in (ours, theirs):
        metric.update(real, real=True)
        metric.update(fake, real=False)
    mean, std = theirs.compute()
    assert ours.compute()["kid"].item() == pytest.approx(mean.item(), abs=4 * std.item() / math.sqrt(20))


def test_kid_of_whole_sets_is_the_unbiased_estimate():
    real, fake = normal(25, 6, key="r"), normal(25, 6, key="f") + 0.3
    metric = KernelDistance()
    metric.update(real, real=True)
    metric.update(fake, real=False)

    def mean_kernel(x, y):
        values = [(x[i] @ y[j] / 6 + 1) ** 3 for i in range(25) for j in range(25) if not (x is y and i == j)]
        return torch.stack(values).mean()

    expected = mean_kernel(real, real) + mean_kernel(fake, fake) - 2 * mean_kernel(real, fake)
    assert metric.compute()["kid"].item() == pytest.approx(expected.item(), rel=1e-3)
    assert metric.protocol()["subset_size"] == 25


def test_kid_of_real_images_is_that_of_disjoint_subsets():
    metric = KernelDistance(subset_size=8)
    assert metric.real_against_real() == {}
    metric.update(torch.cat([torch.zeros(8, 4), torch.ones(8, 4)]), real=True)
    mean, deviation, size = metric.real_against_real()["kid"]
    assert size == 8
    # k is 1, 1 and 8 within zeros, across, and within ones; subsets with i ones and with 8 - i:
    possible = [7 / 28 * (math.comb(i, 2) + math.comb(8 - i, 2)) - 14 * i * (8 - i) / 64 for i in range(9)]
    assert min(possible) <= mean <= max(possible)
    assert abs(mean) < 3 * deviation / math.sqrt(10)


def test_kid_depends_on_its_seed_alone():
    def score(seed, disturb):
        metric = KernelDistance(subsets=3, subset_size=10, seed=seed)
        metric.update(normal(40, 4, key="r"), real=True)
        metric.update(normal(40, 4, key="f"), real=False)
        torch.manual_seed(disturb)
        before = torch.get_rng_state()
        value = metric.compute()["kid"].item()
        assert torch.equal(before, torch.get_rng_state())
        return value

    assert score(0, 1) == score(0, 2)
    assert score(0, 1) != score(1, 1)


# Likelihood


def test_uniform_noise_has_eight_bits_per_dimension():
    dimensions = 3 * 4 * 4
    metric = LikelihoodMetric()
    model = Uniform()
    images = torch.randint(256, (5, 3, 4, 4), generator=generator("uniform")) / 127.5 - 1
    metric.update_from(model, Batch(images))
    scores = metric.compute()
    assert scores["nll_bits_per_dim"].item() == pytest.approx(8, rel=1e-6)
    assert scores["nll_nats"].item() == pytest.approx(dimensions * math.log(256), rel=1e-6)
    assert scores.keys() == metric.better.keys()
    assert metric.standard_errors()["nll_nats"] == pytest.approx(0, abs=1e-4)
    assert metric.protocol() == {"samples": 64, "likelihood": "CrossEntropy"}


class Uniform:
    """All levels of a value are as probable."""

    exact_likelihood = True
    likelihood = CrossEntropy(levels=256)

    def to_support(self, images):
        return self.likelihood.to_support(images)

    def log_likelihood(self, images, labels=None, samples=1):
        batch, channels, height, width = images.shape
        return self.likelihood.log_prob(torch.zeros(batch, 256 * channels, height, width), images)


def test_likelihoods_know_how_far_they_may_be_off():
    metric = LikelihoodMetric()
    nats = normal(50, key="nats") * 3 - 100
    for part in nats.split(20):
        metric.update(part, part + 1, dimensions=10)
    metric.compute()
    errors = metric.standard_errors()
    expected = nats.std().item() / math.sqrt(50)
    assert errors["nll_nats"] == pytest.approx(expected, rel=1e-6)
    assert errors["negative_elbo_bits_per_dim"] == pytest.approx(expected / 10 / math.log(2), rel=1e-6)


class LinearGaussian:
    """p(z) = N(0, I), p(x | z) = N(W z, I): log p(x) is known; q(z | x) is a wrong Gaussian around the true mean."""

    def __init__(self) -> None:
        self.weight = normal(6, 2, key="weight")
        self.precision = torch.eye(2) + self.weight.T @ self.weight

    def exact(self, x):
        covariance = torch.eye(6) + self.weight @ self.weight.T
        return torch.distributions.MultivariateNormal(torch.zeros(6), covariance).log_prob(x.flatten(1))

    def to_support(self, images):
        return images

    def log_likelihood(self, images, labels=None, samples=1):
        x = images.flatten(1)
        mean = x @ self.weight @ torch.linalg.inv(self.precision)
        posterior = torch.distributions.Independent(torch.distributions.Normal(mean, 0.5), 1)
        z = posterior.sample((samples,))
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        log_prob = torch.distributions.Normal(z @ self.weight.T, 1.0).log_prob(x).sum(-1)
        return (prior + log_prob - posterior.log_prob(z)).logsumexp(0) - math.log(samples)


def test_importance_weighted_bound_closes_in_on_a_known_likelihood():
    model, images = LinearGaussian(), normal(400, 1, 2, 3, key="images")
    exact = -model.exact(images).mean().item()
    found = {}
    for samples in (1, 8, 512):
        torch.manual_seed(0)
        metric = LikelihoodMetric(samples=samples)
        metric.update_from(model, Batch(images))
        scores = metric.compute()
        found[samples] = scores["nll_nats"].item()
        if samples == 1:
            assert scores["negative_elbo_nats"] == scores["nll_nats"]
        else:
            assert scores["negative_elbo_nats"] > scores["nll_nats"]
    assert found[1] > found[8] > found[512]
    assert found[512] == pytest.approx(exact, abs=0.02)
    assert metric.protocol() == {"samples": 512, "likelihood": "LinearGaussian"}


# Reconstruction


def test_reconstruction_of_a_known_error():
    target = torch.zeros(4, 3, 16, 16)
    metric = Reconstruction()
    metric.update(target + 0.2, target)  # 0.1 on [0, 1]
    scores = metric.compute()
    assert scores["reconstruction_mse"].item() == pytest.approx(0.01, rel=1e-4)
    assert scores["reconstruction_mae"].item() == pytest.approx(0.1, rel=1e-4)
    assert scores["reconstruction_psnr"].item() == pytest.approx(20, rel=1e-4)
    # of constants 0.5 and 0.6 only the luminance term is left
    assert scores["reconstruction_ssim"].item() == pytest.approx((0.6 + 1e-4) / (0.61 + 1e-4), rel=1e-4)
    assert scores.keys() == metric.better.keys() - {"reconstruction_ms_ssim"}  # too small for it
    assert metric.standard_errors()["reconstruction_mse"] == pytest.approx(0, abs=1e-9)


def test_reconstruction_agrees_with_torchmetrics_and_in_pieces():
    target = normal(10, 1, 12, 12).tanh()
    prediction = (target + 0.3 * normal(10, 1, 12, 12, key="noise")).clamp(-1, 1)
    at_once, pieces = Reconstruction(), Reconstruction()
    at_once.update(prediction, target)
    for piece in (slice(0, 3), slice(3, 10)):
        pieces.update(prediction[piece], target[piece])
    expected = peak_signal_noise_ratio((prediction + 1) / 2, (target + 1) / 2, data_range=1.0)
    assert at_once.compute()["reconstruction_psnr"].item() == pytest.approx(expected.item(), rel=1e-5)
    of_each = ((prediction - target) / 2).flatten(1).abs().mean(1)
    assert at_once.compute()["reconstruction_mae"].item() == pytest.approx(of_each.mean().item(), rel=1e-6)
    error = at_once.standard_errors()["reconstruction_mae"]
    assert error == pytest.approx(of_each.std().item() / math.sqrt(10), rel=1e-4)
    for name, value in at_once.compute().items():
        assert pieces.compute()[name].item() == pytest.approx(value.item(), rel=1e-6)


def test_ms_ssim_is_that_of_torchmetrics_and_has_the_scales_there_is_room_for():
    target = normal(2, 3, 176, 180).tanh()
    prediction = (target + 0.5 * normal(2, 3, 176, 180, key="noise")).clamp(-1, 1)
    pair = [(images + 1) / 2 for images in (prediction, target)]
    expected = multiscale_structural_similarity_index_measure(*pair, data_range=1.0, normalize="relu")
    metric = Reconstruction()
    metric.update(prediction, target)
    assert metric.compute()["reconstruction_ms_ssim"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert metric.protocol()["ms_ssim_scales"] == 5
    assert [num_scales(size, 200) for size in (10, 21, 22, 32, 44, 64, 128, 176, 999)] == [0, 1, 2, 2, 3, 3, 4, 5, 5]
    assert ms_ssim(pair[0][..., :28, :28], pair[0][..., :28, :28], 2).tolist() == pytest.approx([1, 1])


def test_exact_reconstruction_and_images_too_small_for_ssim():
    image = normal(2, 1, 8, 8).tanh()
    metric = Reconstruction()
    metric.update(image, image)
    scores = metric.compute()
    assert scores["reconstruction_ssim"].item() == pytest.approx(1)
    assert scores["reconstruction_psnr"].item() == math.inf
    metric.reset()
    metric.update(image[..., :4], image[..., :4])
    assert "reconstruction_ssim" not in metric.compute()


def test_reconstructions_of_sequences_are_those_of_their_frames():
    clips = torch.rand(2, 3, 4, 1, 32, 32) * 2 - 1
    found = []
    for images in (clips, clips.flatten(1, 2)):
        metric = Reconstruction()
        metric.update(*images)
        found.append({name: value.item() for name, value in metric.compute().items()})
    assert found[0] == pytest.approx(found[1], rel=1e-4)
