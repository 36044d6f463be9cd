"""Short trainings of a small VAE, and what they leave in their folders."""

import csv
from pathlib import Path
from typing import Any

import torch

from lightning_gen.config.composition import compose
from lightning_gen.training.run import train

TINY_RUN = [
    *("data=fake", "data.image_shape=[1,12,12]", "data.num_images=64", "data.batch_size=8", "debug=smoke"),
    *("model.encoder.width=8", "model.decoder.width=8", "model.encoder.hidden=16", "model.decoder.hidden=16"),
    *("trainer.max_images=64", "trainer.validate_every_images=32", "callbacks.last.every_images=32", "metrics=[]"),
    *("evaluation.num_samples=32", "evaluation.num_real=32"),
    "model.schedule.warmup_images=10_000",  # the same in runs of any length
    *("callbacks.sample_grid.n=4", "callbacks.reconstructions.n=4", "callbacks.log_terms.every_steps=2"),
]


def run(folder: Path, *overrides: str, images: int = 64) -> Path:
    """Train a tiny VAE in this process."""
    return train_with(folder, *TINY_RUN, f"trainer.max_images={images}", *overrides)


def resume(folder: Path, *overrides: str) -> Path:
    return train_with(folder, "resume=true", *overrides)


def train_with(folder: Path, *overrides: str) -> Path:
    arguments = [f"run_dir={folder}", *overrides]
    train(compose(arguments), arguments)
    return folder


def saved(folder: Path, name: str = "last") -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def same_weights(one: Path, other: Path) -> bool:
    first, second = saved(one)["state_dict"], saved(other)["state_dict"]
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def rows(folder: Path) -> list[dict[str, str]]:
    """Those of metrics.csv."""
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))
