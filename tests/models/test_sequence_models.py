"""Models of image sequences: cells by their formulas, who sees what when, and that all of them learn."""

from functools import cache, partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import distributions as D
from torch import nn

from lightning_gen.batch import Batch
from lightning_gen.capabilities import HasLatent, HasLikelihood, Predicts
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_model
from lightning_gen.config.options import list_options
from lightning_gen.errors import UserError
from lightning_gen.losses.penalties import Consistency
from lightning_gen.networks.conv_lstm import ConvLSTMCell
from lightning_gen.networks.mlp import MLPEncoder
from lightning_gen.networks.moving_content import MovingContent
from lightning_gen.networks.recurrent_vector import VectorGRU, VectorLSTM, VectorRNN
from lightning_gen.networks.st_lstm import STLSTMCell, STLSTMLayers, STLSTMState, decoupling
from lightning_gen.networks.video_discriminator import VideoDiscriminator

SHAPES = [(6, 1, 16, 16), (5, 3, 20, 12)]
SCHEDULED = ["frame_lstm", "conv_lstm", "pred_rnn"]
PREDICTORS = [*SCHEDULED, "svg_lp"]
NARROW = {
    "frame_lstm": [
        *("model.cells.encoder.width=8", "model.cells.decoder.width=8", "model.cells.width=8", "model.context_frames=3")
    ],
    "conv_lstm": ["model.cells.width=8", "model.context_frames=3"],
    "pred_rnn": ["model.cells.width=8", "model.context_frames=3"],
    "svg_lp": [
        *(f"model.{part}.width=8" for part in ("first_encoder", "first_decoder", "encoder", "hints", "cells")),
        *("model.first_dim=6", "model.first_prior.group=2", "model.latent_dim=4", "model.context_frames=3"),
    ],
    "mocogan": [f"model.{part}.width=8" for part in ("generator", "discriminator", "image_discriminator")],
}


@cache
def config(name: str, *overrides: str):
    model = compose(
        [f"model={name}", "data=fake", "callbacks=[]", "metrics=[]", *NARROW.get(name, []), *overrides]
    ).model
    return OmegaConf.to_container(model)


def build(name: str, *overrides: str, shape=SHAPES[0], classes: int | None = None, **changes):
    torch.manual_seed(0)
    model = build_model(config(name, *overrides) | changes, shape, classes)
    model.trainer = SimpleNamespace(max_images=1000, precision_plugin=SimpleNamespace(scaler=None), world_size=1)
    return model


def moving_blobs(shape=SHAPES[0], n: int = 4) -> torch.Tensor:
    """A bright square that moves by a pixel a frame, from another place in each sequence."""
    frames, _, height, width = shape
    videos = torch.full((n, *shape), -1.0)
    for number in range(n):
        for t in range(frames):
            top, left = (number + t) % (height - 4), (3 * number + t) % (width - 4)
            videos[number, t, :, top : top + 4, left : left + 4] = 1.0
    return videos


def conv(maps, weight):
    return F.conv2d(maps, weight, padding="same")


