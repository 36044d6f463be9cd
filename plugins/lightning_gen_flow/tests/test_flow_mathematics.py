"""Paths, preconditioning, solvers, guidance and likelihoods, by numbers."""

import math

import pytest
import torch
from lightning_gen_flow.noise_levels import LogNormal, Uniform
from lightning_gen_flow.ode import euler, heun, solve, solve_with_divergence
from small_flows import build
from torch import distributions as D

from lightning_gen.batch import Batch
from lightning_gen.errors import UserError
from lightning_gen.images import to_uint8

BOTH = ["flow_matching", "edm"]


def gaussian_field(name: str, mean: float, std: float):
    """The exact field for data whose values are independently normal."""

    def flow_matching(x, level, labels=None):
        variance = (1 - level) ** 2 * std**2 + level**2
        slope = (level - (1 - level) * std**2) / variance
        return -mean + slope * (x - (1 - level) * mean)

    def edm(x, level, labels=None):
        return level * (x - mean) / (std**2 + level**2)

    return {"flow_matching": flow_matching, "edm": edm}[name]


class TestSolvers:
    @pytest.mark.parametrize(("step", "order"), [(euler, 1), (heun, 2)])
    def test_order(self, step, order):
        # dx/dt = x * cos(t) has the solution x(0) * exp(sin(t)).
        x, exact = torch.tensor([1.0], dtype=torch.float64), math.exp(math.sin(2.0))
        errors = []
        for steps in (40, 80):
            times = torch.linspace(0, 2, steps + 1, dtype=torch.float64)
            errors.append(abs(solve(lambda x, t: x * t.cos(), x, times, step).item() - exact))
        assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.05)

    def test_last_step_is_of_its_own_kind(self):
        times, seen = torch.tensor([1.0, 0.5, 0.0]), []
        solve(lambda x, t: seen.append(t.item()) or x, torch.ones(1), times, heun, last=euler)
        assert seen == [1.0, 0.5, 0.5]

    def test_divergence_is_the_trace_of_the_jacobian(self):
        model = build("flow_matching", shape=(1, 2, 2), random=True)
        x, level = torch.randn(1, 1, 2, 2), torch.tensor(0.5)
        jacobian = torch.autograd.functional.jacobian(lambda x: model.field(x, level, None), x).view(4, 4)
        times = torch.tensor([0.5, 0.5 + 1e-4])
        _, change = solve_with_divergence(lambda x, level: model.field(x, level, None), x, times)
        assert change.item() / 1e-4 == pytest.approx(jacobian.trace().item(), rel=2e-2)

    def test_hutchinson_is_unbiased(self):
        torch.manual_seed(0)
        matrix = torch.randn(32, 32)
        times = torch.tensor([0.0, 1e-3])
        _, change = solve_with_divergence(lambda x, t: x @ matrix.T, torch.zeros(20_000, 32), times)
        estimates = change / 1e-3
        assert (estimates.mean() - matrix.trace()).abs() < 4 * estimates.std() / 20_000**0.5
        assert estimates.std() > 1


class TestFlowMatching:
    def test_path_and_velocity(self):
        """For data of one image the velocity is known, (x - image) / level, and its loss is 0."""
        model, image = build("flow_matching"), torch.rand(1, 8, 8)
        model.to_support = lambda images: images
        model.field = lambda x, level, labels: (x - image) / level.view(-1, 1, 1, 1)
        assert model.losses(Batch(image.expand(16, 1, 8, 8)))["loss"] < 1e-6

    def test_straight_paths_need_one_step(self):
        model, image = build("flow_matching", "model.steps=1"), torch.rand(1, 8, 8)
        model.guided = lambda labels: lambda x, level: (x - image) / level
        torch.testing.assert_close(model.sample(3), model.to_images(image).expand(3, 1, 8, 8), atol=1e-5, rtol=0)

    def test_times(self):
        torch.manual_seed(0)
        uniform = Uniform().sample(10_000, torch.device("cpu")).sigmoid()
        assert D.Uniform(0, 1).cdf(uniform).sort().values.sub(torch.linspace(0, 1, 10_000)).abs().max() < 0.02
        logit = LogNormal(0.5, 2.0).sample(10_000, torch.device("cpu"))
        assert (logit.mean().item(), logit.std().item()) == pytest.approx((0.5, 2.0), abs=0.06)


