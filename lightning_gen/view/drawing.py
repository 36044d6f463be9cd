"""What a model draws for a page: samples, points of its latent space, paths between them, continuations.

All functions are called in the worker's thread, within `full_precision`.
"""

import torch
from torch import Tensor

from lightning_gen.capabilities import Completes, Encodes, HasLatent, Predicts, Reconstructs
from lightning_gen.config.plugins import conf_dir
from lightning_gen.config.validation import yaml_content
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.images import enlarged, pairs, to_uint8
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.captions import class_grid, row_captions
from lightning_gen.sampling.continuation import completions, moving_predictions, predictions
from lightning_gen.sampling.latent_space import LatentSpace, StyleSpace
from lightning_gen.sampling.projection import Descent, Prior, project
from lightning_gen.sampling.samples import check_finite, samples, spread_labels
from lightning_gen.sampling.variety import Variety
from lightning_gen.view.shelf import Loaded

BATCH = 64
MOST_CLASSES = 16  # rows of the picture of all classes
DESCENT = ("starts", "step_size", "noise", "prior_weight", "batch_size", "seed")  # keys of conf/project.yaml


def space_and_prior(loaded: Loaded) -> tuple[LatentSpace, Prior]:
    """Those of a model with latents; UserError for any other."""
    if loaded.space is None or loaded.prior is None:
        raise UserError(f"{type(loaded.model).__name__} has no latents")
    return loaded.space, loaded.prior


def sample_grid(loaded: Loaded, n: int, seed: int, label: int | None, variety: Variety, factor: int = 1) -> Tensor:
    """A grid of samples, of all classes unless one is chosen, enlarged; `seed` is as of `lightning-gen sample`."""
    model = loaded.model
    classes = None if model.num_classes is None else list(range(model.num_classes)) if label is None else [label]
    labels = spread_labels(classes, n)
    with variety.within(model):
        drawn = torch.stack([image for _, image in samples(model, n, labels, seed, BATCH)])
    return class_grid(enlarged(drawn, factor), labels, None, model.class_names)


def draw_point(loaded: Loaded, seed: int, label: int | None, variety: Variety) -> Tensor:
    """A point of the latent space `(d,)` in standard deviations from the mean."""
    space, prior = space_and_prior(loaded)
    in_styles = isinstance(space, StyleSpace)  # they are truncated by moving them towards their mean
    seed_all("view", seed)
    with (Variety() if in_styles else variety).within(loaded.model):
        point = prior.whiten(space.sample(1, loaded.labels(label, 1)))[0]
    return point * variety.truncation if in_styles and variety.truncation is not None else point


def decode(loaded: Loaded, point: Tensor, label: int | None) -> Tensor:
    """The image, or sequence, of a point `(d,)`."""
    space, prior = space_and_prior(loaded)
    seed_all("view", "noise")
    images = space.decode(prior.unwhiten(point[None]), loaded.labels(label, 1))
    check_finite(images, loaded.model)
    return images[0]


def path(loaded: Loaded, start: Tensor, end: Tensor, label: int | None, steps: int) -> Tensor:
    """Frames `(T, C, H, W)` from one point to another, and back."""
    space, prior = space_and_prior(loaded)
    fractions = torch.linspace(0, 1, steps, device=start.device)[:, None]
    first, last = (prior.unwhiten(point[None]).expand(steps, -1) for point in (start, end))
    seed_all("view", "noise")
    frames = space.decode(space.between(first, last, fractions), loaded.labels(label, steps))
    check_finite(frames, loaded.model)
    frames = to_uint8(frames)
    return torch.cat([frames, frames[1:-1].flip(0)])


def class_rows(loaded: Loaded, n: int, seed: int, factor: int = 1) -> Tensor:
    """A row for each class, at most `MOST_CLASSES`, with the same noise in each column; images are enlarged."""
    model = loaded.model
    if model.num_classes is None:
        raise UserError(f"{type(model).__name__} is not conditional")
    count = min(model.num_classes, MOST_CLASSES)
    labels = torch.arange(count, device=model.device).repeat_interleave(n)
    images = torch.cat([_row(model, each, seed) for each in labels.split(n)])
    check_finite(images, model)
    return class_grid(enlarged(to_uint8(images), factor), labels.cpu(), n, model.class_names)


def _row(model: ImageGenerator, labels: Tensor, seed: int) -> Tensor:
    seed_all("view", seed)
    if isinstance(model, HasLatent):
        return model.decode(model.latent(len(labels)), labels)
    return model.sample(len(labels), labels)


def reconstruct(loaded: Loaded, images: Tensor, label: int | None) -> tuple[Tensor, Tensor | None]:
    """The images above their reconstructions, and the first one's point, of a model with an encoder."""
    model = loaded.model
    if not isinstance(model, Reconstructs):
        raise UserError(f"{type(model).__name__} reconstructs no images")
    labels = loaded.labels(label, len(images))
    seed_all("view", "noise")
    reconstructed = model.reconstruct(images, labels)
    check_finite(reconstructed, model)
    picture = row_captions(pairs(images, reconstructed, len(images)), ["given", "reconstructed"])
    return picture, _encoded(loaded, images[:1], labels)


def _encoded(loaded: Loaded, image: Tensor, labels: Tensor | None) -> Tensor | None:
    if loaded.space is None or loaded.prior is None or not isinstance(loaded.model, Encodes):
        return None
    point = loaded.space.encode(image, None if labels is None else labels[:1])
    return None if point is None or point.shape[1:] != loaded.prior.mean.shape else loaded.prior.whiten(point)[0]


def projected(loaded: Loaded, image: Tensor, label: int | None, steps: int) -> tuple[Tensor, Tensor, float]:
    """The image `(1, C, H, W)` above the nearest one of the model, that one's point, and the peak signal-to-noise ratio
    in dB.
    """
    space, prior = space_and_prior(loaded)
    labels = None if isinstance(space, StyleSpace) else loaded.labels(label, 1)
    defaults = yaml_content(conf_dir() / "project.yaml")
    descent = Descent(steps=steps, **{key: defaults[key] for key in DESCENT})
    with torch.enable_grad():
        points, images = project(space, image, labels, descent)
    check_finite(images, loaded.model)
    error = (images.clamp(-1, 1) - image).div(2).square().mean()
    picture = row_captions(pairs(image, images, 1), ["given", "projected"])
    return picture, prior.whiten(points)[0], -10 * error.clamp(min=1e-10).log10().item()


def completed(loaded: Loaded, image: Tensor, rows: int, label: int | None, seed: int) -> Tensor:
    """An image `(1, C, H, W)`, its first rows, and completions of them, side by side."""
    if not isinstance(loaded.model, Completes):
        raise UserError(f"{type(loaded.model).__name__} completes no images")
    seed_all("complete", seed)
    picture = completions(loaded.model, image, rows, loaded.labels(label, 1))
    check_finite(picture, loaded.model)
    return picture


def predicted(loaded: Loaded, sequences: Tensor, context: int, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Frames of sequences `(B, T, C, H, W)` laid out in rows, and moving, with the true next ones."""
    if not isinstance(loaded.model, Predicts):
        raise UserError(f"{type(loaded.model).__name__} predicts no frames")
    seed_all("predict", seed)
    still = predictions(loaded.model, sequences, context, steps)
    check_finite(still, loaded.model)
    seed_all("predict", seed)
    return still, moving_predictions(loaded.model, sequences, context, steps)
