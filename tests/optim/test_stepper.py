"""One optimizer step: clipping, accumulation, mixed precision, schedules, averages, running means, randomness."""

from contextlib import suppress
from copy import deepcopy
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import SGD, Adam, AdamW

from lightning_gen.batch import Batch
from lightning_gen.image_generator import UNBOUNDED, ImageGenerator
from lightning_gen.losses.penalties import R1, Players, Round
from lightning_gen.optim.ema import WeightAverage
from lightning_gen.optim.muon import MuonWithAdamW
from lightning_gen.optim.scheduled_scalars import ScheduledScalars
from lightning_gen.optim.schedules import constant, cosine, linear
from lightning_gen.optim.stepper import Stepper
from lightning_gen.randomness import generator, preserved_rng, seed_all
from lightning_gen.utilities.running_means import RunningMeans


def scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=65536)


def two_ranks(monkeypatch, of_the_other: torch.Tensor, rank: int = 0) -> None:
    """As if another process took part, with `of_the_other` to reduce."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(of_the_other))


class Regression(ImageGenerator):
    """The sum of an image's pixels, learned without noise."""

    averaged_parts = ("network",)

    def __init__(self, **training):
        super().__init__((1, 2, 3), None, **training)
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(6, 1))

    def losses(self, batch):
        return {"loss": ((self.network(batch.images)[:, 0] - batch.labels) ** 2).mean()}


def regression(mixed_precision: bool = False, **training) -> Regression:
    torch.manual_seed(0)
    model = Regression(optimizer=partial(SGD, lr=0.1), **training)
    model.setup_parts()
    precision = SimpleNamespace(scaler=scaler() if mixed_precision else None)
    model.trainer = SimpleNamespace(max_images=1000, precision_plugin=precision)
    model.configure_optimizers()
    return model


def regression_batch(n: int = 7) -> Batch:
    images = torch.randn(n, 1, 2, 3, generator=torch.Generator().manual_seed(1))
    return Batch(images, images.sum(dim=(1, 2, 3)))