class TestCells:
    def test_conv_lstm_is_equation_3(self):
        torch.manual_seed(0)
        layer = ConvLSTMCell(2, 3, 3, (4, 5))
        torch.nn.init.normal_(layer.peephole)
        x, h, c = torch.randn(2, 2, 4, 5), torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
        w_xi, w_xf, w_xc, w_xo = layer.of_input.weight.split(3)
        w_hi, w_hf, w_hc, w_ho = layer.of_hidden.weight.split(3)
        b_i, b_f, b_c, b_o = layer.of_input.bias[:, None, None].split(3)
        w_ci, w_cf, w_co = layer.peephole
        i = torch.sigmoid(conv(x, w_xi) + conv(h, w_hi) + w_ci * c + b_i)
        f = torch.sigmoid(conv(x, w_xf) + conv(h, w_hf) + w_cf * c + b_f)
        cell = f * c + i * torch.tanh(conv(x, w_xc) + conv(h, w_hc) + b_c)
        o = torch.sigmoid(conv(x, w_xo) + conv(h, w_ho) + w_co * cell + b_o)
        hidden = o * cell.tanh()
        torch.testing.assert_close(layer(layer.of_input(x), h, c), (hidden, cell))

    def test_st_lstm_is_section_3_2(self):
        torch.manual_seed(0)
        layer = STLSTMCell(2, 3, 5)
        x, h, c, m = torch.randn(2, 2, 4, 6), *torch.randn(3, 2, 3, 4, 6)
        w_xi, w_xf, w_xg, w_xo, w_xi2, w_xf2, w_xg2 = layer.of_input.weight.split(3)
        b_i, b_f, b_g, b_o, b_i2, b_f2, b_g2 = layer.of_input.bias[:, None, None].split(3)
        w_hi, w_hf, w_hg, w_ho = layer.of_hidden.weight.split(3)
        w_mi, w_mf, w_mg = layer.of_memory.weight.split(3)
        w_co, w_mo = layer.of_both.weight.split(3, dim=1)
        g = torch.tanh(conv(x, w_xg) + conv(h, w_hg) + b_g)
        i = torch.sigmoid(conv(x, w_xi) + conv(h, w_hi) + b_i)
        f = torch.sigmoid(conv(x, w_xf) + conv(h, w_hf) + b_f)
        cell = f * c + i * g
        g2 = torch.tanh(conv(x, w_xg2) + conv(m, w_mg) + b_g2)
        i2 = torch.sigmoid(conv(x, w_xi2) + conv(m, w_mi) + b_i2)
        f2 = torch.sigmoid(conv(x, w_xf2) + conv(m, w_mf) + b_f2)
        memory = f2 * m + i2 * g2
        o = torch.sigmoid(conv(x, w_xo) + conv(h, w_ho) + conv(cell, w_co) + conv(memory, w_mo) + b_o)
        hidden = o * torch.tanh(layer.join(torch.cat([cell, memory], 1)))
        expected = (hidden, cell, memory, (i * g, i2 * g2))
        torch.testing.assert_close(layer(layer.of_input(x), h, c, m), expected)

    @pytest.mark.parametrize("cells", [option.name for option in list_options("model/cells")])
    @pytest.mark.parametrize("name", ["conv_lstm", "svg_lp"])
    def test_all_fit_all_predictors(self, name, cells):
        small = ["model.cells.width=4", "model.context_frames=3"]
        model = build_model(config(name, f"model/cells={cells}", *small), SHAPES[1], None).eval()
        assert model.predict(moving_blobs(SHAPES[1])[:, :3], 2).shape == (4, 2, 3, 20, 12)

    @pytest.mark.parametrize(
        ("layers", "cell"), [(VectorRNN, nn.RNNCell), (VectorGRU, nn.GRUCell), (VectorLSTM, nn.LSTMCell)]
    )
    def test_recurrent_vectors_are_those_of_torch(self, layers, cell):
        torch.manual_seed(0)
        parts = {
            "encoder": partial(MLPEncoder, width=4),
            "decoder": lambda **sizes: nn.Unflatten(1, (8, 1, 1)),  # the vector and the layer's output as they are
        }
        network = layers(1, (2, 3), **parts, features=3, hidden=5, width=2)
        maps = torch.randn(2, 4, 1, 2, 3)
        found, state = network(maps, None)
        reference = cell(3, 5)
        weights = getattr(network, network.layer_name).state_dict()
        reference.load_state_dict({name.removesuffix("_l0"): weight for name, weight in weights.items()})
        hidden, moved = None, torch.zeros_like(maps[:, 0])
        for step in range(4):
            vector = network.encoder(torch.cat([maps[:, step], moved], 1))
            hidden = reference(vector, hidden)
            output = hidden[0] if layers is VectorLSTM else hidden
            torch.testing.assert_close(found[:, step].flatten(1), torch.cat([vector, output], 1))
            moved = maps[:, min(step + 1, 3)] - maps[:, step]
        longer, _ = network(torch.cat([maps, maps[:, :1]], 1), None)
        torch.testing.assert_close(network(maps[:, :1], state)[0], longer[:, 4:])

    def test_decoupling_needs_two_memories(self):
        with pytest.raises(UserError, match=r"ConvLSTMLayers has no second memory .* model/cells=st_lstm"):
            build("pred_rnn", "model/cells=conv_lstm")

    def test_memory_goes_up_the_layers_and_on_to_the_next_step(self):
        torch.manual_seed(0)
        layers = STLSTMLayers(2, (4, 4), width=3, layers=2, kernel_size=3)
        maps, zero = torch.randn(2, 2, 2, 4, 4), torch.zeros(2, 3, 4, 4)
        low, high = layers.cells
        h1, c1, m, first = low(low.of_input(maps[:, 0]), zero, zero, zero)
        h2, c2, m, second = high(high.of_input(h1), zero, zero, m)
        h1, c1, m, third = low(low.of_input(maps[:, 1]), h1, c1, m)
        h2, c2, m, fourth = high(high.of_input(h1), h2, c2, m)
        top, state = layers(maps, STLSTMState(increments=[]))
        torch.testing.assert_close(top[:, -1], h2)
        torch.testing.assert_close(tuple(state), ([h1, h2], [c1, c2], m, [first, second, third, fourth]))

    def test_decoupling_by_numbers(self):
        cell = torch.tensor([[[[3.0, 4.0]], [[1.0, 0.0]]]])  # (1, 2, 1, 2)
        memory = torch.tensor([[[[-4.0, -3.0]], [[0.0, 2.0]]]])
        assert decoupling(cell, memory).item() == pytest.approx((24 / 25 + 0) / 2)

    def test_decoupling_counts_per_pixel_what_the_authors_mean(self):
        model, images = build("pred_rnn", decoupling_weight=0.5), moving_blobs()
        model.eval()
        _, state = model.roll_out(images[:, :3], 3, model.initial_state())
        assert len(state.increments) == 5 * 2  # steps, layers
        each = [decoupling(*(model.decouple(part) for part in pair)) for pair in state.increments]
        terms = model.losses(Batch(images, None))
        torch.testing.assert_close(terms["decoupling"], 0.5 * 3 * 16 * 16 * torch.stack(each).mean())
        torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["decoupling"])


