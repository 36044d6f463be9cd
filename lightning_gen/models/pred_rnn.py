"""PredRNN-v2: spatiotemporal memory, kept apart from the cells' own, https://arxiv.org/abs/2103.09504."""

import torch
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.errors import UserError
from lightning_gen.models.recurrent_predictor import RecurrentPredictor
from lightning_gen.networks.st_lstm import State, STLSTMLayers, decoupling


class PredRNN(RecurrentPredictor):
    """A predictor with ST-LSTM cells, `decoupling_weight` of what memory and cells learn alike.

    It weighs the loss per pixel, whose mean the authors take; ours is a sum.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        decoupling_weight: NonNegativeFloat,
        **prediction,
    ):
        super().__init__(image_shape, num_classes, **prediction)
        self.decoupling_weight = decoupling_weight
        cells = self.next_frame.cells
        if not isinstance(cells, STLSTMLayers):
            raise UserError(
                f"model.cells: {type(cells).__name__} has no second memory to keep apart; use model/cells=st_lstm"
            )
        self.decouple = nn.Conv2d(cells.width, cells.width, 1, bias=False)  # shared by all layers

    def start(self) -> State:
        """Zeros, and increments to be kept."""
        return State(increments=[])

    def extra_terms(self, state: State, truth: Tensor) -> dict[str, Tensor]:
        """Section 3.3."""
        cell, memory = (self.decouple(torch.cat(each)) for each in zip(*state.increments, strict=True))
        return {"decoupling": self.decoupling_weight * truth[0].numel() * decoupling(cell.float(), memory.float())}
