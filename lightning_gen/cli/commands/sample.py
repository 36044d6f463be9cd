"""Generate images from a checkpoint.

Examples:

  lightning-gen sample checkpoint=outputs/my_run
  lightning-gen sample checkpoint=outputs/my_run/checkpoints/last.ckpt
  lightning-gen sample checkpoint=PATH seed=1
  lightning-gen sample checkpoint=PATH label=[3,7] n=32
  lightning-gen sample checkpoint=PATH label=faces scale=4
  lightning-gen sample checkpoint=PATH truncation=0.7
  lightning-gen sample checkpoint=PATH temperature=0.8
  lightning-gen sample checkpoint=PATH prior=gmm
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig
from torch import Tensor

from lightning_gen.capabilities import HasLatent
from lightning_gen.cli.checkpoint_options import (
    check_format,
    chosen_classes,
    filled,
    load,
    output_folder,
    print_classes,
    print_written,
)
from lightning_gen.cli.fitted_prior import use_prior
from lightning_gen.cli.hydra_app import Job
from lightning_gen.images import enlarged, film, save_moving, save_png
from lightning_gen.randomness import preserved_rng
from lightning_gen.sampling.captions import class_caption, class_grid, row_captions
from lightning_gen.sampling.latent_space import space_of, walk
from lightning_gen.sampling.preparation import check_pictures
from lightning_gen.sampling.samples import check_finite, rows_of, samples, spread_labels
from lightning_gen.sampling.variety import Variety
from lightning_gen.utilities.progress import progress

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

MAX_FILMS = 16  # sequences in film.png, frame by frame
# the interpolation
PATHS = 16  # side by side
STOPS = 4  # latents that each path passes
STEPS = 12  # frames from one latent to the next


def run(job: Job) -> None:
    """Write `n` samples as PNG files, a grid of them and, for a model with latents, a moving picture of a latent walk.

    Sequences are written as moving pictures, and the first of them frame by frame as well.
    """
    cfg = job.config
    path, model = load(cfg)
    check_pictures(model, path, sequences=True)
    check_format(cfg.format)
    Variety.of(cfg).use(model)
    use_prior(cfg, path, model)
    classes = chosen_classes(cfg.label, model.num_classes, model.class_names)
    labels = spread_labels(classes, cfg.n)
    out = output_folder(cfg.out, path)
    with filled(out) as folder, torch.no_grad(), preserved_rng():
        _write_images(model, cfg, labels, folder)
        if cfg.interpolation and isinstance(model, HasLatent) and len(model.image_shape) == 3:
            space, of_paths = space_of(model, "auto", path), spread_labels(classes, PATHS)
            frames = list(walk(space, PATHS, of_paths, stops=STOPS, steps=STEPS, seed=cfg.seed))
            check_finite(torch.stack(frames), model)
            paths = enlarged(torch.stack(frames, 1), cfg.scale)
            moving = class_grid(paths, of_paths, None, model.class_names)
            save_moving(moving, folder / "interpolation", cfg.format)
    print_classes(model, labels if labels is None else labels.unique_consecutive())
    print_written(f"{cfg.n} images of {type(model).__name__}", out)


def _write_images(model: "ImageGenerator", cfg: DictConfig, labels: Tensor | None, out: Path) -> None:
    (out / "images").mkdir(parents=True)
    shown, columns = rows_of(labels, cfg.n)
    wanted = set(shown)
    kept: dict[int, Tensor] = {}
    with progress("samples", cfg.n) as advance:
        for number, image in samples(model, cfg.n, labels, cfg.seed, cfg.batch_size, advance):
            _write_image(enlarged(image, cfg.scale), out / "images" / f"{number:06}", cfg.format)
            if number in wanted:
                kept[number] = image
    images = enlarged(torch.stack([kept[number] for number in shown]), cfg.scale)
    classes = None if labels is None else labels[shown]
    picture = class_grid(images, classes, columns, model.class_names)
    if images.ndim == 4:
        save_png(picture, out / "grid.png")
        return
    save_moving(picture, out / "grid", cfg.format)
    rows = film(images[:MAX_FILMS])
    if classes is not None:
        rows = row_captions(rows, [class_caption(label, model.class_names) for label in classes[:MAX_FILMS].tolist()])
    save_png(rows, out / "film.png")


def _write_image(image: Tensor, path: Path, format: str) -> None:
    """A PNG of an image `(C, H, W)`, a moving picture of a sequence `(T, C, H, W)`."""
    if image.ndim == 3:
        save_png(image, path.with_suffix(".png"))
    else:
        save_moving(image, path, format)
