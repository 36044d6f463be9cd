"""An LSTM between an encoder and a decoder of maps, after https://arxiv.org/abs/1502.04681."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.cell_layers import RecurrentMaps
from lightning_gen.networks.lstm import LSTMState
from lightning_gen.networks.recurrent import run


class VectorLSTMState(NamedTuple):
    """The state of the LSTM, and its last input maps `(B, C, H, W)`."""

    lstm: LSTMState
    last: Tensor


class VectorLSTM(RecurrentMaps):
    """Maps `(B, T, C, H, W)` to `(B, T, width, H, W)` through a recurrent vector.

    `encoder(image_shape, out_dim)` maps a step's maps and their difference from the step before to a vector of
    `features`, an LSTM of `hidden` units reads it, and `decoder(in_dim, image_shape)` maps the vector and the LSTM's
    output to maps. Without the difference the LSTM would have to infer motion from two vectors.
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

    def forward(self, maps: Tensor, state: VectorLSTMState | None) -> tuple[Tensor, VectorLSTMState]:
        last = maps[:, 0] if state is None else state.last  # no motion at first
        difference = maps - torch.cat([last[:, None], maps[:, :-1]], dim=1)
        inputs = torch.cat([maps, difference], dim=2).flatten(0, 1)
        vectors = self.encoder(inputs).unflatten(0, maps.shape[:2])
        outputs, lstm_state = run(self.lstm, vectors, None if state is None else state.lstm)
        decoded = self.decoder(torch.cat([vectors, outputs], dim=2).flatten(0, 1))
        return decoded.unflatten(0, maps.shape[:2]), VectorLSTMState(lstm_state, maps[:, -1])
