"""Continue sequences of a data set: predictions.png and predictions.gif (or .mp4).

Examples:

  lightning-gen predict checkpoint=outputs/my_run
  lightning-gen predict checkpoint=PATH n=4 context=5 steps=30
"""

import torch

from lightning_gen.capabilities import Completes, Predicts
from lightning_gen.cli.checkpoint_options import (
    check_format,
    filled,
    first_images,
    load,
    output_folder,
    print_written,
)
from lightning_gen.cli.hydra_app import Job
from lightning_gen.errors import UserError
from lightning_gen.images import save_moving, save_png
from lightning_gen.randomness import preserved_rng, seed_all
from lightning_gen.sampling.continuation import moving_predictions, predictions
from lightning_gen.sampling.preparation import check_pictures
from lightning_gen.sampling.samples import check_finite
from lightning_gen.sampling.variety import Variety


def run(job: Job) -> None:
    """Write predictions.png, with a row for each of the first `n` sequences of a split, and a moving picture."""
    cfg = job.config
    path, model = load(cfg)
    check_pictures(model, path, sequences=True)
    check_format(cfg.format)
    if not isinstance(model, Predicts):
        fix = "`complete` goes on with images" if isinstance(model, Completes) else "conv_lstm, svg_lp and others do"
        raise UserError(f"checkpoint={path}: {type(model).__name__} predicts no frames; {fix}")
    Variety.of(cfg).use(model)
    frames = model.image_shape[0]
    context = model.context_frames if cfg.context is None else cfg.context
    if context > frames:
        raise UserError(f"context={context}: the sequences have {frames} frames; give at most {frames}")
    sequences, _ = first_images(cfg, path, model)
    steps = max(1, frames - context) if cfg.steps is None else cfg.steps
    out = output_folder(cfg.out, path)
    with filled(out) as folder, torch.no_grad(), preserved_rng():
        seed_all("predict", cfg.seed)
        picture = predictions(model, sequences, context, steps)
        check_finite(picture, model)
        save_png(picture, folder / "predictions.png")
        seed_all("predict", cfg.seed)
        save_moving(moving_predictions(model, sequences, context, steps), folder / "predictions", cfg.format)
    print_written(f"{steps} frames after {context} of {len(sequences)} sequences by {type(model).__name__}", out)
