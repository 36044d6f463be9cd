"""Numbers that change between training steps, as tensors.

A Python number that a kernel gets is a constant of a captured step, the same at each replay; a tensor is read.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class ScheduledScalars:
    """Tensors of zero dimensions by name, each with the function of its current value."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[Callable[[], float], ScheduledScalar]] = {}

    def __call__(self, name: str, value: Callable[[], float], device: torch.device) -> Tensor:
        """The tensor called `name`, float32 on `device`, with the current `value()`."""
        known = self._entries.get(name)
        scalar = known[1] if known and known[1].tensor.device == device else ScheduledScalar(device)
        self._entries[name] = value, scalar
        return scalar.set(value())

    def refresh(self) -> None:
        """Write the current values, before a step that may not run Python."""
        for value, scalar in self._entries.values():
            scalar.set(value())


class ScheduledScalar:
    """A float32 tensor of zero dimensions on `device`, written only when its value changes.

    So the tensor can be saved for a backward pass, and within a step, whose numbers are constant, nothing is written.
    """

    def __init__(self, device: torch.device) -> None:
        self.tensor = torch.zeros((), device=device)
        self._value = 0.0

    @torch.no_grad()
    def set(self, value: float) -> Tensor:
        """The tensor, with this value."""
        if value != self._value:
            self.tensor.fill_(value)
            self._value = value
        return self.tensor
