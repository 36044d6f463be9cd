"""Recurrent maps, and stacks of recurrent cells that make them."""

from typing import Any, Generic

from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt
from lightning_gen.networks.layer_list import Layer, LayerList


class RecurrentMaps(nn.Module):
    """Base: maps `(B, T, C, H, W)` and a state, None before the first, to maps `(B, T, width, H, W)` and a state."""

    width: int

    def forward(self, maps: Tensor, state: Any) -> tuple[Tensor, Any]:
        raise NotImplementedError


class CellLayers(RecurrentMaps, Generic[Layer]):
    """Base: a stack of `layers` cells, each of which reads the hidden states `(B, width, H, W)` of the one below.

    A stack implements `make_cell` and `forward`.
    """

    def __init__(
        self,
        in_channels: int,
        size: tuple[int, int],
        *,
        width: PositiveInt,
        layers: PositiveInt,
        kernel_size: PositiveInt,
    ):
        super().__init__()
        self.size = size
        self.width = width
        inputs = [in_channels, *[width] * (layers - 1)]
        self.cells = LayerList(self.make_cell(channels, kernel_size) for channels in inputs)

    def make_cell(self, in_channels: int, kernel_size: int) -> Layer:
        raise NotImplementedError

    def blocks(self) -> list[nn.Module]:
        """The stack as a whole: convolutions of its cells are called by themselves."""
        return [self]

    def zeros(self, maps: Tensor) -> Tensor:
        """The initial hidden state or cell of a layer, `(B, width, H, W)`."""
        return maps.new_zeros(len(maps), self.width, *self.size)
