"""DRAW: its attention window against the paper's equations in loops, its bound against torch's, and its contract."""

import math

import pytest
import torch
from helpers.configs import composed
from helpers.probabilities import all_images, check_probabilities
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions as D

from lightning_gen.batch import Batch
from lightning_gen.config.instantiation import build_model
from lightning_gen.models.draw import DRAW
from lightning_gen.networks.attention_window import AttentionWindow, filterbank

TINY_DRAW = ["model.steps=3", "model.latent_dim=2", "model.hidden=6", "model.read_size=2", "model.write_size=3"]


def draw(image_shape: tuple[int, int, int] = (1, 7, 9), *overrides: str) -> DRAW:
    torch.manual_seed(0)
    return build_model(
        composed("model=draw", "data=fake", "data.black_and_white=true", *TINY_DRAW, *overrides).model, image_shape, 4
    )


def placed(window: AttentionWindow, *place: float) -> AttentionWindow:
    """A window that is where eq. 21 would put it with these outputs, whatever the state."""
    window.place.weight.data.zero_()
    window.place.bias.data = torch.tensor(place)
    return window


def slow_filters(place: list[float], size: int, height: int, width: int) -> tuple[list, list, float]:
    """Eqs. 19-26 as they stand, indices from 1: filters of the rows and of the columns, and the intensity."""
    x, y, log_var, log_stride, log_intensity = place
    x, y = (width + 1) / 2 * (x + 1), (height + 1) / 2 * (y + 1)
    stride = (max(height, width) - 1) / (size - 1) * math.exp(log_stride)
    banks = []
    for center, length in ((y, height), (x, width)):
        bank = []
        for i in range(1, size + 1):
            mean = center + (i - size / 2 - 0.5) * stride
            row = [math.exp(-((a - mean) ** 2) / (2 * math.exp(log_var))) for a in range(1, length + 1)]
            bank.append([value / sum(row) for value in row])
        banks.append(bank)
    return *banks, math.exp(log_intensity)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(2, 5),
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
    st.lists(st.floats(-0.8, 0.8), min_size=5, max_size=5),
)
def test_window_is_the_papers(size, shape, place):
    window = placed(AttentionWindow(3, size, *shape, writes=False), *place)
    hidden = torch.zeros(1, 3)
    rows, columns, intensity = slow_filters(place, size, *shape)
    maps, patches = torch.randn(1, 2, *shape), torch.randn(1, 2, size, size)
    read, written = window.read(maps, hidden), window.write(patches, hidden)
    for c in range(2):
        for j in range(size):
            for i in range(size):
                pixels = [(b, a) for b in range(shape[0]) for a in range(shape[1])]
                seen = sum(rows[j][b] * maps[0, c, b, a] * columns[i][a] for b, a in pixels)
                assert read[0, c, j, i].item() == pytest.approx((intensity * seen).item(), rel=1e-3, abs=1e-4)
        for b in range(shape[0]):
            for a in range(shape[1]):
                laid = sum(rows[j][b] * patches[0, c, j, i] * columns[i][a] for j in range(size) for i in range(size))
                assert written[0, c, b, a].item() == pytest.approx((laid / intensity).item(), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("shape", [(21, 21), (15, 24)])
def test_what_is_written_is_where_it_is_read(shape):
    """A small sharp window at rows 5-9 and columns 9-13, counted from 1: patches go there and come back from there."""
    place = [2 * 11 / (shape[1] + 1) - 1, 2 * 7 / (shape[0] + 1) - 1, -4.0, math.log(4 / (max(shape) - 1)), 0.7]
    window = placed(AttentionWindow(3, 5, *shape, writes=True), *place)
    patches, hidden = torch.randn(2, 3, 5, 5), torch.zeros(2, 3)
    written = window.write(patches, hidden)
    expected = torch.zeros(2, 3, *shape)
    expected[..., 4:9, 8:13] = patches / math.exp(0.7)
    torch.testing.assert_close(written, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(window.read(written, hidden), patches, atol=1e-4, rtol=1e-4)


def test_at_first_a_window_spans_the_map():
    maps = torch.linspace(-1, 1, 30).view(1, 1, 1, 30).expand(1, 1, 20, 30)
    hidden = torch.zeros(1, 3)
    seen = AttentionWindow(3, 6, 20, 30, writes=False).read(maps, hidden)[0, 0, 2]
    torch.testing.assert_close(seen, torch.linspace(-1, 1, 6), atol=0.2, rtol=0)
    written = AttentionWindow(3, 6, 30, 30, writes=True).write(torch.ones(1, 1, 6, 6), hidden)
    assert written[..., 10:-10, 10:-10].sub(1).abs().max() < 0.1


@pytest.mark.parametrize("size", [1, 12])
@pytest.mark.parametrize("log_var", [-20.0, 8.0])
def test_filters_sum_to_one_wherever_they_are(size, log_var):
    one = torch.ones(1)
    bank = filterbank(500 * one, 8, 3 * one, math.exp(log_var) * one, size)
    torch.testing.assert_close(bank.sum(-1), torch.ones(1, size))


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_bound_by_hand(labels, whole):
    model = draw((1, 4, 5), f"model.conditional={str(labels).lower()}", *["model.read_size=null"] * whole)
    encoder, decoder = model.encoder, model.decoder
    for part in (encoder.first_state, decoder.first_state, decoder.first_canvas):
        torch.nn.init.normal_(part)
    images = model.to_support(torch.rand(6, 1, 4, 5) * 2 - 1)
    chosen = torch.arange(6) % 4 if labels else None
    condition = [model.label_embedding(chosen)] if labels else []
    torch.manual_seed(1)
    elbo = model.log_likelihood(images, chosen)
    torch.manual_seed(1)
    noise = torch.randn(6, 3 * 2)

    canvas = decoder.first_canvas.repeat(6, 1, 1, 1)
    h_enc, c_enc = encoder.first_state.repeat(1, 6, 1)
    h_dec, c_dec = decoder.first_state.repeat(1, 6, 1)
    kl = torch.zeros(6)
    for t in range(3):
        wrong = images - (2 * canvas.sigmoid() - 1)
        seen = [each if whole else encoder.window.read(each, h_dec) for each in (images, wrong)]
        h_enc, c_enc = encoder.cell(torch.cat([*(s.flatten(1) for s in seen), h_dec, *condition], 1), (h_enc, c_enc))
        mean, log_var = encoder.posterior(h_enc).split(2, 1)
        posterior = D.Normal(mean, (log_var / 2).exp())
        kl += D.kl_divergence(posterior, D.Normal(torch.zeros(2), torch.ones(2))).sum(1)
        latent = posterior.mean + posterior.stddev * noise[:, 2 * t : 2 * t + 2]
        h_dec, c_dec = decoder.cell(torch.cat([latent, *condition], 1), (h_dec, c_dec))
        canvas = canvas + decoder.window.write(decoder.patch(h_dec), h_dec)
    expected = D.Bernoulli(logits=canvas).log_prob((images + 1) / 2).sum((1, 2, 3)) - kl
    torch.testing.assert_close(elbo, expected)


def test_importance_weights_average_to_a_probability():
    model = draw((1, 2, 2))
    torch.nn.init.normal_(model.encoder.posterior.weight, std=0.5)
    torch.nn.init.normal_(model.decoder.patch[0].weight, std=2)
    check_probabilities(model)


@pytest.mark.parametrize("sizes", [(2, 3), ("null", "null")])
def test_gradients_reach_all(sizes):
    model = draw((2, 7, 9), "model.conditional=true", f"model.read_size={sizes[0]}", f"model.write_size={sizes[1]}")
    terms = model.losses(Batch(torch.rand(6, 2, 7, 9) * 2 - 1, torch.tensor([0, 1, 2, 3, 0, 1])))
    assert not terms["negative_elbo"].requires_grad
    terms["loss"].backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not without


def test_drawings_end_in_samples():
    model = draw((3, 7, 9), "model/likelihood=discretized_logistic", "model.conditional=true")
    labels = torch.tensor([0, 1, 2, 3, 0])
    torch.manual_seed(1)
    drawing = model.drawing(5, labels)
    torch.manual_seed(1)
    assert torch.equal(drawing[:, -1], model.sample(5, labels))
    assert drawing.shape == (5, 3, 3, 7, 9)
    assert drawing.abs().max() <= 1
    assert not torch.equal(drawing[:, 0], drawing[:, 1])
    assert model.drawing(2).shape == (2, 3, 3, 7, 9)


def test_reconstructions_are_drawn_from_posterior_means():
    model = draw()
    images = all_images(1, 9)[:6].expand(6, 1, 7, 9)
    latent = model.encode(images)
    assert latent.shape == (6, 3 * 2)
    canvas = model.read_and_write(images, None, torch.zeros_like(latent))[0]
    torch.testing.assert_close(model.reconstruct(images), canvas.sigmoid() * 2 - 1)
