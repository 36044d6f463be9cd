"""Attention windows through which DRAW reads and writes, https://arxiv.org/abs/1502.04623, sections 3.1 and 3.2."""

import math

import torch
from torch import Tensor, nn

STATE_SCALE = 0.1  # damps the window's position and its exponentials, which jump at the learning rates of the rest


class WholeImage(nn.Module):
    """No attention: a patch is the whole map (eqs. 17-18)."""

    def __init__(self, height: int, width: int):
        super().__init__()
        self.patch_shape = (height, width)

    def read(self, maps: Tensor, hidden: Tensor) -> Tensor:
        return maps

    def write(self, patches: Tensor, hidden: Tensor) -> Tensor:
        return patches


class AttentionWindow(nn.Module):
    """A grid of `size` x `size` Gaussian filters, positioned and scaled by the state `hidden` `(B, hidden_dim)`.

    At first it spans the map, and neighboring filters overlap. The initial intensity of a window that `writes` makes a
    patch of ones a map of ones: filters sum to one, so that it would write too faintly to be learned.
    """

    def __init__(self, hidden_dim: int, size: int, height: int, width: int, writes: bool):
        super().__init__()
        self.patch_shape = (size, size)
        self.map_shape = (height, width)
        self.widest = (max(height, width, 2) - 1) / max(size - 1, 1)  # stride, eq. 24
        self.place = nn.Linear(hidden_dim, 5)  # eq. 21
        log_stride = math.log(self.widest)
        # x, y, log-variance, log-stride, log-intensity
        initial = [0, 0, 2 * (log_stride - math.log(2)), 0, -2 * log_stride if writes else 0]
        self.place.bias.data = torch.tensor(initial)

    def read(self, maps: Tensor, hidden: Tensor) -> Tensor:
        """Filter maps `(B, C, H, W)` to patches `(B, C, N, N)` (eq. 27)."""
        rows, columns, intensity = self.filters(hidden)
        return intensity * (rows @ (maps @ columns.mT))

    def write(self, patches: Tensor, hidden: Tensor) -> Tensor:
        """Place patches at the filters on maps of zeros (eq. 29)."""
        rows, columns, intensity = self.filters(hidden)
        return rows.mT @ (patches / intensity) @ columns

    def filters(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Filters of the rows `(B, 1, N, H)` and of the columns `(B, 1, N, W)`, and the intensity `(B, 1, 1, 1)`."""
        (height, width), size = self.map_shape, self.patch_shape[0]
        x, y, log_var, log_stride, log_intensity = self.place(STATE_SCALE * hidden).float().unbind(dim=1)
        x, y = (width + 1) / 2 * (x + 1), (height + 1) / 2 * (y + 1)  # eqs. 22-23
        stride = self.widest * log_stride.exp()  # eq. 24
        rows, columns = (filterbank(*axis, stride, log_var.exp(), size) for axis in ((y, height), (x, width)))
        return rows[:, None], columns[:, None], log_intensity.exp().view(-1, 1, 1, 1)


def attention_window(
    hidden_dim: int, size: int | None, height: int, width: int, writes: bool
) -> AttentionWindow | WholeImage:
    """An attention window of `size`, or the whole image for None."""
    return AttentionWindow(hidden_dim, size, height, width, writes) if size else WholeImage(height, width)


def filterbank(center: Tensor, length: int, stride: Tensor, variance: Tensor, size: int) -> Tensor:
    """`size` Gaussians along an axis of `length` pixels, `stride` apart around `center`: `(B, size, length)`.

    Pixels count from 1. Each filter sums to one; as a softmax it cannot underflow at any position.
    """
    offsets = torch.arange(size, device=center.device) + (1 - size) / 2
    means = center[:, None] + offsets * stride[:, None]  # eqs. 19-20
    distance = torch.arange(1, length + 1, device=center.device) - means[..., None]
    return (-(distance**2) / (2 * variance[:, None, None])).softmax(dim=-1)  # eqs. 25-26
