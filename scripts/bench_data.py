"""Images per second of the data path against DataLoaders: `python scripts/bench_data.py`; one JSON line.

CIFAR-like data (20,000 uint8 images, 32x32 RGB), batches of 128, random flips, floats in [-1, 1] out.

- `ours`: batches of the data module, gathered and augmented as tensors;
- `batched`: a DataLoader whose data set returns whole batches, as one would write it for speed;
- `torchvision`: a DataLoader of items, each a PIL image with torchvision's transforms, as in most tutorials; also with
  two workers, whose speed is by wall time. All others are by CPU time.

They take turns in one process; medians.

`--files 50000` measures instead the starts of a folder of so many PNGs, and of its shards (`large_data.py`).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import large_data
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from lightning_gen.data.augment import Flip
from lightning_gen.data.loader import TrainBatches
from lightning_gen.data.source import TensorSource

BATCH_SIZE = 128


class PillowImages(Dataset):
    """What torchvision's CIFAR10 does with an item: array to PIL image to transforms."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        from torchvision import transforms

        self.images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


class BatchedImages(Dataset):
    """The same batches, as one would write them for speed: one gather, one flip and one conversion a batch."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: list[int]) -> tuple[Tensor, Tensor]:
        images = self.images[index]
        flipped = torch.rand(len(images)) < 0.5
        images = torch.where(flipped[:, None, None, None], images.flip(3), images)
        return images.float() / 127.5 - 1, self.labels[index]


def images_per_second(batches: Iterator, num_batches: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(num_batches):
        next(batches)
    return num_batches * BATCH_SIZE / (clock() - start)


def endless(loader: Iterable) -> Iterator:
    while True:
        yield from loader


def item_wise(images: Tensor, labels: Tensor, num_workers: int) -> Iterator:
    loader = DataLoader(
        PillowImages(images, labels),
        BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )
    return endless(loader)


def batched(images: Tensor, labels: Tensor) -> Iterator:
    dataset = BatchedImages(images, labels)
    return endless(DataLoader(dataset, batch_size=None, sampler=BatchSampler(RandomSampler(dataset), BATCH_SIZE, True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the main process")
    parser.add_argument("--files", type=int, help="measure the starts of a folder of so many PNGs instead")
    parser.add_argument("--folder", type=Path, help="where these are, or are to be drawn")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.files:
        print(json.dumps(large_data.report(arguments.files, arguments.folder)))
        return

    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20_000, 3, 32, 32), dtype=torch.uint8, generator=draw)
    labels = torch.randint(0, 10, (20_000,), generator=draw)
    calls = TrainBatches(TensorSource(images, labels), batch_size=BATCH_SIZE, augmentations=[Flip()])
    ours = (batch for call in calls for batch in call)  # a batch is made when it is asked for
    streams = {  # batches, how many to time, the clock
        "ours": (ours, 500, time.process_time),
        "batched": (batched(images, labels), 500, time.process_time),
        "torchvision": (item_wise(images, labels, 0), 60, time.process_time),
        "torchvision_2_workers": (item_wise(images, labels, 2), 120, time.perf_counter),
    }
    speeds: dict[str, list[float]] = {name: [] for name in streams}
    for number in range(arguments.rounds + 1):
        for name, (stream, num_batches, clock) in streams.items():
            speed = images_per_second(stream, num_batches if number else 20, clock)
            if number:  # the first round is a warm-up
                speeds[name].append(speed)
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    report: dict[str, object] = {"bench": "data", "threads": arguments.threads, "rounds": arguments.rounds}
    report |= {f"{name}_images_per_second": round(value) for name, value in medians.items()}
    rivals = (name for name in streams if name != "ours")
    report |= {f"ours_over_{name}": round(medians["ours"] / medians[name], 1) for name in rivals}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