@pytest.mark.parametrize("name", SCHEDULED)
class TestRollOut:
    def test_reading_at_once_is_reading_one_by_one(self, name):
        model, frames = build(name), moving_blobs()
        at_once, _ = model.next_frame(frames, None)
        state, one_by_one = None, []
        for t in range(frames.shape[1]):
            parameters, state = model.next_frame(frames[:, t : t + 1], state)
            one_by_one.append(parameters)
        torch.testing.assert_close(at_once, torch.cat(one_by_one, 1), rtol=1e-4, atol=1e-5)

    @pytest.mark.slow
    def test_compiled_it_is_the_same(self, name):
        model, frames = build(name), moving_blobs()
        expected, state = model.next_frame(frames, None)
        again, _ = model.next_frame(frames[:, :1], state)
        model.next_frame.compile(backend="eager")  # to trace it is what can fail
        found, state = model.next_frame(frames, None)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(model.next_frame(frames[:, :1], state)[0], again)

    def test_forced_frames_are_the_true_ones_and_others_the_predicted(self, name):
        model, frames = build(name), moving_blobs()
        context, truth = frames[:, :3], frames[:, 3:]
        all_true, _ = model.roll_out(context, 3, None, truth, torch.ones(4, 3, dtype=torch.bool))
        none, _ = model.roll_out(context, 3, None, truth, torch.zeros(4, 3, dtype=torch.bool))
        for step in range(3):
            expected, _ = model.next_frame(frames[:, : 3 + step], None)
            torch.testing.assert_close(all_true[:, : 3 + step], expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.mean(none)[:, -3:], model.predict(context, 3))
        one = torch.tensor([True, False, False, False])[:, None].expand(-1, 3)
        mixed, _ = model.roll_out(context, 3, None, truth, one)
        torch.testing.assert_close(mixed, torch.cat([all_true[:1], none[1:]]))

    def test_no_prediction_sees_its_frame_or_later_ones(self, name):
        model, frames = build(name), moving_blobs().requires_grad_()
        parameters, _ = model.roll_out(frames[:, :3], 3, None, frames[:, 3:], torch.ones(4, 3, dtype=torch.bool))
        assert parameters.shape[1] == 5
        for number in range(5):
            (gradient,) = torch.autograd.grad(parameters[:, number].square().sum(), frames, retain_graph=True)
            seen = gradient.flatten(2).abs().sum(2)  # (B, T)
            assert (seen[:, : 1 + number] > 0).all()
            assert (seen[:, 1 + number :] == 0).all()

    def test_share_of_true_frames_falls_from_all_to_none(self, name):
        model = build(name, scheduled_sampling_images=100)
        model.train()
        assert model.teacher_forcing_mask(8, 5).all()
        model.images_seen = 75
        assert model.teacher_forcing_mask(200, 50).float().mean().item() == pytest.approx(0.25, abs=0.03)
        model.images_seen = 100
        assert model.teacher_forcing_mask(8, 5) is None
        model.images_seen = 0
        model.eval()
        assert model.teacher_forcing_mask(8, 5) is None
        assert build(name, scheduled_sampling_images=0).teacher_forcing_mask(8, 5) is None

    def test_loss_is_of_the_frames_after_the_context_and_in_training_of_all_but_the_first(self, name):
        model, frames = build(name, "model/likelihood=gaussian"), moving_blobs()
        model.eval()
        terms = model.losses(Batch(frames, None))
        parameters, _ = model.roll_out(frames[:, :3], 3)
        each = [model.likelihood.log_prob(parameters[:, number], frames[:, 1 + number]) for number in range(5)]
        torch.testing.assert_close(terms["reconstruction"], -sum(each[2:]).mean())
        predicted = model.predict(frames[:, :3], 3)
        torch.testing.assert_close(terms["mse"], (predicted - frames[:, 3:]).square().mean())
        model.scheduled_sampling_images = 0
        model.train()
        torch.testing.assert_close(model.losses(Batch(frames, None))["reconstruction"], -sum(each).mean())


