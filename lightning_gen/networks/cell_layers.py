"""Recurrent cells on top of each other."""

from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt


class CellLayers(nn.Module):
    """Base of `layers` cells on top of each other: maps `(B, T, C, H, W)` to hidden states `(B, T, width, H, W)`.

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
        self.cells = nn.ModuleList(self.make_cell(channels, kernel_size) for channels in inputs)

    def make_cell(self, in_channels: int, kernel_size: int) -> nn.Module:
        raise NotImplementedError

    def zeros(self, maps: Tensor) -> Tensor:
        """What every state of a layer is before all maps, `(B, width, H, W)`."""
        return maps.new_zeros(len(maps), self.width, *self.size)
