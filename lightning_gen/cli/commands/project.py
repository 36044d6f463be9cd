"""Find the latents of images by gradient descent: projection.png and latents.pt.

Examples:

  lightning-gen project checkpoint=outputs/my_run
  lightning-gen project checkpoint=PATH images=my_photo.png steps=1000
  lightning-gen project checkpoint=PATH images=my_folder n=100
  lightning-gen project checkpoint=PATH label=faces
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig
from torch import Tensor

from lightning_gen.cli.checkpoint_options import (
    filled,
    images_of,
    label_list,
    load,
    load_data,
    output_folder,
    print_classes,
    print_written,
    tell,
)
from lightning_gen.cli.hydra_app import Job
from lightning_gen.cli.image_files import check_resize, find_files, read_file, tell_doubts
from lightning_gen.errors import UserError
from lightning_gen.images import pairs, save_png
from lightning_gen.randomness import preserved_rng, seed_all
from lightning_gen.sampling.captions import row_captions
from lightning_gen.sampling.latent_space import LatentSpace, space_of
from lightning_gen.sampling.preparation import check_pictures
from lightning_gen.sampling.projection import Descent, project
from lightning_gen.sampling.samples import check_finite
from lightning_gen.utilities.atomic_files import atomic_save

if TYPE_CHECKING:
    from lightning_gen.data.decode import ImageFiles
    from lightning_gen.image_generator import ImageGenerator

COLUMNS = 8  # images in a row of the picture
Targets = tuple[list[str], Tensor, Tensor | None]  # names, images (n, C, H, W) in [-1, 1], labels (n,) or None


def run(job: Job) -> None:
    """Write projection.png, with the targets above their projections, and latents.pt; print the errors."""
    cfg = job.config
    path, model = load(cfg)
    check_pictures(model, path)
    space = space_of(model, cfg.space, path)
    names, targets, labels = _from_files(cfg, model, space) if cfg.images else _from_data(cfg, path, model)
    out = output_folder(cfg.out, path)
    descent = Descent(
        starts=cfg.starts,
        steps=cfg.steps,
        step_size=cfg.step_size,
        noise=cfg.noise,
        prior_weight=cfg.prior_weight,
        batch_size=cfg.batch_size,
        seed=cfg.seed,
    )
    with filled(out) as folder, preserved_rng():
        points, images = project(space, targets, labels, descent)
        check_finite(images, model)
        picture = pairs(targets, images, columns=COLUMNS)
        words = ["original", "projection"] * math.ceil(len(targets) / COLUMNS)
        save_png(row_captions(picture, words), folder / "projection.png")
        # Squared errors on the range [0, 1], as in the metric `reconstruction`.
        mse = (images.clamp(-1, 1) - targets).div(2).square().flatten(1).mean(1).cpu()
        contents = {space.name: points.cpu(), "mse": mse} | ({} if labels is None else {"labels": labels.cpu()})
        atomic_save(contents, folder / "latents.pt")
    _print_errors(names, mse)
    print_classes(model, labels, "images")
    print_written(f"{len(names)} projections to {space.name} of {type(model).__name__}", out)


def _print_errors(names: list[str], mse: Tensor) -> None:
    psnr = -10 * mse.log10()
    rows = [*zip(names, mse.tolist(), psnr.tolist(), strict=True), ("mean", mse.mean().item(), psnr.mean().item())]
    width = max(len(name) for name, _, _ in rows)
    print(f"{'image':<{width}}       MSE  PSNR in dB")
    for name, error, decibels in rows:
        print(f"{name:<{width}}  {error:8.5f}  {decibels:10.2f}")


def _from_data(cfg: DictConfig, checkpoint: Path, model: "ImageGenerator") -> Targets:
    data = load_data(cfg, checkpoint, model)
    seed_all("project", cfg.seed, "data")  # binarization is random
    images, labels = images_of(cfg, data, model.device)
    if model.num_classes is not None:
        if data.num_classes != model.num_classes:
            raise UserError(
                f"data={data.name}: has {data.num_classes or 'no'} classes, the model {model.num_classes}; "
                f"give data of {model.num_classes} classes"
            )
        data.check_labels(cfg.split)
    tell(data)
    names = [f"{cfg.split} {number}" for number in range(len(images))]
    return names, images, None if model.num_classes is None else labels


def _from_files(cfg: DictConfig, model: "ImageGenerator", space: LatentSpace) -> Targets:
    from lightning_gen.data.decode import ImageFiles
    from lightning_gen.data.loader import normalize

    check_resize(cfg.resize)
    root, paths = find_files(cfg.images)
    paths = paths[: cfg.n]
    channels, height, width = model.image_shape
    files = ImageFiles(paths, channels, (height, width), cfg.resize)
    pixels = torch.stack([_pixels(files, number, cfg.images) for number in range(len(paths))])
    names = [path.relative_to(root).as_posix() for path in paths]
    labels = _labels_of_files(cfg, model, space, len(paths))
    tell_doubts(cfg.images, paths)
    return names, normalize(pixels).to(model.device), labels


def _pixels(files: "ImageFiles", number: int, images: str) -> Tensor:
    """An image as uint8; UserError for an unreadable one."""
    found = read_file(files, number)
    if isinstance(found, str):
        raise UserError(f"images={images}: {files.paths[number]} cannot be read ({found}); leave it out")
    return found


def _labels_of_files(cfg: DictConfig, model: "ImageGenerator", space: LatentSpace, n: int) -> Tensor | None:
    if model.num_classes is None:
        if cfg.label is not None:
            raise UserError(f"label={cfg.label}: this model is unconditional, leave out label")
        return None
    if cfg.label is None:
        if space.name == "w":
            return None  # a style includes the label, so both are found together
        raise UserError(f"label=null: this model is conditional, give the images' class (0 to {model.num_classes - 1})")
    labels = label_list(cfg.label, model.num_classes, model.class_names)
    if len(labels) not in (1, n):
        raise UserError(f"label={cfg.label}: {len(labels)} labels for {n} images; give one for all, or one for each")
    return torch.tensor(labels, device=model.device).expand(n)
