"""Running means of logged scalars, kept on the device and read with one transfer."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.utilities.ranks import Ranks, gather_from_ranks, num_ranks, sum_over_ranks

Terms = tuple[tuple[str, ...], Tensor, float]  # names, their values `(n,)`, the weight of this part of a batch


class RunningMeans:
    """Sums of named scalars over steps, without a device sync; `flush` reads all of them at once.

    A term that is missing in some steps (a penalty applied every 16 steps) is averaged over the steps that have it.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], tuple[Tensor, float]] = {}
        self.pending: list[Terms] = []  # of the current step

    def add(self, terms: dict[str, Tensor], weight: float = 1.0) -> None:
        """Add one step's terms, scalars of any floating dtype on one device, with this weight."""
        with torch.no_grad():
            self.pending.append((tuple(terms), torch.stack(list(terms.values())).float(), weight))

    def take_pending(self) -> list[Terms]:
        """The terms of the current step, which are removed: those of a captured step are the same tensors at each."""
        pending, self.pending = self.pending, []
        return pending

    def commit(self) -> None:
        """Add the terms of the current step to the sums."""
        for names, values, weight in self.take_pending():
            weighted = values if weight == 1.0 else values * weight
            if names in self._sums:
                total, count = self._sums[names]
                self._sums[names] = total.to(values.device).add_(weighted), count + weight
            else:
                self._sums[names] = weighted.clone(), weight

    def peek(self) -> dict[str, Tensor]:
        """Means of this rank since the last flush, on the device."""
        self.commit()
        return {
            name: mean
            for names, (total, count) in self._sums.items()
            for name, mean in zip(names, total / count, strict=True)
        }

    def flush(self) -> dict[str, float]:
        """Weighted means since the last flush; under data parallelism, over all ranks."""
        if not self.peek():
            return {}
        totals = torch.cat([total for total, _ in self._sums.values()])
        weights = totals.new_tensor([count for total, count in self._sums.values() for _ in total])
        both = sum_over_ranks(torch.stack([totals, weights]))
        names = [name for group in self._sums for name in group]
        self._sums.clear()
        sums: dict[str, tuple[float, float]] = {}
        for name, total, weight in zip(names, *both.tolist(), strict=True):
            before = sums.get(name, (0.0, 0.0))  # its other steps had other terms beside it
            sums[name] = (before[0] + total, before[1] + weight)
        return {name: total / weight for name, (total, weight) in sums.items()}

    def state_dict(self) -> list[Any]:
        """The sums since the last flush as plain data for a checkpoint: names, a row `(W, n)` of each rank, weights.

        Rows, not their sum: float32 sums that go on from a share of it would be rounded otherwise. One rank: `(n,)`.
        """
        self.commit()
        return [
            [list(names), gather_from_ranks(total).squeeze(0), count * num_ranks()]
            for names, (total, count) in self._sums.items()
        ]

    def load_state_dict(self, state: list[Any]) -> None:
        """Continue with these sums: each rank with its own, or a share of all if they are of other ranks.

        ValueError for anything else.
        """
        try:
            sums = {tuple(names): (_mine(total.float()), count / num_ranks()) for names, total, count in state}
        except (AttributeError, TypeError) as error:
            raise ValueError(f"no sums of terms: {error}") from error
        if any(total.shape != (len(names),) for names, (total, _) in sums.items()):
            raise ValueError("no sums of terms: names and values differ in number")
        self.pending, self._sums = [], sums


def _mine(total: Tensor) -> Tensor:
    """This rank's sums `(n,)`, of those of all ranks `(W, n)`, or of one `(n,)`."""
    rows, ranks = total[None] if total.ndim == 1 else total, Ranks()
    return rows[ranks.rank].clone() if len(rows) == ranks.size else rows.sum(0) / ranks.size
