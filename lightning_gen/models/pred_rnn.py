"""PredRNN-v2: spatiotemporal memory, decoupled from the temporal cells, https://arxiv.org/abs/2103.09504."""

import torch
from torch import Tensor, nn

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.errors import UserError
from lightning_gen.models.recurrent_predictor import RecurrentPredictor
from lightning_gen.networks.st_lstm import STLSTMLayers, STLSTMState, decoupling


class PredRNN(RecurrentPredictor):
    """A predictor with ST-LSTM cells and the decoupling loss of their two memories.

    `decoupling_weight` is relative to a loss averaged over pixels, as the authors' is; ours is a sum.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        decoupling_weight: NonNegativeFloat,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        self.decoupling_weight = decoupling_weight
        cells = self.next_frame.cells
        if not isinstance(cells, STLSTMLayers):
            raise UserError(
                f"model.cells: {type(cells).__name__} has no second memory to decouple; use model/cells=st_lstm"
            )
        self.decouple = nn.Conv2d(cells.width, cells.width, 1, bias=False)  # shared by all layers

    def initial_state(self) -> STLSTMState:
        """A state that records the increments of both memories."""
        return STLSTMState(increments=[])

    def extra_terms(self, state: STLSTMState, truth: Tensor) -> dict[str, Tensor]:
        """The decoupling loss, section 3.3."""
        assert state.increments is not None  # recorded since `initial_state`
        cell, memory = (self.decouple(torch.cat(increments)) for increments in zip(*state.increments, strict=True))
        return {"decoupling": self.decoupling_weight * truth[0].numel() * decoupling(cell.float(), memory.float())}
