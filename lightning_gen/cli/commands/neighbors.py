"""Find the training images nearest to samples, to check whether a model copies: neighbors.png.

Examples:

  lightning-gen neighbors checkpoint=outputs/my_run
  lightning-gen neighbors checkpoint=PATH n=32 k=3 extractor=none
"""

from collections.abc import Callable

import torch
from omegaconf import DictConfig
from torch import Tensor

from lightning_gen.cli.checkpoint_options import (
    chosen_classes,
    filled,
    load,
    load_data,
    output_folder,
    print_classes,
    print_written,
    tell,
)
from lightning_gen.cli.hydra_app import Job
from lightning_gen.data.image_data import ImageData
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import build_extractors
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.images import beside, grid, save_png, to_uint8
from lightning_gen.metrics.memorization import NEAR
from lightning_gen.metrics.neighbors import Nearest
from lightning_gen.randomness import preserved_rng, seed_all
from lightning_gen.sampling.captions import class_caption, row_captions, title
from lightning_gen.sampling.preparation import check_pictures
from lightning_gen.sampling.samples import samples, spread_labels
from lightning_gen.utilities.progress import progress
from lightning_gen.utilities.suggestions import did_you_mean

FeatureFunction = Callable[[Tensor], Tensor]  # uint8 images (B, C, H, W) to (B, d)


def run(job: Job) -> None:
    """Write neighbors.png, with a row for each sample and its neighbors; print distances of samples and real images."""
    cfg = job.config
    path, model = load(cfg)
    check_pictures(model, path)
    labels = spread_labels(chosen_classes(cfg.label, model.num_classes, model.class_names), cfg.n)
    data = load_data(cfg, path, model)
    _check_data(cfg, data)
    extractor = _extractor(cfg.extractor)
    features = pixels if extractor is None else extractor.to(model.device)
    out = output_folder(cfg.out, path)
    tell(data)
    with filled(out) as folder, torch.no_grad(), preserved_rng():
        with progress("samples", cfg.n) as advance:
            images = [image for _, image in samples(model, cfg.n, labels, cfg.seed, cfg.batch_size, advance)]
        fake = torch.stack(images).to(model.device)
        nearest, of_real = search(data, features, fake, cfg.split, cfg.num_real, cfg.k, cfg.seed)
        shown = torch.cat([fake[:, None], images_at(data, nearest.numbers, cfg.seed)], 1)
        save_png(picture(shown, labels, model.class_names), folder / "neighbors.png")
    name = extractor.name if extractor else "pixels"
    print("\n".join(report(nearest.distances.cpu(), of_real.cpu(), cfg.split, name)))
    print_classes(model, labels)
    print_written(f"{cfg.n} samples of {type(model).__name__} with their neighbors", out)


def picture(shown: Tensor, labels: Tensor | None, names: list[str]) -> Tensor:
    """A row `(1 + k, C, H, W)` of `shown` for each sample: itself, with its class, and its neighbors."""
    sample = grid(shown[:, :1].flatten(0, 1), columns=1)
    if labels is not None:
        sample = row_captions(sample, [class_caption(label, names) for label in labels.tolist()])
    neighbors = grid(shown[:, 1:].flatten(0, 1), columns=shown.shape[1] - 1)
    return beside([title(sample, "sample"), title(neighbors, "nearest training images")])


def _check_data(cfg: DictConfig, data: ImageData) -> None:
    if cfg.split not in data.split_sizes or cfg.split == "train":
        others = [split for split in data.split_sizes if split != "train"]
        fix = did_you_mean(cfg.split, others) or f"; give {' or '.join(others)}"
        raise UserError(f"split={cfg.split}: no split that training images can be compared with{fix}")
    if cfg.k > data.split_sizes["train"]:
        raise UserError(f"k={cfg.k}: data={data.name} has only {data.split_sizes['train']} training images")


def _extractor(config: DictConfig) -> Extractor | None:
    extractors = build_extractors(config)
    if len(extractors) > 1:
        raise UserError(f"extractor=[{','.join(extractors)}]: distances need one extractor, leave the others out")
    return next(iter(extractors.values()), None)


def pixels(images: Tensor) -> Tensor:
    """Values in [0, 1] as features."""
    return images.flatten(1).float() / 255


def search(
    data: ImageData, features: FeatureFunction, fake: Tensor, split: str, num_real: int | None, k: int, seed: int
) -> tuple[Nearest, Tensor]:
    """The training images nearest to `fake`, and the distance of each real image of `split` to its nearest one."""
    device = fake.device
    seed_all("neighbors", seed, "real")  # binarization is random
    real = [features(to_uint8(batch.images)) for batch in data.batches(split, device, limit=num_real)]
    of_fake = Nearest(torch.cat([features(images) for images in fake.split(64)]), k)
    of_real = Nearest(torch.cat(real), 1)
    seed_all("neighbors", seed, "train")
    with progress("training images", data.split_sizes["train"]) as advance:
        for batch in data.batches("train", device):
            trained = features(to_uint8(batch.images))
            of_fake.update(trained)
            of_real.update(trained)
            advance(len(trained))
    return of_fake, of_real.distances[:, 0]


def images_at(data: ImageData, numbers: Tensor, seed: int) -> Tensor:
    """The training images `(n, k, C, H, W)`, uint8, with these `numbers` `(n, k)` in the order of a pass."""
    wanted = set(numbers.flatten().tolist())
    kept: dict[int, Tensor] = {}
    seed_all("neighbors", seed, "train")
    start = 0
    for batch in data.batches("train", numbers.device, limit=max(wanted) + 1):
        kept |= {n: to_uint8(batch.images[n - start]) for n in wanted if start <= n < start + len(batch.images)}
        start += len(batch.images)
    return torch.stack([kept[n] for n in numbers.flatten().tolist()]).unflatten(0, numbers.shape)


def report(distances: Tensor, of_real: Tensor, split: str, name: str) -> list[str]:
    """The lines to print: the distances `(n, k)` of samples, and how they compare with those `(m,)` of real images."""
    bound = of_real.quantile(NEAR)
    near = (distances[:, 0] < bound).sum().item()
    rows = [f"{n:>6}  " + "  ".join(f"{d:8.4g}" for d in row) for n, row in enumerate(distances[:, :8].tolist())]
    return [
        f"sample  distances to the nearest training images ({name})",
        *rows,
        f"nearest training image, median: samples {distances[:, 0].median():.4g}, "
        f"{len(of_real)} real images ({split}) {of_real.median():.4g}",
        f"{near} of {len(distances)} samples are nearer to a training image than {bound:.4g}, "
        f"as {NEAR:.0%} of the real images are; many more would be copies",
    ]