class TestEDM:
    def test_limits_of_preconditioning(self):
        model, x = build("edm", random=True), torch.randn(4, 1, 8, 8)
        little, much = torch.full((4,), 1e-6), torch.full((4,), 1e6)
        torch.testing.assert_close(model.denoise(x, little, None), x, atol=1e-4, rtol=0)
        expected = model.sigma_data * model.predict_noise(1e6 * x, much, None)
        torch.testing.assert_close(model.denoise(1e6 * x, much, None), expected, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("sigma", [0.01, 0.5, 20.0])
    def test_field_points_from_the_denoised_image(self, sigma):
        model, x, sigma = build("edm", random=True), torch.randn(4, 1, 8, 8), torch.tensor(sigma)
        expected = (x - model.denoise(x, sigma, None)) / sigma
        torch.testing.assert_close(model.field(x, sigma, None), expected, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("mean", [-6.0, 0.0, 5.0])
    def test_loss_begins_at_one_for_any_noise(self, mean):
        model = build("edm", f"model.noise_level.mean={mean}", "model.noise_level.std=0.1")
        model.to_support = lambda images: images
        images = model.sigma_data * torch.randn(4096, 1, 8, 8)
        assert model.losses(Batch(images))["loss"].item() == pytest.approx(1, abs=0.02)

    def test_levels(self):
        levels = build("edm").sampling_levels(18)
        assert len(levels) == 19
        assert levels[[0, 17, 18]].tolist() == pytest.approx([80, 0.002, 0])
        third = (80 ** (1 / 7) + 3 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
        assert levels[3].item() == pytest.approx(third, rel=1e-4)


class TestGuidance:
    def test_one_is_conditional_and_others_go_on_along_the_line(self):
        model = build("flow_matching", "model.conditional=true", classes=3, random=True)
        x, level, labels = torch.randn(4, 1, 8, 8), torch.tensor(0.4), torch.tensor([0, 1, 2, 0])
        conditional = model.field(x, level, labels)
        without = model.field(x, level, None)
        assert (conditional - without).abs().max() > 1e-3
        for guidance, expected in ((1.0, conditional), (0.0, without), (3.0, 3 * conditional - 2 * without)):
            model.guidance = guidance
            torch.testing.assert_close(model.guided(labels)(x, level), expected, atol=1e-5, rtol=1e-4)

    def test_labels_are_forgotten_at_the_rate_asked_for(self):
        model = build("edm", "model.conditional=true", "model.label_dropout=0.25", classes=3)
        dropped = model.drop_labels(torch.zeros(20_000, dtype=torch.long))
        assert dropped.unique().tolist() == [0, 3]
        assert (dropped == 3).float().mean().item() == pytest.approx(0.25, abs=0.02)

    def test_guidance_needs_dropout(self):
        with pytest.raises(UserError, match=r"model\.guidance=2\.0.*label_dropout"):
            build("edm", "model.conditional=true", "model.label_dropout=0", "model.guidance=2.0", classes=3)


class TestLikelihood:
    @pytest.mark.parametrize("shape", [(1, 1, 2), (2, 1, 3, 4)])  # exact trace; Hutchinson's, exact for such fields
    @pytest.mark.parametrize("name", BOTH)
    def test_gaussian(self, name, shape):
        # EDM's noise at the end has mean 0: that of the data is lost in it, but for a hundredth of a nat.
        mean, std = {"flow_matching": 0.2, "edm": 0.0}[name], 0.3
        model = build(name, "model.likelihood_steps=500", shape=shape)
        model.field = gaussian_field(name, mean, std)
        x = mean + std * torch.randn(8, *shape)
        width = 2 / 256
        expected = (D.Normal(mean, std).log_prob(x) + math.log(width)).flatten(1).sum(1)
        torch.testing.assert_close(model.log_likelihood(x), expected, atol=2e-2, rtol=0)

    def test_bits_of_uniform_noise(self):
        """The field of a new network is 0: x itself is normal, and its noise costs more than its entropy, 8 bits."""
        model = build("flow_matching", "model.likelihood_steps=2")
        levels = torch.randint(0, 256, (512, 1, 8, 8))
        nats = -model.log_likelihood(model.to_support(levels / 127.5 - 1)).mean() / 64
        expected = math.log2(128) + (0.5 * math.log(2 * math.pi) + 1 / 6) / math.log(2)  # 8.57
        assert nats.item() / math.log(2) == pytest.approx(expected, abs=0.01)

    def test_all_levels_survive(self):
        model, levels = build("edm"), torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(50, 1, 16, 16)
        x = model.to_support(levels / 127.5 - 1)
        assert torch.equal(to_uint8(model.to_images(x)), levels)
        assert x.abs().max() <= 1

    @pytest.mark.parametrize("name", BOTH)
    def test_encode_is_the_inverse_of_decode(self, name):
        model = build(name, "model.likelihood_steps=200", "model.steps=200")
        model.field = gaussian_field(name, 0.1, 0.2)
        images = (0.1 + 0.2 * torch.randn(4, 1, 8, 8)).clamp(-1, 1)
        latent = model.encode(images)
        assert latent.shape == (4, 64)
        assert latent.std().item() == pytest.approx(1, abs=0.1)
        torch.testing.assert_close(model.decode(latent), images, atol=0.01, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOTH)
def test_model_learns(name):
    """Images of one of two stripes: after some steps samples are one or the other."""
    model = build(name, "model.steps=10", shape=(1, 4, 4))
    stripes = torch.full((2, 1, 4, 4), -0.9)
    stripes[0, :, :2], stripes[1, :, 2:] = 0.9, 0.9
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 150)
        model.losses(Batch(stripes[torch.arange(64) % 2]))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        samples = model.sample(64)
    distance, nearest = (samples[:, None] - stripes).square().flatten(2).mean(2).min(1)
    assert distance.median() < 0.05
    assert 10 < nearest.sum() < 54
