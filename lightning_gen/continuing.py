"""How models go on from the first frames of a sequence, or the upper rows of an image: pictures, and two commands."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.capabilities import Completes
from lightning_gen.checkpoint_commands import (
    check_at_least,
    check_pictures,
    data_of,
    load,
    output_folder,
    print_written,
)
from lightning_gen.errors import UserError
from lightning_gen.images import beside, film, grid, moving_grid, save_gif, save_png
from lightning_gen.metrics.progress import drawing, progress
from lightning_gen.randomness import preserved_rng, seed_all

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

DRAWS = 4  # completions of each image
GREY = 0.0  # of what is not given


def observed(model: "ImageGenerator", images: Tensor) -> Tensor:
    """Images as the model sees them."""
    return model.observe(images) if hasattr(model, "observe") else images


def predictions(model: "ImageGenerator", sequences: Tensor, context: int, steps: int) -> Tensor:
    """A row for each of the sequences `(B, T, C, H, W)`: `context` frames, those that follow, the predicted ones."""
    given, truth = sequences[:, :context], sequences[:, context : context + steps]
    parts = [given, truth, model.predict(observed(model, given), steps)]
    return beside(film(part) for part in parts if part.shape[1])


def moving_predictions(model: "ImageGenerator", sequences: Tensor, context: int, steps: int) -> Tensor:
    """The frames `(T, C, H', W')` of the true sequences and, beside them, of the predicted ones."""
    given = observed(model, sequences[:, :context])
    predicted = torch.cat([given, model.predict(given, steps)], dim=1)
    last = sequences[:, -1:].expand(-1, max(0, context + steps - sequences.shape[1]), *sequences.shape[2:])
    truth = torch.cat([sequences[:, : context + steps], last], dim=1)  # stands still where it has ended
    return beside([moving_grid(truth), moving_grid(predicted)])


def completions(model: "ImageGenerator", images: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
    """A row for each image: itself, its first `rows` rows, and a few ways in which they may go on."""
    images = observed(model, images)
    given = images.clone()
    given[..., rows:, :] = GREY
    repeated = (None if each is None else each.repeat_interleave(DRAWS, 0) for each in (images, labels))
    drawn = model.complete(next(repeated), rows, next(repeated)).unflatten(0, (len(images), DRAWS))
    return grid(torch.cat([images[:, None], given[:, None], drawn], 1).flatten(0, 1), columns=2 + DRAWS)


def predict_command(cfg: DictConfig) -> None:
    """Write predictions.png, a row for each sequence of a split, and predictions.gif."""
    check_at_least(cfg, n=1, context=1, steps=1)
    path, model = load(cfg)
    check_pictures(model, path, sequences=True)
    if not hasattr(model, "predict"):
        mend = "`complete` goes on with images" if isinstance(model, Completes) else "conv_lstm, svg_lp and others do"
        raise UserError(f"checkpoint={path}: {type(model).__name__} predicts no frames; {mend}")
    sequences, _ = _first_images(cfg, path, model)
    frames = sequences.shape[1]
    context = getattr(model, "context_frames", frames // 2) if cfg.context is None else cfg.context
    if context > frames:
        raise UserError(f"context={context}: the sequences have {frames} frames; give at most {frames}")
    steps = max(1, frames - context) if cfg.steps is None else cfg.steps
    out = output_folder(cfg.out, path)
    with torch.no_grad(), preserved_rng():
        for name, picture, save in (
            ("predictions.png", predictions, save_png),
            ("predictions.gif", moving_predictions, save_gif),
        ):
            seed_all("predict", cfg.seed)
            save(picture(model, sequences, context, steps), out / name)
    print_written(f"{steps} frames after {context} of {len(sequences)} sequences by {type(model).__name__}", out)


def complete_command(cfg: DictConfig) -> None:
    """Write completions.png: a row for each image of a split with its upper rows and several ways to go on."""
    check_at_least(cfg, n=1, rows=0)
    path, model = load(cfg)
    check_pictures(model, path)
    if not isinstance(model, Completes):
        raise UserError(f"checkpoint={path}: {type(model).__name__} completes no images; pixel models and vrnn do")
    images, labels = _first_images(cfg, path, model)
    height = images.shape[-2]
    rows = height // 2 if cfg.rows is None else cfg.rows
    if rows >= height:
        raise UserError(f"rows={rows}: the images have {height} rows; give fewer")
    out = output_folder(cfg.out, path)
    with torch.no_grad(), preserved_rng():
        seed_all("complete", cfg.seed)
        drawn = DRAWS * len(images)
        with progress("completions", drawn) as advance, drawing(model, drawn, advance):
            picture = completions(model, images, rows, labels if model.num_classes else None)
        save_png(picture, out / "completions.png")
    print_written(f"{len(images)} images completed by {type(model).__name__}", out)


def _first_images(cfg: DictConfig, path: Path, model: "ImageGenerator") -> Batch:
    """The first `n` of a split of the data."""
    data = data_of(cfg, path, model)
    batches = list(data.batches(cfg.split, model.device, limit=cfg.n))
    labels = None if batches[0].labels is None else torch.cat([batch.labels for batch in batches])
    return Batch(torch.cat([batch.images for batch in batches]), labels)
