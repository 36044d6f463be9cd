"""Muon for matrices, AdamW for the rest, as one optimizer (https://arxiv.org/abs/2502.16982)."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import AdamW, Muon, Optimizer

from lightning_gen.bounds import NonNegativeFloat, PositiveFloat, UnitInterval


class MuonWithAdamW(Optimizer):
    """Orthogonalized momentum for two-dimensional weights, AdamW for all others, which Muon isn't defined for.

    Muon's updates are scaled to the RMS of AdamW's (eq. 4), so both share `lr`, `weight_decay` and a schedule.
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
        # Both optimizers use this one's groups and state, so that saving and loading them work as usual.
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups = [group]
            part.state = self.state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._share()

    # pyrefly: ignore[bad-override]  # manual optimization gives no closure
    def step(self, closure: None = None) -> None:
        """Step both optimizers."""
        for part in self.parts:
            part.step()
