"""Means of what steps compute, kept on the device and read with one transfer."""

import torch
from torch import Tensor


class RunningMeans:
    """Sums named scalars step after step without a device sync; `flush` reads all of them at once.

    Terms that not every step has (a penalty applied every 16 steps, say) are averaged over the steps that had them.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], tuple[Tensor, float]] = {}

    def add(self, terms: dict[str, Tensor], weight: float = 1.0) -> None:
        """Add one step's terms, scalars of any floating dtype on one device, counted `weight` times."""
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

    def flush(self) -> dict[str, float]:
        """Weighted means since the last flush; under data parallelism, over all ranks."""
        if not self._sums:
            return {}
        totals = torch.cat([total for total, _ in self._sums.values()])
        weights = totals.new_tensor([count for total, count in self._sums.values() for _ in total])
        both = torch.stack([totals, weights])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(both)
        names = [name for group in self._sums for name in group]
        self._sums.clear()
        sums: dict[str, tuple[float, float]] = {}
        for name, total, weight in zip(names, *both.tolist(), strict=True):
            before = sums.get(name, (0.0, 0.0))  # a term of steps that had unlike others
            sums[name] = (before[0] + total, before[1] + weight)
        return {name: total / weight for name, (total, weight) in sums.items()}
