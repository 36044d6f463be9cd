"""DRAW: its attention window against the paper's equations in loops, its bound against torch's, and its contract."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import distributions as D

from lightning_gen.batch import Batch
from lightning_gen.build import build_model
from lightning_gen.config import compose
from lightning_gen.models.draw import DRAW
from lightning_gen.networks.attention_window import AttentionWindow, filterbank
from lightning_gen.testing import check_model

SMALL = ["model.steps=3", "model.latent_dim=2", "model.hidden=6", "model.read_size=2", "model.write_size=3"]


def draw(image_shape: tuple[int, int, int] = (1, 7, 9), *overrides: str) -> DRAW:
    torch.manual_seed(0)
    return build_model(compose(["model=draw", "data=fake", *SMALL, *overrides]).model, image_shape, 4)


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
    for centre, length in ((y, height), (x, width)):
        bank = []
        for i in range(1, size + 1):
            mean = centre + (i - size / 2 - 0.5) * stride
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
    window = placed(AttentionWindow(3, size, *shape).double(), *place).double()
    hidden = torch.zeros(1, 3, dtype=torch.float64)
    rows, columns, intensity = slow_filters(place, size, *shape)
    maps, patches = torch.randn(1, 2, *shape, dtype=torch.float64), torch.randn(1, 2, size, size, dtype=torch.float64)
    read, written = window.read(maps, hidden), window.write(patches, hidden)
    for c in range(2):
        for j in range(size):
            for i in range(size):
                seen = sum(rows[j][b] * maps[0, c, b, a] * columns[i][a] for b in range(shape[0]) for a in range(shape[1]))
                assert read[0, c, j, i].item() == pytest.approx((intensity * seen).item(), rel=1e-4, abs=1e-5)
        for b in range(shape[0]):
            for a in range(shape[1]):
                laid = sum(rows[j][b] * patches[0, c, j, i] * columns[i][a] for j in range(size) for i in range(size))
                assert written[0, c, b, a].item() == pytest.approx((laid / intensity).item(), rel=1e-4, abs=1e-5)
