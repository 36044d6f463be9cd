"""Moving MNIST as published, https://arxiv.org/abs/1502.04681: 10,000 sequences of two bouncing digits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import StreamSource
from lightning_gen.data.splitting import check_fractions, split_indices
from lightning_gen.errors import UserError

URL = "http://www.cs.toronto.edu/~nitish/unsupervised_video/mnist_test_seq.npy"
FRAMES, SIDE = 20, 64


@dataclass(kw_only=True, eq=False, repr=False)
class MovingMNIST(ImageData):
    """Sequences `(20, 1, 64, 64)` of the file mnist_test_seq.npy at `path`, divided by `split`.

    The file is the benchmark's test set: `split=[0,0,1]` keeps all of it for scoring.
    """

    name = "moving_mnist"

    path: str
    split: list[float]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fractions(self.split)

    def load(self) -> Mapping[str, StreamSource]:
        file = Path(self.path).expanduser()
        fractions = dict(zip(("val", "test"), self.split[1:], strict=True))
        parts = split_indices(self._count(file), fractions, self.seed)
        return {split: StreamSource(Sequences(file, part), None, self.workers()) for split, part in parts.items()}

    def _count(self, file: Path) -> int:
        """The number of sequences; UserError unless the file has the published format."""
        fix = f"give the file mnist_test_seq.npy ({URL})"
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise UserError(f"data.path={self.path} does not exist: {fix}") from error
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"data.path={self.path} cannot be read as a NumPy array: {fix}") from error
        if not isinstance(array, np.ndarray):
            raise UserError(f"data.path={self.path} holds several arrays: {fix}")
        frames, count, *sides = array.shape if array.ndim == 4 else (0, 0)
        if (frames, *sides, array.dtype) != (FRAMES, SIDE, SIDE, np.uint8) or not count:
            shape = "x".join(map(str, array.shape))
            raise UserError(f"data.path={self.path} holds {shape} {array.dtype}, not 20x10000x64x64 uint8: {fix}")
        return count


class Sequences:
    """The sequences of the file with these indices, as a map-style data set."""

    image_shape = (FRAMES, 1, SIDE, SIDE)

    def __init__(self, file: Path, numbers: Tensor) -> None:
        self.file = file
        self.numbers = numbers.tolist()

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Tensor:
        # Opened at each access, which is cheap: a mapped array would be copied to worker processes in full.
        frames = np.load(self.file, mmap_mode="r", allow_pickle=False)[:, self.numbers[index]]
        return torch.from_numpy(np.array(frames)).unsqueeze(1)
