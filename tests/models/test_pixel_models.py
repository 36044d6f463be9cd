"""Pixel-by-pixel models: what they look at, what their probabilities add up to, and what sampling remembers."""

from itertools import product

import pytest
import torch
from helpers.configs import composed
from omegaconf import OmegaConf
from torch import nn

from lightning_gen.config.instantiation import build_model
from lightning_gen.config.options import list_options
from lightning_gen.models.pixel_model import PixelModel
from lightning_gen.networks.linear_recurrence import by_doubling, linear_recurrence, step_by_step
from lightning_gen.networks.pixel_rnn import DiagonalLSTM, RowLSTM, diagonals
from lightning_gen.utilities.progress import sampling_progress

MODELS = [option.name for option in list_options("model") if option.name.startswith("pixel_")]


def made(name: str, shape: tuple[int, ...], *overrides: str, num_classes: int | None = None) -> PixelModel:
    """A narrow model; double precision, so that equal means equal."""
    config = OmegaConf.to_container(composed(f"model={name}", *overrides).model)
    for part in ("network", "small_network"):
        for key, value in {"hidden": 4, "depth": 2, "width": 6}.items():
            if part in config and key in config[part]:
                config[part][key] = value
    torch.manual_seed(0)
    return build_model(config, shape, num_classes).double().eval()


def binary(n: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randint(2, (n, *shape)).double() * 2 - 1


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_of_all_images_add_up_to_one(name):
    model = made(name, (1, 2, 2))
    images = torch.tensor(list(product([-1.0, 1.0], repeat=4))).view(16, 1, 2, 2).double()
    assert model.log_likelihood(images).exp().sum().item() == pytest.approx(1, abs=1e-6)  # parameters are float32


@pytest.mark.parametrize("channels", [2, 3])
def test_probabilities_of_all_values_of_a_pixel_add_up_to_one(channels):
    model = made("pixel_rnn_row", (channels, 1, 1), "model/likelihood=cross_entropy", "model.likelihood.levels=3")
    images = torch.tensor(list(product([-1.0, 0.0, 1.0], repeat=channels))).view(-1, channels, 1, 1).double()
    assert model.log_likelihood(images).exp().sum().item() == pytest.approx(1, abs=1e-6)  # parameters are float32


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 5, 4), (2, 4, 6)])
def test_every_value_depends_on_all_before_it_and_on_no_other(name, shape):
    """Of the likelihood's terms, in the order in which values are drawn, the gradient is lower triangular."""
    if name == "pixel_rnn_multi_scale":
        pytest.skip("draws its pixels in another order, see below")
    model = made(name, shape)
    images = torch.randn(1, *shape, dtype=torch.float64, requires_grad=True)
    parameters = model.pixels(images)[0]  # (C, H, W): one a value
    order = parameters.permute(1, 2, 0).flatten()  # pixel by pixel, channel by channel
    seen = []
    for value in order:
        gradient = torch.autograd.grad(value, images, retain_graph=True, allow_unused=True)[0]
        gradient = torch.zeros_like(images) if gradient is None else gradient
        seen.append(gradient[0].permute(1, 2, 0).flatten() != 0)
    seen = torch.stack(seen)
    assert not seen.triu().any()
    if name != "pixel_rnn_row":  # whose field is a triangle
        assert seen[-1][:-1].all()


def test_multi_scale_sees_the_small_image_and_the_pixels_before():
    model = made("pixel_rnn_multi_scale", (1, 4, 4))
    images = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    parameters = model.pixels(images, None, model.upsample(images[:, :, ::2, ::2]))[0, 0]
    is_small = torch.zeros(4, 4, dtype=torch.bool)
    is_small[::2, ::2] = True
    number = torch.arange(16).view(4, 4)
    for row, column in product(range(4), range(4)):
        if is_small[row, column]:
            continue
        seen = torch.autograd.grad(parameters[row, column], images, retain_graph=True)[0][0, 0] != 0
        assert not seen[~is_small & (number >= number[row, column])].any()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("likelihood", ["bernoulli", "cross_entropy", "logistic_mixture"])
def test_logits_from_memory_are_bit_for_bit_those_of_the_whole_image(name, likelihood):
    """Computed in double precision, where matrix products of other shapes differ by less than float32 logits hold."""
    model = made(name, (2, 5, 4), f"model/likelihood={likelihood}", "model.conditional=true", num_classes=3)
    labels = torch.tensor([0, 2])
    images = model.sample(2, labels)
    network, condition = model.pixels.network, model.condition(labels)
    context = model.upsample(images[:, :, ::2, ::2]) if name == "pixel_rnn_multi_scale" else None
    whole = model.pixels(images, condition, context).unflatten(1, (-1, 2))  # (B, P, C, H, W)
    assert whole.dtype == torch.float32
    state = network.start(2, condition, context)
    for row, column in product(range(5), range(4)):
        features, values = network.step(state, row, column), images[:, :, row, column]
        logits = model.pixels.head(features, values).float()  # (B, C, P)
        assert torch.equal(logits.mT, whole[..., row, column])
        state.images[:, :, row, column] = values
    assert torch.isfinite(model.log_likelihood(images, labels)).all()