class TestStepper:
    @pytest.mark.parametrize("scaled", [False, True])
    @pytest.mark.parametrize(("clip", "applied"), [(None, 5.0), (0.5, 0.5), (4.9, 4.9), (50.0, 5.0)])
    def test_clipping_gives_the_wanted_norm(self, scaled, clip, applied):
        weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
        stepper = Stepper(SGD(weights, lr=1.0), clip, None, scaler() if scaled else None)
        stepper.backward(2 * weights[0][0] + 2 * weights[0][1] + 17**0.5 * weights[1][0])
        stepper.step()
        moved = torch.cat([w.detach() for w in weights])
        assert moved.norm().item() == pytest.approx(applied, rel=1e-5)
        torch.testing.assert_close(moved / moved.norm(), -torch.tensor([2, 2, 17**0.5]) / 5)
        assert all(w.grad is None for w in weights)

    def test_overflow_skips_the_step_and_halves_the_scale(self):
        weight = nn.Parameter(torch.ones(1))
        stepper = Stepper(SGD([weight], lr=1.0), 1.0, None, scaler())
        stepper.backward(weight[0] * torch.inf)
        stepper.step()
        assert weight.item() == 1
        assert stepper.scaler.get_scale() == 32768
        stepper.backward(weight[0] * 0.25)
        stepper.step()
        assert weight.item() == 0.75

    @pytest.mark.parametrize("scale", [1, 65536])
    def test_gradients_are_averaged_over_ranks(self, monkeypatch, scale):
        two_ranks(monkeypatch, scale * torch.tensor([3.0, 5, 7]))
        weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
        stepper = Stepper(SGD(weights, lr=1.0), None, None, scaler() if scale > 1 else None)
        stepper.backward(weights[0].sum() + weights[1].sum())  # the last one has no gradient
        stepper.step()
        assert torch.cat([w.detach() for w in weights]).tolist() == [-2, -3, -4, 0]

    def test_overflow_on_another_rank_skips_the_step_here_too(self, monkeypatch):
        two_ranks(monkeypatch, torch.tensor([torch.inf]))
        weight = nn.Parameter(torch.ones(1))
        stepper = Stepper(SGD([weight], lr=1.0), None, None, scaler())
        stepper.backward(weight.sum())
        stepper.step()
        assert weight.item() == 1

    def test_schedule_scales_the_rate_of_each_group(self):
        weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
        optimizer = SGD([{"params": [weights[0]], "lr": 1.0}, {"params": [weights[1]], "lr": 10.0}])
        stepper = Stepper(optimizer, None, linear)
        for images_seen, factor in ((0, 1), (50, 0.5), (75, 0.25), (50, 0.5)):
            stepper.backward(weights[0].sum() + weights[1].sum())
            before = [w.item() for w in weights]
            stepper.set_rates(images_seen, 100)
            stepper.step()
            moved = [b - w.item() for b, w in zip(before, weights, strict=True)]
            assert moved == pytest.approx([factor, 10 * factor])

    @pytest.mark.parametrize("scaled", [False, True])
    def test_muon_with_adamw_is_stepped_as_one(self, scaled):
        network = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
        optimizer = MuonWithAdamW(network.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
        stepper = Stepper(optimizer, 1.0, partial(linear, warmup_images=4), scaler() if scaled else None)
        before = deepcopy(network.state_dict())
        stepper.backward((network(torch.randn(5, 3)) * torch.randn(5, 2)).sum())
        stepper.set_rates(1, 100)
        stepper.step()
        assert [part.param_groups[0]["lr"] for part in optimizer.parts] == [0.005, 0.005]
        assert not any(torch.equal(before[name], value) for name, value in network.state_dict().items())


class TestMemoryFormat:
    """Fused optimizers walk raw memory: state saved in one format must not meet weights of another."""

    OPTIMIZERS = {
        "adam": partial(Adam, lr=0.1),
        "adamw": partial(AdamW, lr=0.1),
        "sgd": partial(SGD, lr=0.1, momentum=0.9),
    }

    def weights(self, memory_format: torch.memory_format) -> nn.Parameter:
        torch.manual_seed(0)
        return nn.Parameter(torch.randn(4, 3, 2, 5).contiguous(memory_format=memory_format))

    def step(self, stepper: Stepper, seed: int) -> None:
        [weight] = stepper.parameters
        stepper.backward((weight * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))).sum())
        stepper.step()

    @pytest.mark.parametrize("to_channels_last", [True, False])
    @pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
    def test_a_loaded_state_takes_that_of_the_weights(self, make, to_channels_last):
        saved, resumed = torch.contiguous_format, torch.channels_last
        if not to_channels_last:
            saved, resumed = resumed, saved
        expected = Stepper(make([self.weights(saved)], foreach=False), None, None)
        fused = make([self.weights(saved)], fused=True)
        self.step(expected, seed=1)
        self.step(Stepper(fused, None, None), seed=1)
        continued = nn.Parameter(fused.param_groups[0]["params"][0].detach().clone(memory_format=resumed))
        stepper = Stepper(make([continued], fused=True), None, None)
        stepper.optimizer.load_state_dict(fused.state_dict())
        stepper.apply_settings()
        self.step(expected, seed=2)
        self.step(stepper, seed=2)
        torch.testing.assert_close(continued, expected.parameters[0])

    def test_the_state_keeps_its_types_and_shares_its_tensors(self):
        weight = self.weights(torch.contiguous_format)
        optimizer = MuonWithAdamW([weight], lr=0.1, momentum=0.9, weight_decay=0.0)
        stepper = Stepper(optimizer, None, None)
        self.step(stepper, seed=1)
        optimizer.state[weight]["exp_avg_sq"] = optimizer.state[weight]["exp_avg_sq"].double()
        optimizer.state[weight]["exp_avg"] = optimizer.state[weight]["exp_avg"].contiguous(
            memory_format=torch.channels_last
        )
        expected = {name: value.clone() for name, value in optimizer.state[weight].items()}
        stepper.apply_settings()
        state = optimizer.parts[0].state[weight]
        assert [value.dtype for value in state.values()] == [value.dtype for value in expected.values()]
        assert all(torch.equal(state[name], expected[name]) for name in expected)
        assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == weight.stride()

    def test_gradients_have_that_of_the_weights(self):
        weight = self.weights(torch.channels_last)
        torch.nn.functional.conv2d(torch.randn(1, 3, 8, 8), weight).sum().backward()
        assert weight.grad.stride() == weight.stride()