@pytest.mark.parametrize("name", SCHEDULED)
@pytest.mark.parametrize("shape", SHAPES)
def test_at_first_the_last_frame_is_repeated(name, shape):
    model, frames = build(name, shape=shape).eval(), moving_blobs(shape)
    with torch.no_grad():
        assert (model.predict(frames[:, :3], 1) - frames[:, 2:3]).abs().mean() < 0.1


@pytest.mark.parametrize("name", PREDICTORS)
class TestPredictors:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_any_context_and_any_number_of_steps(self, name, shape):
        model = build(name, shape=shape).eval()
        assert isinstance(model, Predicts)
        assert model.context_frames == 3
        videos = moving_blobs((9, *shape[1:]), n=2)
        with torch.no_grad():
            for given, steps in ((1, 2), (3, 1), (9, 7)):
                predicted = model.predict(videos[:, :given], steps)
                assert predicted.shape == (2, steps, *shape[1:])
                assert predicted.abs().max() <= 1
            assert model.sample(3).shape == (3, *shape)

    def test_more_steps_do_not_change_the_first(self, name):
        model, videos = build(name).eval(), moving_blobs()
        predictions = []
        for steps in (2, 5):
            torch.manual_seed(0)
            predictions.append(model.predict(videos[:, :3], steps)[:, :2])
        torch.testing.assert_close(*predictions)

    @pytest.mark.slow
    def test_learns(self, name):
        model, videos = build(name), moving_blobs()
        model.scheduled_sampling_images = 60
        predicted = videos[:, 1:] if name in SCHEDULED else videos
        least = -model.log_prob(predicted, predicted).mean().item()  # of a density, not 0
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        model.train()
        losses = []
        for _ in range(30):
            terms = model.losses(Batch(videos, None))
            optimizer.zero_grad()
            terms["loss"].backward()
            optimizer.step()
            model.images_seen += 4
            losses.append(terms["loss"].item() - least)
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        assert losses[-1] < 0.7 * losses[0]

    def test_learns_in_16_bits_too(self, name):
        model, videos = build(name).train(), moving_blobs()
        torch.manual_seed(1)
        loss = model.losses(Batch(videos, None))["loss"].item()
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            lower = model.losses(Batch(videos, None))["loss"]
        lower.backward()
        assert lower.item() == pytest.approx(loss, rel=0.01)
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)

    def test_mistakes_are_user_errors(self, name):
        with pytest.raises(UserError, match=r"model.context_frames=6: the data's sequences have 6 frames"):
            build(name, context_frames=6)
        with pytest.raises(UserError, match=r"model.conditional=true"):
            build(name, conditional=True, classes=3)


