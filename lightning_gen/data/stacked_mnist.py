"""Stacked MNIST, 1,000 countable modes: three random digits as RGB, https://arxiv.org/abs/1611.02163, 3.3.1."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.data.mnist5k import Digits, MNIST5k
from lightning_gen.data.source import TensorSource
from lightning_gen.randomness import generator

NUM_VAL = 5_000


@dataclass(kw_only=True, eq=False, repr=False)
class StackedMNIST(MNIST5k):
    """28x28 RGB images of the digits a, b, c of class 100 a + 10 b + c, drawn with replacement from mnist5k.

    No digit is in two splits; `seed` determines the splits and the combinations.
    """

    name = "stacked_mnist"

    num_images: PositiveInt
    num_test: PositiveInt

    def load(self) -> Mapping[str, TensorSource]:
        sizes = {"train": self.num_images, "val": NUM_VAL, "test": self.num_test}
        sources = {split: self._stacked(split, digits, sizes[split]) for split, digits in self.digits().items()}
        self.class_names = [f"{number:03}" for number in range(1000)]
        return sources

    def _stacked(self, split: str, digits: Digits, size: int) -> TensorSource:
        draw = generator("stacked_mnist", self.seed, split)
        members = torch.randint(len(digits.labels), (size, 3), generator=draw)
        labels = digits.labels[members] @ torch.tensor([100, 10, 1])
        return TensorSource(StackedDigits(digits.images, members), labels)


class StackedDigits:
    """Images that behave as a uint8 tensor `(N, 3, H, W)` and take the memory of their digits: an `ImageTensor`.

    `digits` is `(D, 1, H, W)`; `members` `(N, 3)` holds the indices of each image's digits.
    """

    def __init__(self, digits: Tensor, members: Tensor) -> None:
        self.digits = digits
        self.members = members
        self.shape = torch.Size([*members.shape, *digits.shape[2:]])
        self.device = digits.device
        self.nbytes = digits.nbytes + members.nbytes

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> Tensor:
        return self.digits[self.members[index], 0]

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Images `(B, 3, H, W)`; `dim` is 0."""
        members = self.members.index_select(0, index)
        return self.digits.index_select(0, members.flatten()).view(len(index), *self.shape[1:])

    def to(self, device: torch.device) -> "StackedDigits":
        """The same on a device."""
        return StackedDigits(self.digits.to(device), self.members.to(device))
