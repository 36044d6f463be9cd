"""Images per second of the on-device data path against torchvision's transforms in a DataLoader; one JSON line.

CIFAR-like data (20,000 uint8 images, 32x32 RGB), batches of 128, random flips, floats in [-1, 1] out.
Both sides run in turns in one process; the medians are compared.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Iterator

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

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


def images_per_second(batches: Iterator, num_batches: int) -> float:
    start = time.perf_counter()
    for _ in range(num_batches):
        next(batches)
    return num_batches * BATCH_SIZE / (time.perf_counter() - start)


def endless(loader: Iterable) -> Iterator:
    while True:
        yield from loader


def torchvision_batches(images: Tensor, labels: Tensor, num_workers: int) -> Iterator:
    loader = DataLoader(
        PillowImages(images, labels),
        BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )
    return endless(loader)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the main process")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (20_000, 3, 32, 32), dtype=torch.uint8, generator=draw)
    labels = torch.randint(0, 10, (20_000,), generator=draw)
    ours = iter(TrainBatches(TensorSource(images, labels), batch_size=BATCH_SIZE, augmentations=[Flip()]))
    theirs = {workers: torchvision_batches(images, labels, workers) for workers in (0, 2)}

    speeds: dict[str, list[float]] = {"ours": [], "0": [], "2": []}
    images_per_second(ours, 50)
    for stream in theirs.values():
        images_per_second(stream, 20)
    for _ in range(arguments.rounds):
        speeds["ours"].append(images_per_second(ours, 500))
        for workers, stream in theirs.items():
            speeds[str(workers)].append(images_per_second(stream, 120))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    best = max("0", "2", key=medians.__getitem__)
    report = {
        "bench": "data",
        "images_per_second": round(medians["ours"]),
        "torchvision_images_per_second": round(medians[best]),
        "torchvision_workers": int(best),
        "ratio": round(medians["ours"] / medians[best], 1),
        "threads": arguments.threads,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
