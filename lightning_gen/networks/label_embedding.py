"""Class labels as vectors that condition a network."""

from typing import Any

from torch import Tensor, nn


class Unconditional(nn.Module):
    """Stands for the embedding where there are no classes: no condition."""

    def forward(self, labels: Tensor | None) -> None:
        return None


def label_embedding(num_classes: int | None, dim: int) -> nn.Module:
    """Maps labels `(B,)` to conditions `(B, dim)`; without classes, to None."""
    return nn.Embedding(num_classes, dim) if num_classes else Unconditional()


def conditioned(network: nn.Module, inputs: Tensor, condition: Tensor | None) -> Any:
    """Output of the network, which takes a second argument only where the model is conditional."""
    return network(inputs) if condition is None else network(inputs, condition)
