"""The `sample` command: a checkpoint to image files, a grid, and an interpolation; no data set is needed."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig, ListConfig
from torch import Tensor

from lightning_gen.capabilities import HasLatent
from lightning_gen.checkpoint_commands import load, run_folder
from lightning_gen.errors import UserError
from lightning_gen.images import MODES, grid, save_gif, save_png, to_uint8
from lightning_gen.metrics.progress import progress
from lightning_gen.randomness import preserved_rng, seed_all

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

LARGEST_GRID = 256  # images
LOOPS = 16  # paths shown side by side in the interpolation
STOPS = 4  # latents that each path passes
STEPS = 12  # frames from one to the next


def sample_command(cfg: DictConfig) -> None:
    """Write `n` samples as PNG files, a grid of them, and a GIF that walks through the latent space if there is one."""
    for key in ("n", "batch_size"):
        if cfg[key] < 1:
            raise UserError(f"{key}={cfg[key]}: give at least 1")
    path, model = load(cfg)
    if model.image_shape[0] not in MODES:
        raise UserError(f"checkpoint={path}: image files have 1, 3 or 4 channels, this model {model.image_shape[0]}")
    classes = chosen_labels(cfg.label, model.num_classes)
    labels = spread(classes, cfg.n)
    out = _empty_folder(cfg.out, path)
    with torch.no_grad(), preserved_rng():
        _write_images(model, cfg, labels, out)
        if cfg.interpolation and isinstance(model, HasLatent):
            frames = interpolation(model, cfg.seed, spread(classes, LOOPS))
            save_gif(frames, out / "interpolation.gif")
    written = sorted(file.name + "/" * file.is_dir() for file in out.iterdir())
    print(f"{cfg.n} images of {type(model).__name__} written to {out} ({', '.join(written)})")


def chosen_labels(label: int | list[int] | None, num_classes: int | None) -> list[int] | None:
    """The classes to draw: those given, else all; None for an unconditional model. UserError for one there is not."""
    if num_classes is None:
        if label is not None:
            raise UserError(f"label={label}: this model is unconditional, leave out label")
        return None
    if label is None:
        return list(range(num_classes))
    labels = list(dict.fromkeys(label)) if isinstance(label, list | ListConfig) else [label]
    for each in labels:
        if not (isinstance(each, int) and 0 <= each < num_classes):
            raise UserError(f"label={each}: this model has the classes 0 to {num_classes - 1}")
    if not labels:
        raise UserError("label=[]: name at least one class")
    return labels


def spread(classes: list[int] | None, n: int) -> Tensor | None:
    """`n` labels, class by class, in shares that differ by one at most; with fewer than classes, the first `n`."""
    if classes is None:
        return None
    count = min(n, len(classes))
    return torch.tensor(classes[:count])[torch.arange(n) * count // n]


def samples(
    model: "ImageGenerator", n: int, labels: Tensor | None, seed: int, batch_size: int
) -> Iterator[tuple[int, Tensor]]:
    """Yield uint8 images one by one with their number; each batch is seeded from (`seed`, the batch's number)."""
    for start in range(0, n, batch_size):
        size = min(batch_size, n - start)
        seed_all("sample", seed, start // batch_size)
        given = None if labels is None else labels[start : start + size].to(model.device)
        images = to_uint8(model.sample(size, given)).cpu()
        yield from enumerate(images, start)


def rows_of(labels: Tensor | None, n: int) -> tuple[list[int], int | None]:
    """Which of `n` images the grid shows, in order, and its number of columns: one row for each label."""
    if labels is None:
        return list(range(min(n, LARGEST_GRID))), None
    numbers = torch.arange(n)
    rows = [numbers[labels == label].tolist() for label in labels.unique_consecutive()][:LARGEST_GRID]
    columns = max(1, min(*map(len, rows), LARGEST_GRID // len(rows), 16) if len(rows) > 1 else min(len(rows[0]), 16))
    return [number for row in rows for number in row[:columns]], columns


def _write_images(model: "ImageGenerator", cfg: DictConfig, labels: Tensor | None, out: Path) -> None:
    (out / "images").mkdir(parents=True)
    shown, columns = rows_of(labels, cfg.n)
    kept = dict.fromkeys(shown)
    with progress("samples", cfg.n) as advance:
        for number, image in samples(model, cfg.n, labels, cfg.seed, cfg.batch_size):
            save_png(image, out / "images" / f"{number:06}.png")
            if number in kept:
                kept[number] = image
            advance(1)
    save_png(grid(torch.stack(list(kept.values())), columns), out / "grid.png")


def interpolation(model: HasLatent, seed: int, labels: Tensor | None) -> Iterator[Tensor]:
    """Yield the frames of a loop, each a grid of `LOOPS` images that walk from latent to latent on their own paths."""
    seed_all("interpolation", seed)
    stops = model.latent(LOOPS * STOPS).unflatten(0, (STOPS, LOOPS))
    labels = None if labels is None else labels.to(stops.device)
    for start, end in zip(stops, stops.roll(-1, 0), strict=True):
        for step in range(STEPS):
            seed_all("interpolation", seed, "noise")  # what else a decoder draws stays still
            yield grid(to_uint8(model.decode(slerp(start, end, step / STEPS), labels)).cpu())


def slerp(start: Tensor, end: Tensor, fraction: float) -> Tensor:
    """Spherical interpolation of latents `(B, d)`, https://arxiv.org/abs/1609.04468, section 2.1.

    Normal latents lie near a sphere: a straight line would cross its empty inside. Lengths go linearly.
    """
    lengths = start.norm(dim=1, keepdim=True), end.norm(dim=1, keepdim=True)
    a, b = (latent / length.clamp(min=1e-12) for latent, length in zip((start, end), lengths, strict=True))
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos()
    # parallel latents have no arc: the line is it
    on_arc = (((1 - fraction) * angle).sin() * a + (fraction * angle).sin() * b) / angle.sin()
    direction = torch.where(angle.sin() > 1e-4, on_arc, torch.lerp(a, b, fraction))
    return direction * torch.lerp(*lengths, fraction)


def _empty_folder(out: str | None, checkpoint: Path) -> Path:
    if out is None:
        folder = run_folder(checkpoint) / "generated" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    else:
        folder = Path(out).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"out={folder}: is there already and not an empty folder, name another one")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out={folder}: {error.strerror}; name a folder that can be written") from None
    return folder