class TestMixedPrecision:
    def test_penalties_are_differentiated_in_float32_too(self):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(48, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        images = torch.randn(8, 3, 4, 4)

        def r1(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
            players = Players(lambda *_: images, lambda images, labels: network(images).sum(1))
            return R1(weight=1.0)(players, Round(images, images, images))

        exact = deepcopy(network).double()
        r1(exact, images.double()).backward()
        stepper = Stepper(SGD(network.parameters(), lr=1.0), None, None)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with torch.autocast("cpu", enabled=False):  # as in GAN._penalty
                value = r1(network, images)
            stepper.backward(value)
        for parameter, reference in zip(network.parameters(), exact.parameters(), strict=True):
            if reference.grad is not None and reference.grad.any():
                error = (parameter.grad.double() - reference.grad).norm() / reference.grad.norm()
                assert error < 1e-6


class TestModelStep:
    @pytest.mark.parametrize("mixed_precision", [False, True])
    @pytest.mark.parametrize("accumulate", [2, 3, 4, 7, 50])
    def test_parts_make_the_step_of_the_whole_batch(self, accumulate, mixed_precision):
        whole, parts = regression(), regression(mixed_precision, accumulate=accumulate, gradient_clip=1e3)
        for n in (7, 5):
            whole.step(regression_batch(n))
            parts.step(regression_batch(n))
        torch.testing.assert_close(parts.network[1].weight, whole.network[1].weight)
        torch.testing.assert_close(parts.network[1].bias, whole.network[1].bias)
        assert parts.terms.flush()["loss"] == pytest.approx(whole.terms.flush()["loss"])

    def test_parts_hold_every_image_once_and_its_label(self):
        batch = regression_batch(7)
        parts = list(regression(accumulate=3).parts_of(batch))
        assert [len(part.images) for part in parts] == [3, 3, 1]
        assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
        assert torch.equal(torch.cat([part.labels for part in parts]), batch.labels)
        assert [part.labels for part in regression(accumulate=3).parts_of(Batch(batch.images))] == [None] * 3

    def test_rate_follows_the_images_seen(self):
        model = regression(schedule=partial(cosine, warmup_images=100, final=0.1))
        for images_seen, rate in ((0, 0.001), (99, 0.1), (550, 0.055), (1000, 0.01)):
            model.images_seen = images_seen
            model.prepare()
            model.step(regression_batch())
            assert model.steppers[0].learning_rate == pytest.approx(rate)
            assert model.steppers[0].optimizer.param_groups[0]["lr"] == pytest.approx(rate)

    def test_averages_follow_the_weights(self):
        model = regression(ema_decay=0.999)
        first = deepcopy(model.network[1].weight.detach())
        model.step(regression_batch())
        expected = 0.1 * first + 0.9 * model.network[1].weight
        torch.testing.assert_close(model.averages["network"].module[1].weight, expected)
        assert not torch.equal(first, model.network[1].weight)

    def test_only_trained_weights_are_optimized(self):
        model = regression(ema_decay=0.9)
        assert sum(p.numel() for p in model.steppers[0].parameters) == 7


class TestWeightAverage:
    @pytest.mark.parametrize("kind", [float, torch.tensor])
    def test_equals_the_closed_form(self, kind):
        source = nn.Linear(3, 2)
        weights = [torch.randn(2, 3) for _ in range(7)]
        source.weight.data.copy_(weights[0])
        average = WeightAverage(source, decay=0.3)
        decays = [1 / 10, 2 / 11, 3 / 12, 0.3, 0.3, 0.3]  # warming up
        expected = weights[0]
        for step, (decay, weight) in enumerate(zip(decays, weights[1:], strict=True)):
            source.weight.data.copy_(weight)
            average.update(source, kind(average.share(step)))
            expected = decay * expected + (1 - decay) * weight
        torch.testing.assert_close(average.module.weight, expected)

    def test_floating_buffers_are_averaged_and_others_copied(self):
        source = nn.BatchNorm1d(2)
        average = WeightAverage(source, decay=0.5)
        average.update(source, average.share(100))
        source, average = source.double(), average.double()  # which makes new buffers
        source(torch.randn(8, 2).double() + 5)
        average.update(source, average.share(101))
        torch.testing.assert_close(average.module.running_mean, source.running_mean / 2)
        assert average.module.num_batches_tracked.item() == 1

    def test_is_untrained_but_saved(self):
        source = nn.Linear(3, 2)
        average = WeightAverage(source, decay=0.5)
        assert not any(p.requires_grad for p in average.parameters())
        assert all(p.requires_grad for p in source.parameters())
        assert set(average.state_dict()) == {"module.weight", "module.bias"}

    def test_a_part_without_weights_is_fine(self):
        WeightAverage(nn.Identity(), decay=0.5).update(nn.Identity(), 1.0)


class TestScheduledScalars:
    def test_a_tensor_follows_the_values(self):
        scalars, weight = ScheduledScalars(), [0.5]
        tensor = scalars("weight", lambda: weight[0], torch.device("cpu"))
        weight[0] = 0.25
        scalars.refresh()
        assert tensor.item() == 0.25
        assert scalars("weight", lambda: weight[0], torch.device("cpu")) is tensor

    def test_a_backward_pass_may_keep_it(self):
        scalars, x = ScheduledScalars(), torch.ones((), requires_grad=True)
        loss = sum(x * scalars("weight", lambda: 3.0, x.device) for _ in range(2))
        scalars.refresh()  # which changes nothing, so that autograd can use what it has saved
        loss.backward()
        assert x.grad == 6


class TestSchedules:
    @pytest.mark.parametrize(
        ("schedule", "expected"),
        [
            (constant, [0.01, 0.5, 1, 1, 1, 1, 1]),
            (partial(linear, final=0.2), [0.01, 0.5, 1, 0.8, 0.6, 0.2, 0.2]),
            (partial(cosine, final=0.2), [0.01, 0.5, 1, 0.2 + 0.4 * (1 + 0.5**0.5), 0.6, 0.2, 0.2]),
        ],
        ids=["constant", "linear", "cosine"],
    )
    def test_numbers(self, schedule, expected):
        factors = [schedule(images, 1100, warmup_images=100) for images in (0, 49, 100, 350, 600, 1100, 5000)]
        assert factors == pytest.approx(expected)

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from([linear, cosine]),
        st.integers(0, 2000),
        st.integers(1, 1000),
        st.integers(0, 2000),
        st.floats(0, 1),
    )
    def test_bounds_and_direction(self, schedule, images, total, warmup, final):
        now, later = (schedule(i, total, warmup_images=warmup, final=final) for i in (images, images + 1))
        assert 0 <= now <= 1
        assert later <= now + 1e-12 if images >= warmup else later >= now

    @settings(max_examples=100, deadline=None)
    @given(st.sampled_from([linear, cosine]), st.integers(0, 1000), st.integers(1, 50))
    def test_a_longer_run_stretches_it(self, schedule, images, times):
        assert schedule(images * times, 1000 * times) == pytest.approx(schedule(images, 1000))

    @pytest.mark.parametrize("schedule", [constant, linear, cosine])
    def test_a_run_without_an_end_never_decays(self, schedule):
        assert schedule(10**9, UNBOUNDED) == pytest.approx(1)


class TestRunningMeans:
    def test_weighted_means_and_empty_flush(self):
        means = RunningMeans()
        means.add({"loss": torch.tensor(2.0, requires_grad=True), "kl": torch.tensor(1.0)}, weight=3)
        means.add({"loss": torch.tensor(6.0), "kl": torch.tensor(5.0, dtype=torch.float64)})
        assert means.flush() == {"loss": 3, "kl": 2}
        assert means.flush() == {}
        means.add({"loss": torch.tensor(7.0)})
        assert means.flush() == {"loss": 7}

    def test_terms_of_some_steps_are_averaged_over_those(self):
        means = RunningMeans()
        for step in range(8):
            penalty = {"penalty": torch.tensor(float(step))} if step % 4 == 0 else {}
            means.add({"loss": torch.tensor(float(step)), **penalty})
        assert means.flush() == {"loss": 3.5, "penalty": 2}

    def test_given_tensors_are_left_alone(self):
        means, loss = RunningMeans(), torch.tensor(2.0)
        for _ in range(3):
            means.add({"loss": loss}, weight=2)
        assert loss.item() == 2

    def test_a_state_continues_the_means(self):
        means, others = RunningMeans(), RunningMeans()
        means.add({"loss": torch.tensor(2.0)}, weight=3)
        others.load_state_dict(means.state_dict())
        others.add({"loss": torch.tensor(6.0)})
        assert others.flush() == {"loss": 3}
        assert means.flush() == {"loss": 2}

    @pytest.mark.parametrize("rank", [0, 1])
    def test_a_rank_continues_with_its_own_sums(self, monkeypatch, rank):
        """With its share of all it would round otherwise than a run that was never stopped."""
        losses = torch.tensor([2.0, 6.0])
        other = losses[1 - rank] * torch.eye(2)[1 - rank][:, None]
        two_ranks(monkeypatch, other, rank)
        means, others = RunningMeans(), RunningMeans()
        means.add({"loss": losses[rank]})
        state = means.state_dict()
        others.load_state_dict(state)
        assert others.peek() == means.peek()
        monkeypatch.undo()
        others.load_state_dict(state)
        assert others.flush() == {"loss": 4}

    def test_means_are_over_all_ranks(self, monkeypatch):
        two_ranks(monkeypatch, torch.tensor([[6.0], [2.0]]))
        means = RunningMeans()
        means.add({"loss": torch.tensor(12.0)})
        assert means.flush() == {"loss": 6}


class TestRandomness:
    def test_the_same_key_draws_the_same(self):
        seed_all(0, "step", 5)
        first = torch.randn(8)
        torch.randn(3)
        seed_all(0, "step", 5)
        assert torch.equal(torch.randn(8), first)
        assert torch.equal(torch.randn(8, generator=generator(0, "step", 5)), first)

    def test_different_keys_draw_differently(self):
        keys = [(0,), (1,), (0, "step", 1), (0, "step", 2), (0, "validation", 1), (1, 23), (12, 3), (0, "0"), (0, 0)]
        draws = {tuple(torch.randn(4, generator=generator(*key)).tolist()) for key in keys}
        assert len(draws) == len(keys)

    def test_neighboring_seeds_are_uncorrelated(self):
        draws = torch.stack([torch.randn(1000, generator=generator(seed)) for seed in range(20)])
        assert (torch.corrcoef(draws) - torch.eye(20)).abs().max() < 0.2

    def test_own_generators_leave_the_global_one(self):
        state = torch.get_rng_state()
        torch.randn(3, generator=generator(1, 2))
        assert torch.equal(torch.get_rng_state(), state)

    def test_preserved_rng_is_restored_even_after_an_error(self):
        state = torch.get_rng_state()
        with suppress(ValueError), preserved_rng():
            seed_all(3)
            raise ValueError
        assert torch.equal(torch.get_rng_state(), state)
