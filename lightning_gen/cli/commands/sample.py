"""Generate images from a checkpoint.

Examples:

  lightning-gen sample checkpoint=outputs/my_run
  lightning-gen sample checkpoint=outputs/my_run/checkpoints/last.ckpt
  lightning-gen sample checkpoint=PATH seed=1
  lightning-gen sample checkpoint=PATH label=[3,7] n=32
  lightning-gen sample checkpoint=PATH truncation=0.7
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig
from torch import Tensor

from lightning_gen.capabilities import HasLatent, Truncates
from lightning_gen.cli.checkpoint_options import (
    check_pictures,
    chosen_classes,
    filled,
    load,
    output_folder,
    print_classes,
    print_written,
    spread_labels,
)
from lightning_gen.cli.hydra_app import Job
from lightning_gen.errors import UserError
from lightning_gen.images import film, grid, moving_grid, save_gif, save_png
from lightning_gen.randomness import preserved_rng
from lightning_gen.sampling.latent_space import space_of, walk
from lightning_gen.sampling.samples import check_finite, rows_of, samples
from lightning_gen.utilities.progress import progress

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

MAX_FILMS = 16  # sequences in film.png, frame by frame
# interpolation.gif
PATHS = 16  # side by side
STOPS = 4  # latents that each path passes
STEPS = 12  # frames from one latent to the next


def run(job: Job) -> None:
    """Write `n` samples as PNG files, a grid of them and, for a model with latents, a GIF of a latent walk.

    Sequences are written as GIFs, and the first of them frame by frame as well.
    """
    cfg = job.config
    path, model = load(cfg)
    check_pictures(model, path, sequences=True)
    _truncate(model, cfg.truncation)
    classes = chosen_classes(cfg.label, model.num_classes, model.class_names)
    labels = spread_labels(classes, cfg.n)
    out = output_folder(cfg.out, path)
    with filled(out) as folder, torch.no_grad(), preserved_rng():
        _write_images(model, cfg, labels, folder)
        if cfg.interpolation and isinstance(model, HasLatent) and len(model.image_shape) == 3:
            space = space_of(model, "auto", path)
            frames = list(walk(space, PATHS, spread_labels(classes, PATHS), stops=STOPS, steps=STEPS, seed=cfg.seed))
            check_finite(torch.stack(frames), model)
            save_gif(map(grid, frames), folder / "interpolation.gif")
    print_classes(model, labels if labels is None else labels.unique_consecutive())
    print_written(f"{cfg.n} images of {type(model).__name__}", out)


def _truncate(model: "ImageGenerator", truncation: float | None) -> None:
    if truncation is None:
        return
    if not isinstance(model, Truncates):
        raise UserError(f"truncation={truncation}: {type(model).__name__} does not truncate, leave out truncation")
    model.truncation = float(truncation)


def _write_images(model: "ImageGenerator", cfg: DictConfig, labels: Tensor | None, out: Path) -> None:
    (out / "images").mkdir(parents=True)
    shown, columns = rows_of(labels, cfg.n)
    wanted = set(shown)
    kept: dict[int, Tensor] = {}
    with progress("samples", cfg.n) as advance:
        for number, image in samples(model, cfg.n, labels, cfg.seed, cfg.batch_size, advance):
            _write_image(image, out / "images" / f"{number:06}")
            if number in wanted:
                kept[number] = image
    images = torch.stack([kept[number] for number in shown])
    if images.ndim == 5:
        save_png(film(images[:MAX_FILMS]), out / "film.png")
        save_gif(moving_grid(images, columns), out / "grid.gif")
    else:
        save_png(grid(images, columns), out / "grid.png")


def _write_image(image: Tensor, path: Path) -> None:
    """A PNG of an image `(C, H, W)`, a GIF of a sequence `(T, C, H, W)`."""
    if image.ndim == 3:
        save_png(image, path.with_suffix(".png"))
    else:
        save_gif(image, path.with_suffix(".gif"))
