"""The model that is in use, of a checkpoint; another one takes its place."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.capabilities import Reconstructs
from lightning_gen.checkpoint import load_model, match_data, read_checkpoint, saved_config
from lightning_gen.config.instantiation import build_data
from lightning_gen.config.saved import trusting
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY, ImageGenerator
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.latent_space import LatentSpace, space_of
from lightning_gen.sampling.preparation import check_pictures, check_weights, choose_device
from lightning_gen.sampling.projection import Prior

MOST_BYTES = 4 * 2**30  # of a checkpoint
GIVEN = 16  # images or sequences of its data that are offered
DECODED = 1024  # images that are decoded to find out which latents matter
STEP = 1.5  # standard deviations that a latent is moved by for it


@dataclass
class Loaded:
    """A model with its latent space, if it has one; `order` are the latents, those that change images most first."""

    path: Path
    model: ImageGenerator
    space: LatentSpace | None = None
    prior: Prior | None = None
    order: list[int] = field(default_factory=list)
    effects: list[float] = field(default_factory=list)  # of `order`, mean absolute changes on the range [0, 255]
    trust: Sequence[str] = ()
    _given: Batch | None = None

    def given(self) -> Batch:
        """The first validation images of the checkpoint's data, read when they are asked for."""
        if self._given is None:
            content = read_checkpoint(self.path)
            with trusting(self.trust):
                data = build_data(saved_config(content, f"checkpoint={self.path}", "data"))
            match_data(data, content[KEY])
            data.check_shape(self.model.image_shape)
            images, labels = next(iter(data.batches("val", self.model.device, limit=GIVEN)))
            self._given = Batch(images[:GIVEN], None if labels is None else labels[:GIVEN])
        return self._given

    def labels(self, label: int | None, n: int) -> Tensor | None:
        """A class for each of `n` images of a conditional model, class 0 by default; None of any other model."""
        if self.model.num_classes is None:
            return None
        return torch.full((n,), label or 0, device=self.model.device)


class Shelf:
    """Holds one model at a time; used by the worker's thread alone."""

    def __init__(self, device: str, trust: Sequence[str]):
        self.device = device
        self.trust = trust
        self._key: tuple[Path, int, int] | None = None
        self._loaded: Loaded | None = None

    def get(self, path: Path) -> Loaded:
        """The model of a checkpoint as it is on disk; UserError for one that can't be used."""
        found = path.stat()
        key = path, found.st_mtime_ns, found.st_size
        if self._loaded is None or key != self._key:
            if found.st_size > MOST_BYTES:
                raise UserError(f"checkpoint={path}: has more than {MOST_BYTES >> 30} GiB; use the command line for it")
            self._loaded = None  # its memory is free before the other one is read
            self._loaded, self._key = self._load(path), key
        return self._loaded

    def _load(self, path: Path) -> Loaded:
        model = load_model(path, device=choose_device(self.device), trust=self.trust)
        check_weights(model, path)
        if model.generates or not isinstance(model, Reconstructs):
            check_pictures(model, path, sequences=True)
        model.requires_grad_(False)
        loaded = Loaded(path, model, trust=self.trust)
        if _has_latents(model, path):
            loaded.space = space_of(model, "auto", path)
            loaded.prior = Prior(loaded.space, seed=0)
            loaded.order, loaded.effects = ranked(loaded.space, loaded.prior, loaded.labels(0, 1))
        return loaded


def _has_latents(model: ImageGenerator, path: Path) -> bool:
    try:
        space_of(model, "auto", path)
    except UserError:
        return False
    return True


def ranked(space: LatentSpace, prior: Prior, label: Tensor | None) -> tuple[list[int], list[float]]:
    """The latents in the order of how much they change images, with the mean absolute change, of 255.

    Each is moved to both sides, `STEP` standard deviations from where it is in a few points of the prior.
    """
    dim = len(prior.mean)
    starts = max(1, min(8, DECODED // (2 * dim)))
    seed_all("view", "effects")
    points = prior.whiten(space.sample(starts, None if label is None else label.expand(starts)))
    effects = [_effect(space, prior, points, place, label) for place in range(dim)]
    order = sorted(range(dim), key=lambda place: -effects[place])
    return order, [effects[place] for place in order]


def _effect(space: LatentSpace, prior: Prior, points: Tensor, place: int, label: Tensor | None) -> float:
    moved = points.repeat(2, 1)
    moved[:, place] = torch.tensor([-STEP, STEP], device=points.device).repeat_interleave(len(points))
    seed_all("view", "noise")  # the decoder's own noise is the same for both
    images = space.decode(prior.unwhiten(moved), None if label is None else label.expand(len(moved)))
    low, high = images.clamp(-1, 1).chunk(2)
    return (high - low).abs().mean().item() * 127.5
