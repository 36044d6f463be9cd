"""Interpolate between latents of a checkpoint: interpolation.gif (or .mp4) and strip.png.

Examples:

  lightning-gen interpolate checkpoint=outputs/my_run
  lightning-gen interpolate checkpoint=PATH n=4 stops=8 steps=24 seed=1
  lightning-gen interpolate checkpoint=PATH label=[faces,fish] scale=4 format=mp4
"""

import torch

from lightning_gen.cli.checkpoint_options import (
    check_format,
    chosen_classes,
    filled,
    load,
    output_folder,
    print_classes,
    print_written,
)
from lightning_gen.cli.hydra_app import Job
from lightning_gen.images import enlarged, grid, save_moving, save_png
from lightning_gen.randomness import preserved_rng
from lightning_gen.sampling.captions import class_caption, class_grid, row_captions
from lightning_gen.sampling.latent_space import space_of, walk
from lightning_gen.sampling.preparation import check_pictures
from lightning_gen.sampling.samples import check_finite, spread_labels

STRIP_LENGTH = 16  # frames in a row of the strip, or the number of stops if that is larger


def run(job: Job) -> None:
    """Write the moving picture of all paths side by side, and strip.png, with a row for each path."""
    cfg = job.config
    path, model = load(cfg)
    check_pictures(model, path)
    check_format(cfg.format)
    space = space_of(model, cfg.space, path)
    labels = spread_labels(chosen_classes(cfg.label, model.num_classes, model.class_names), cfg.n)
    out = output_folder(cfg.out, path)
    with filled(out) as folder, torch.no_grad(), preserved_rng():
        frames = list(walk(space, cfg.n, labels, stops=cfg.stops, steps=cfg.steps, seed=cfg.seed))
        check_finite(torch.stack(frames), model)
        paths = enlarged(torch.stack(frames, 1), cfg.scale)  # (n, T, C, H, W)
        save_moving(class_grid(paths, labels, None, model.class_names), folder / "interpolation", cfg.format)
        shown = paths[:, :: strip_stride(cfg.stops, cfg.steps)]
        strip = grid(shown.flatten(0, 1), columns=shown.shape[1])
        if labels is not None:
            strip = row_captions(strip, [class_caption(label, model.class_names) for label in labels.tolist()])
        save_png(strip, folder / "strip.png")
    print_classes(model, labels)
    print_written(f"{cfg.n} paths in {space.name} of {type(model).__name__}", out)


def strip_stride(stops: int, steps: int) -> int:
    """The stride of the strip's frames: the smallest divisor of `steps`, so that each stop is shown, that is enough."""
    limit = max(1, STRIP_LENGTH // stops)  # shown frames from one stop to the next
    return next(stride for stride in range(1, steps + 1) if steps % stride == 0 and steps // stride <= limit)
