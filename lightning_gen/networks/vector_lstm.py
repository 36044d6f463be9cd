"""An LSTM between an encoder and a decoder of maps, after https://arxiv.org/abs/1502.04681."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.lstm import State, read


class VectorLSTM(nn.Module):
    """Maps `(B, T, C, H, W)` to `(B, T, width, H, W)`, recurrent in a vector of each step's.

    `encoder(image_shape, out_dim)` makes a vector of `features`, an LSTM of `hidden` units reads it after those before,
    and `decoder(in_dim, image_shape)` makes maps of the vector and of what the LSTM says.
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
        self.encoder = encoder(image_shape=(in_channels, *size), out_dim=features)
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.decoder = decoder(in_dim=features + hidden, image_shape=(width, *size))

    def forward(self, maps: Tensor, state: State | None) -> tuple[Tensor, State]:
        vectors = self.encoder(maps.flatten(0, 1)).unflatten(0, maps.shape[:2])
        outputs, state = read(self.lstm, vectors, state)
        seen = torch.cat([vectors, outputs], dim=2).flatten(0, 1)
        return self.decoder(seen).unflatten(0, maps.shape[:2]), state
