"""Complete images of a data set from their upper rows: completions.png.

Examples:

  lightning-gen complete checkpoint=outputs/my_run
  lightning-gen complete checkpoint=PATH n=4 rows=10
  lightning-gen complete checkpoint=PATH temperature=0.7
  lightning-gen complete checkpoint=PATH label=faces
"""

import torch

from lightning_gen.capabilities import Completes
from lightning_gen.cli.checkpoint_options import (
    filled,
    first_images,
    load,
    output_folder,
    print_written,
)
from lightning_gen.cli.hydra_app import Job
from lightning_gen.errors import UserError
from lightning_gen.images import save_png
from lightning_gen.randomness import preserved_rng, seed_all
from lightning_gen.sampling.continuation import DRAWS, completions
from lightning_gen.sampling.preparation import check_pictures
from lightning_gen.sampling.samples import check_finite
from lightning_gen.sampling.variety import Variety
from lightning_gen.utilities.progress import progress, sampling_progress


def run(job: Job) -> None:
    """Write completions.png: a row for each image of a split, with its given upper rows and several completions."""
    cfg = job.config
    path, model = load(cfg)
    check_pictures(model, path)
    if not isinstance(model, Completes):
        raise UserError(f"checkpoint={path}: {type(model).__name__} completes no images; pixel models and vrnn do")
    Variety.of(cfg).use(model)
    height = model.image_shape[-2]
    rows = height // 2 if cfg.rows is None else cfg.rows
    if rows >= height:
        raise UserError(f"rows={rows}: the images have {height} rows; give fewer")
    images, labels = first_images(cfg, path, model)
    out = output_folder(cfg.out, path)
    with filled(out) as folder, torch.no_grad(), preserved_rng():
        seed_all("complete", cfg.seed)
        total = DRAWS * len(images)
        with progress("completions", total) as advance, sampling_progress(model, total, advance):
            picture = completions(model, images, rows, labels if model.num_classes else None)
        check_finite(picture, model)
        save_png(picture, folder / "completions.png")
    print_written(f"{len(images)} images completed by {type(model).__name__}", out)