class TestSVG:
    def test_divergence_is_that_of_posteriors_and_priors(self):
        model, frames = build("svg_lp").eval(), moving_blobs()
        torch.manual_seed(1)
        [inference] = model.inferences(frames, None, samples=1)
        torch.manual_seed(1)
        first_noise, noise = model.noise(4, 6)
        _, *found = model.follow(frames, torch.full((4,), 3), first_noise, noise)
        assert [len(each) for each in found] == [6, 6]
        found = [[torch.cat(each, 1) for each in zip(*normals, strict=True)] for normals in found]
        posterior, prior = (D.Normal(mean, (log_var / 2).exp()) for mean, log_var in found)
        assert posterior.mean.shape == prior.mean.shape == (4, 6 + 5 * 4)
        kl = D.kl_divergence(posterior, prior).sum(1)
        torch.testing.assert_close(inference.kl, kl, rtol=1e-4, atol=1e-4)
        latent = posterior.mean + posterior.stddev * torch.cat([first_noise, noise.flatten(1)], 1)
        ratio = (prior.log_prob(latent) - posterior.log_prob(latent)).sum(1)
        torch.testing.assert_close(inference.log_weight - inference.log_prob, ratio, rtol=1e-4, atol=1e-3)

    def test_bound_is_of_all_frames(self):
        model, frames = build("svg_lp", beta=3.0, first_beta=0.5), moving_blobs()
        assert isinstance(model, HasLikelihood)
        torch.manual_seed(1)
        terms = model.losses(Batch(frames, None))
        torch.manual_seed(1)
        [inference] = model.inferences(frames, None, samples=1)
        torch.testing.assert_close((inference.log_prob - inference.kl).mean(), -terms["negative_elbo"])
        mean, log_var = inference.mean[:, :6], inference.log_var[:, :6]
        first = 0.5 * (mean**2 + log_var.exp() - log_var - 1).sum(1).mean()
        weighed = terms["reconstruction"] + 0.5 * first + 3 * (terms["kl"] - first)
        torch.testing.assert_close(terms["loss"], weighed)
        assert model.log_likelihood(frames, samples=3).shape == (4,)

    def test_posterior_does_not_see_later_frames(self):
        model, frames = build("svg_lp").eval(), moving_blobs().requires_grad_()
        [inference] = model.inferences(frames, None, samples=1)
        of_third = inference.mean[:, 6:].unflatten(1, (5, 4))[:, 1]
        (gradient,) = torch.autograd.grad(of_third.square().sum(), frames)
        seen = gradient.flatten(2).abs().sum(2)
        assert (seen[:, :3] > 0).all()
        assert (seen[:, 3:] == 0).all()

    def test_given_frames_are_read_as_they_are_and_others_as_drawn(self):
        model, frames = build("svg_lp").eval(), moving_blobs()
        read = []
        model.next_frame.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0][:, 0]))
        given = torch.tensor([0, 1, 3, 6])
        parameters, *_ = model.follow(frames, given, *model.noise(4, 6))
        expected = model.mean(parameters)[:, :5]
        true = (torch.arange(5) < given[:, None])[..., None, None, None]
        assert torch.equal(torch.stack(read, 1), torch.where(true, frames[:, :5], expected))

    def test_a_single_frame_can_be_sampled_without_context(self):
        model = build("svg_lp").eval()
        frames = []
        for steps in (1, 4):
            torch.manual_seed(2)
            frames.append(model.predict(torch.empty(2, 0, 1, 16, 16), steps)[:, :1])
        torch.testing.assert_close(*frames)

    def test_groups_of_the_first_latents_must_be_equal(self):
        with pytest.raises(UserError, match=r"group=4 of the prior .* give one of \[1, 2, 3, 6\]"):
            build("svg_lp", "model.first_prior.group=4")

    def test_the_first_frame_is_learned_from_first_frames_alone(self):
        model, frames = build("svg_lp").eval(), moving_blobs()
        parameters, *_ = model.follow(frames, torch.zeros(4), *model.noise(4, 6))
        made = [*model.first_decoder.parameters()]
        later = torch.autograd.grad(parameters[:, 1:].sum(), made, retain_graph=True)
        assert not any(each.any() for each in later)
        assert all(each.abs().sum() > 0 for each in torch.autograd.grad(parameters[:, 0].square().sum(), made))

    def test_how_many_are_given_is_drawn_in_training_only(self, monkeypatch):
        model, frames = build("svg_lp"), moving_blobs(n=40)
        seen, follow = [], model.follow
        monkeypatch.setattr(model, "follow", lambda *known: seen.append(known[1]) or follow(*known))
        model.train().losses(Batch(frames, None))
        assert set(seen.pop().tolist()) == {0, 1, 2, 3}
        model.eval().losses(Batch(frames, None))
        assert set(seen.pop().tolist()) == {3}

    def test_predictions_and_samples_are_drawn(self):
        model, frames = build("svg_lp").eval(), moving_blobs()
        assert not torch.equal(model.predict(frames[:, :3], 3), model.predict(frames[:, :3], 3))
        torch.manual_seed(1)
        samples = model.sample(2)
        assert not torch.equal(*samples)
        torch.manual_seed(1)
        first_noise, _ = model.noise(2, 6)
        torch.testing.assert_close(
            samples[:, 0], model.likelihood.mean(model.first_decoder(model.first_prior.sample(first_noise)))
        )


