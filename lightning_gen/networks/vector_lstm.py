"""An LSTM between an encoder and a decoder of maps, after https://arxiv.org/abs/1502.04681."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks import lstm


class State(NamedTuple):
    """The LSTM's, and the maps that were read last, `(B, C, H, W)`."""

    lstm: lstm.State
    last: Tensor


class VectorLSTM(nn.Module):
    """Maps `(B, T, C, H, W)` to `(B, T, width, H, W)`, recurrent in a vector of each step's.

    `encoder(image_shape, out_dim)` makes a vector of `features` of the maps and of how they differ from those before,
    an LSTM of `hidden` units reads it, and `decoder(in_dim, image_shape)` makes maps of the vector and of what the LSTM
    says. Without the difference the LSTM would have to find out of two vectors what moves where.
    """

    def __init__(
        self,
        in_channels: int,
        size: tuple[int, int],
        *,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        features: PositiveInt,
        hidden: PositiveInt,
        width: PositiveInt,
    ):
        super().__init__()
        self.width = width
        self.encoder = encoder(image_shape=(2 * in_channels, *size), out_dim=features)
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.decoder = decoder(in_dim=features + hidden, image_shape=(width, *size))

    def forward(self, maps: Tensor, state: State | None) -> tuple[Tensor, State]:
        before, last = state or (None, maps[:, 0])  # nothing has moved at first
        difference = maps - torch.cat([last[:, None], maps[:, :-1]], dim=1)
        seen = torch.cat([maps, difference], dim=2).flatten(0, 1)
        vectors = self.encoder(seen).unflatten(0, maps.shape[:2])
        outputs, after = lstm.read(self.lstm, vectors, before)
        said = self.decoder(torch.cat([vectors, outputs], dim=2).flatten(0, 1))
        return said.unflatten(0, maps.shape[:2]), State(after, maps[:, -1])
