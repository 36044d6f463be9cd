"""Running means of logged scalars, kept on the device and read with one transfer."""

import torch
from torch import Tensor

from lightning_gen.utilities.ranks import sum_over_ranks


class RunningMeans:
    """Sums of named scalars over steps, without a device sync; `flush` reads all of them at once.

    A term that is missing in some steps (a penalty applied every 16 steps) is averaged over the steps that have it.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], tuple[Tensor, float]] = {}

    def add(self, terms: dict[str, Tensor], weight: float = 1.0) -> None:
        """Add one step's terms, scalars of any floating dtype on one device, with this weight."""
        with torch.no_grad():
            values = torch.stack(list(terms.values())).float()
        if weight != 1.0:
            values *= weight
        names = tuple(terms)
        if names in self._sums:
            total, count = self._sums[names]
            self._sums[names] = (total.add_(values), count + weight)
        else:
            self._sums[names] = (values, weight)

    def peek(self) -> dict[str, Tensor]:
        """Means of this rank since the last flush, on the device."""
        return {
            name: mean
            for names, (total, count) in self._sums.items()
            for name, mean in zip(names, total / count, strict=True)
        }

    def flush(self) -> dict[str, float]:
        """Weighted means since the last flush; under data parallelism, over all ranks."""
        if not self._sums:
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