class TestMoCoGAN:
    @pytest.mark.parametrize("shape", SHAPES)
    def test_shapes(self, shape):
        model = build("mocogan", shape=shape)
        assert isinstance(model, HasLatent)
        latent = model.latent(3)
        assert latent.shape == (3, 50 + (shape[0] + 1) * 10)
        assert model.decode(latent).shape == model.sample(3).shape == (3, *shape)
        assert model.discriminate(model.sample(3), None).shape == (3, 2)

    def test_content_stays_and_motion_follows_the_noise(self):
        model = build("mocogan").eval()
        seen = []
        model.generator.frames.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        latent = model.latent(2)
        model.generator(latent)
        changed = latent.clone()
        changed[:, 50 + 10 * 4 :] += 1  # the noise of the fourth frame and later ones
        model.generator(changed)
        before, after = (points.unflatten(0, (2, 6)) for points in seen)
        assert torch.equal(before[..., :50], latent[:, None, :50].expand(-1, 6, -1))
        assert torch.equal(before[:, :3], after[:, :3])
        assert (before[:, 3:, 50:] != after[:, 3:, 50:]).all()
        path, _ = model.generator.motion(latent[:, 60:].unflatten(1, (6, 10)), latent[None, :, 50:60])
        torch.testing.assert_close(before[..., 50:], path)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_content_is_made_once(self, shape):
        model = build("mocogan", "model.content_maps=4", shape=shape, classes=3, conditional=True)
        made = []
        model.generator.content.register_forward_hook(lambda module, inputs, maps: made.append((inputs[0], maps)))
        latent = model.latent(2)
        videos = model.decode(latent, torch.tensor([0, 1]))
        assert videos.shape == (2, *shape)
        [(content, maps)] = made
        assert torch.equal(content, latent[:, :50])
        assert maps.shape == (2, 4, *shape[2:])
        videos.square().sum().backward()
        assert all(p.grad is not None for p in model.generator.parameters())

    def test_motion_moves_content(self):
        torch.manual_seed(0)
        moving = MovingContent(4, 1, 2)
        with torch.no_grad():
            moving.place.weight.zero_()
            moving.place.bias.zero_()
            moving.step.weight.copy_(torch.diag(torch.tensor([2 / 20, 2 / 12])))  # a pixel right, a pixel down
        maps = torch.zeros(1, 4, 12, 20)
        maps[:, :, 3:6, 4:9] = torch.randn(4, 3, 5)
        still, _, moved = moving(maps, torch.tensor([[[0.0, 0.0], [4.0, 0.0], [2.0, 2.0]]]))[0]
        assert still.std() > 0.01
        # But for what the convolutions see of the frame's border.
        torch.testing.assert_close(moved[:, 4:10, 8:18], still[:, 2:8, 2:12], atol=1e-5, rtol=0)

    @pytest.mark.parametrize("frames", [1, 4, 5, 9, 16])
    def test_videos_of_any_length_are_judged_whole(self, frames):
        judge = VideoDiscriminator((frames, 2, 20, 12), 3, width=4, largest=8, activation="silu", normalization="batch")
        videos = torch.randn(2, frames, 2, 20, 12, requires_grad=True)
        output = judge(videos)
        assert output.shape == (2, 3)
        (gradient,) = torch.autograd.grad(output.sum(), videos)
        assert (gradient.flatten(3).abs().sum(3) > 0).all()

    def test_images_are_random_frames(self):
        model = build("mocogan")
        seen = []
        model.discriminator.images.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
        videos = torch.arange(6.0).view(1, 6, 1, 1, 1).expand(300, -1, 1, 16, 16)
        model.discriminate(videos, None)
        assert seen[0][:, 0, 0, 0].unique().tolist() == [0, 1, 2, 3, 4, 5]

    def test_gradients_reach_only_the_player_that_steps(self, monkeypatch):
        model = build("mocogan")
        model.configure_optimizers()
        seen = []
        for stepper in model.steppers:

            def spied(*progress, step=stepper.step):
                parts = (model.generator, model.discriminator.videos, model.discriminator.images)
                seen.append([all(p.grad is not None for p in part.parameters()) for part in parts])
                seen.append([any(p.grad is not None for p in part.parameters()) for part in parts])
                step(*progress)

            monkeypatch.setattr(stepper, "step", spied)
        model.step(Batch(moving_blobs(), None))
        assert seen == [[False, True, True]] * 2 + [[True, False, False]] * 2

    def test_terms_are_of_both_judges(self):
        model = build("mocogan")
        terms = model.losses(Batch(moving_blobs(), None))
        names = ["discriminator", "image_discriminator", "generator", "image_generator", "accuracy"]
        assert list(terms) == names

    @pytest.mark.parametrize("shape", SHAPES)
    def test_discriminators_learn(self, shape):
        model = build("mocogan", "model.optimizer.lr=2e-3", generator_every=100, shape=shape)
        model.configure_optimizers()
        terms = []
        for _ in range(20):
            model.step(Batch(moving_blobs(shape), None))
            terms.append(model.terms.flush())
        for name in ("discriminator", "image_discriminator"):
            assert terms[-1][name] < 0.7 * terms[0][name]

    def test_labels_and_penalties_of_videos(self):
        chosen = ["model.conditional=true", "model/conditioning=projection", "model/penalty=[r1,consistency]"]
        model = build("mocogan", *chosen, classes=3)
        model.configure_optimizers()
        model.step(Batch(moving_blobs(), torch.tensor([0, 1, 2, 0])))
        assert len(model.decode(model.latent(1).expand(3, -1), torch.arange(3)).unique(dim=0)) == 3

    def test_frames_of_a_video_move_together(self):
        videos = torch.arange(48.0).view(1, 1, 1, 6, 8).expand(16, 3, 2, -1, -1)
        moved = Consistency(1.0, shift=3).moved(videos)
        assert moved.shape == videos.shape
        assert torch.equal(moved, moved[:, :1, :1].expand_as(moved))

    def test_refuses_augmentation(self):
        with pytest.raises(UserError, match=r"model/augment: .* use model/augment=none"):
            build("mocogan", "model/augment=diffaugment")


class TestKindOfData:
    @pytest.mark.parametrize("name", [*PREDICTORS, "mocogan"])
    def test_models_of_sequences_refuse_images(self, name):
        with pytest.raises(
            UserError, match=r"takes no single images, which the data has \(1x16x16\); choose data of seq"
        ):
            build(name, shape=(1, 16, 16))

    @pytest.mark.parametrize("name", ["vae", "dcgan"])
    def test_models_of_images_refuse_sequences(self, name):
        with pytest.raises(UserError, match=r"takes no sequences, which the data has \(6x1x16x16\); choose data of im"):
            build(name)

    @pytest.mark.parametrize("name", ["conv_lstm", "pred_rnn"])
    def test_frames_divide_into_patches(self, name):
        with pytest.raises(UserError, match=r"model.patch_size=4: frames of 18x20 .* give 2"):
            build(name, shape=(6, 1, 18, 20))
