"""A recurrent vector between an encoder and a decoder of maps, after https://arxiv.org/abs/1502.04681."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.cell_layers import RecurrentMaps
from lightning_gen.networks.recurrent import run


class RecurrentVectorState(NamedTuple):
    """The state of the recurrent layer as torch.nn has it, and its last input maps `(B, C, H, W)`."""

    layer: Any
    last: Tensor


class RecurrentVector(RecurrentMaps):
    """Base: maps `(B, T, C, H, W)` to `(B, T, width, H, W)` through a recurrent vector.

    `encoder(image_shape, out_dim)` maps a step's maps and their difference from the step before to a vector of
    `features`, a `layer_type` of `hidden` units reads it, and `decoder(in_dim, image_shape)` maps the vector and the
    layer's output to maps. Without the difference the layer would have to infer motion from two vectors.
    """

    layer_type: type[nn.LSTM | nn.GRU | nn.RNN]
    layer_name: str  # of the recurrent layer in checkpoints

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
        self.add_module(self.layer_name, self.layer_type(features, hidden, batch_first=True))
        self.decoder = decoder(in_dim=features + hidden, image_shape=(width, *size))

    def forward(self, maps: Tensor, state: RecurrentVectorState | None) -> tuple[Tensor, RecurrentVectorState]:
        last = maps[:, 0] if state is None else state.last  # no motion at first
        difference = maps - torch.cat([last[:, None], maps[:, :-1]], dim=1)
        inputs = torch.cat([maps, difference], dim=2).flatten(0, 1)
        vectors = self.encoder(inputs).unflatten(0, maps.shape[:2])
        layer = getattr(self, self.layer_name)
        outputs, layer_state = run(layer, vectors, None if state is None else state.layer)
        decoded = self.decoder(torch.cat([vectors, outputs], dim=2).flatten(0, 1))
        return decoded.unflatten(0, maps.shape[:2]), RecurrentVectorState(layer_state, maps[:, -1])


class VectorLSTM(RecurrentVector):
    """Long short-term memory: gates and a cell that keeps what they let in."""

    layer_type, layer_name = nn.LSTM, "lstm"


class VectorGRU(RecurrentVector):
    """Gated recurrent units, https://arxiv.org/abs/1406.1078: gates without a cell."""

    layer_type, layer_name = nn.GRU, "gru"


class VectorRNN(RecurrentVector):
    """A plain recurrent network, h' = tanh(W x + U h + b), https://doi.org/10.1207/s15516709cog1402_1."""

    layer_type, layer_name = nn.RNN, "rnn"
