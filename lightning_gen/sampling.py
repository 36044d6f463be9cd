"""The `sample` command: a checkpoint to image files or GIFs, a grid, and an interpolation; no data set is needed."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig
from torch import Tensor

from lightning_gen.capabilities import HasLatent
from lightning_gen.checkpoint_commands import (
    check_at_least,
    check_pictures,
    chosen_labels,
    load,
    output_folder,
    print_written,
    spread,
)
from lightning_gen.errors import UserError
from lightning_gen.images import film, grid, moving_grid, save_gif, save_png, to_uint8
from lightning_gen.latent_space import space_of, walk
from lightning_gen.metrics.progress import Advance, drawing, progress, silent
from lightning_gen.randomness import preserved_rng, seed_all

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

LARGEST_GRID = 256  # images
MOST_FILMS = 16  # sequences laid out frame by frame
MOST_ROWS = 32  # classes under each other before they stand side by side too
LOOPS = 16  # paths shown side by side in the interpolation
STOPS = 4  # latents that each path passes
STEPS = 12  # frames from one to the next


def sample_command(cfg: DictConfig) -> None:
    """Write `n` samples as PNG files, a grid of them, and a GIF that walks through the latent space if there is one.

    Sequences become GIFs, and a few of them a film as well.
    """
    check_at_least(cfg, n=1, batch_size=1)
    path, model = load(cfg)
    check_pictures(model, path, sequences=True)
    _truncate(model, cfg.truncation)
    classes = chosen_labels(cfg.label, model.num_classes)
    labels = spread(classes, cfg.n)
    out = output_folder(cfg.out, path)
    with torch.no_grad(), preserved_rng():
        _write_images(model, cfg, labels, out)
        if cfg.interpolation and isinstance(model, HasLatent) and len(model.image_shape) == 3:
            space, path_labels = space_of(model, "auto", path), spread(classes, LOOPS)
            frames = walk(space, LOOPS, path_labels, stops=STOPS, steps=STEPS, seed=cfg.seed)
            save_gif(map(grid, frames), out / "interpolation.gif")
    print_written(f"{cfg.n} images of {type(model).__name__}", out)


def _truncate(model: "ImageGenerator", truncation: float | None) -> None:
    if truncation is None:
        return
    if isinstance(truncation, bool) or not isinstance(truncation, int | float) or not truncation > 0:
        raise UserError(f"truncation={truncation}: give a number above 0, or null for none")
    if not hasattr(model, "truncation"):
        raise UserError(f"truncation={truncation}: {type(model).__name__} does not truncate, leave out truncation")
    model.truncation = float(truncation)


def samples(
    model: "ImageGenerator",
    n: int,
    labels: Tensor | None,
    seed: int,
    batch_size: int,
    advance: Advance = silent,
) -> Iterator[tuple[int, Tensor]]:
    """Yield uint8 images one by one with their number; each batch is seeded from (`seed`, the batch's number)."""
    for start in range(0, n, batch_size):
        size = min(batch_size, n - start)
        seed_all("sample", seed, start // batch_size)
        given = None if labels is None else labels[start : start + size].to(model.device)
        with drawing(model, size, advance):
            images = to_uint8(model.sample(size, given)).cpu()
        yield from enumerate(images, start)


def rows_of(labels: Tensor | None, n: int) -> tuple[list[int], int | None]:
    """Which of `n` images the grid shows, in order, and its number of columns (None: square).

    Each class has a row. Where there are many classes, or one image of each, several share a row.
    """
    classes = [] if labels is None else labels.unique_consecutive()[:LARGEST_GRID].tolist()
    if len(classes) < 2:
        return list(range(min(n, LARGEST_GRID))), None
    numbers = torch.arange(n)
    rows = [numbers[labels == label].tolist() for label in classes]
    share = max(1, min(*map(len, rows), LARGEST_GRID // len(rows), 16))
    shown = [number for row in rows for number in row[:share]]
    if share == 1 and len(rows) <= 16:
        return shown, len(rows)
    if share > 1 and len(rows) <= MOST_ROWS:
        return shown, share
    return shown, share * math.ceil(math.sqrt(len(rows) / share))


def _write_images(model: "ImageGenerator", cfg: DictConfig, labels: Tensor | None, out: Path) -> None:
    (out / "images").mkdir(parents=True)
    shown, columns = rows_of(labels, cfg.n)
    kept = dict.fromkeys(shown)
    with progress("samples", cfg.n) as advance:
        for number, image in samples(model, cfg.n, labels, cfg.seed, cfg.batch_size, advance):
            name = out / "images" / f"{number:06}"
            save_png(image, f"{name}.png") if image.ndim == 3 else save_gif(image, f"{name}.gif")
            if number in kept:
                kept[number] = image
    drawn = torch.stack(list(kept.values()))
    if drawn.ndim == 5:
        save_png(film(drawn[:MOST_FILMS]), out / "film.png")
        save_gif(moving_grid(drawn, columns), out / "grid.gif")
    else:
        save_png(grid(drawn, columns), out / "grid.png")
