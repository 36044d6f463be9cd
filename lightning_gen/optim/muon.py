"""Muon for matrices, AdamW for the rest, as one optimizer (https://arxiv.org/abs/2502.16982)."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from lightning_gen.bounds import NonNegativeFloat, PositiveFloat, UnitInterval


class MuonWithAdamW(Optimizer):
    """Orthogonalised momentum on two-dimensional weights; AdamW on all others, which Muon isn't defined for.

    Muon's updates are scaled to AdamW's size (eq. 4 there), so both share `lr`, `weight_decay` and a schedule.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: PositiveFloat, momentum: UnitInterval, weight_decay: NonNegativeFloat
    ):
        params = list(params)
        super().__init__(params, {"lr": lr})
        matrices = [p for p in params if p.ndim == 2]
        others = [p for p in params if p.ndim != 2]
        self.parts: list[Optimizer] = []
        if matrices:
            self.parts.append(Muon(matrices, lr, weight_decay, momentum, adjust_lr_fn="match_rms_adamw"))
        if others:
            self.parts.append(AdamW(others, lr, weight_decay=weight_decay))
        self.param_groups = [group for part in self.parts for group in part.param_groups]
        self._share()

    def _share(self) -> None:
        # Each part steps over its group and state; both are this optimizer's, so saving and loading are the usual ones.
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups = [group]
            part.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    def step(self, closure: None = None) -> None:
        """Step both."""
        for part in self.parts:
            part.step()