@pytest.mark.parametrize("name", MODELS)
def test_samples_follow_the_likelihood(name):
    model = made(name, (1, 1, 2))
    for parameter in model.parameters():  # far from uniform
        nn.init.normal_(parameter, std=0.7)
    images = torch.tensor(list(product([-1.0, 1.0], repeat=2))).view(4, 1, 1, 2).double()
    expected = model.log_likelihood(images).exp()
    torch.manual_seed(0)
    samples = model.sample(20_000).flatten(1)
    found = torch.stack([(samples == image.flatten()).all(1).double().mean() for image in images])
    torch.testing.assert_close(found, expected, atol=0.015, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_completion_keeps_what_is_given(name):
    model = made(name, (1, 6, 5))
    images = binary(3, (1, 6, 5))
    completed = model.complete(images, 3)
    assert torch.equal(completed[:, :, :3], images[:, :, :3])
    assert completed.abs().eq(1).all()
    assert not torch.equal(completed, model.complete(images, 3))


@pytest.mark.parametrize("name", ["pixel_rnn_row", "pixel_rnn_multi_scale"])
def test_sampling_tells_how_far_it_is(name):
    model, told = made(name, (1, 5, 4)), []
    with sampling_progress(model, 3, told.append):
        model.sample(3)
    assert len(told) > 5
    assert sum(told) == pytest.approx(3)
    assert max(told) < 1
    assert told[-1] == pytest.approx(0)  # what is left at the end
    assert model.on_progress is None


def test_row_lstm_is_that_of_a_loop_over_pixels():
    torch.manual_seed(0)
    layer, inputs = RowLSTM(6, 3, residual=False).double(), torch.randn(2, 4, 5, 6).double()
    found = layer(inputs)
    hidden, cell = {}, {}
    zero = torch.zeros(2, 3).double()
    for r, c in product(range(4), range(5)):
        left = inputs[:, r, c - 1] if c else torch.zeros(2, 6).double()
        gates = layer.input(torch.cat([left, inputs[:, r, c]], 1))
        above = [hidden.get((r - 1, c + d), zero) for d in (-1, 0, 1)]
        gates = gates + layer.recurrent(torch.cat(above, 1))
        o, f, i = gates[:, :9].sigmoid().chunk(3, 1)
        cell[r, c] = f * cell.get((r - 1, c), zero) + i * gates[:, 9:].tanh()
        hidden[r, c] = o * cell[r, c].tanh()
        torch.testing.assert_close(found[:, r, c], layer.out(hidden[r, c]))


@pytest.mark.parametrize(("height", "width"), [(4, 5), (5, 3), (1, 4), (4, 1)])
def test_diagonal_lstm_is_that_of_a_loop_over_pixels(height, width):
    torch.manual_seed(0)
    layer, inputs = DiagonalLSTM(6, 3, residual=False).double(), torch.randn(2, height, width, 6).double()
    found = layer(inputs)
    zero = torch.zeros(2, 3).double()
    maps = []
    for direction, columns in ((0, range(width)), (1, range(width)[::-1])):
        hidden, cell = {}, {}
        back = 1 if direction else -1
        for r, c in product(range(height), columns):
            gates = layer.input(inputs[:, r, c]).chunk(2, 1)[direction]
            seen = torch.cat([hidden.get((r - 1, c), zero), hidden.get((r, c + back), zero)], 1)
            gates = gates + seen @ layer.recurrent[direction]
            o, f, i = gates[:, :9].sigmoid().chunk(3, 1)
            cell[r, c] = f * cell.get((r, c + back), zero) + i * gates[:, 9:].tanh()
            hidden[r, c] = o * cell[r, c].tanh()
        maps.append(hidden)
    for r, c in product(range(height), range(width)):
        expected = layer.out(maps[0][r, c] + maps[1].get((r - 1, c), zero))
        torch.testing.assert_close(found[:, r, c], expected)


def test_diagonals_list_every_pixel_once():
    order, sizes = diagonals(3, 4, torch.device("cpu"))
    assert [part.tolist() for part in order.split(sizes)] == [[0], [1, 4], [2, 5, 8], [3, 6, 9], [7, 10], [11]]


@pytest.mark.parametrize("scan", [step_by_step, by_doubling])
@pytest.mark.parametrize("steps", [1, 2, 7, 16])
def test_scans_are_the_recurrence(scan, steps):
    decay, inputs = torch.rand(steps, 2, 3).double(), torch.randn(steps, 2, 3).double()
    expected, value = [], torch.zeros(2, 3).double()
    for a, b in zip(decay, inputs, strict=True):
        value = a * value + b
        expected.append(value)
    torch.testing.assert_close(scan(decay, inputs), torch.stack(expected))
    backwards = scan(decay.flip(0), inputs.flip(0), True).flip(0)
    torch.testing.assert_close(backwards, torch.stack(expected))


def test_the_recurrences_gradient_is_that_of_differences():
    decay = torch.rand(5, 3).double().requires_grad_()
    inputs = torch.randn(5, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(linear_recurrence, (decay, inputs))
