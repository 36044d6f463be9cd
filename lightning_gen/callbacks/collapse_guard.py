"""Tells when a game is lost: a discriminator that always or never wins, or a generator that makes one image."""

import logging

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.evaluation_mode import evaluation_mode

log = logging.getLogger("lightning_gen")


class CollapseGuard(Callback):
    """Watches models whose losses don't tell (GANs); warns once for each kind of collapse, or ends the run if `stop`.

    - `val/diversity`, logged at each validation: the mean distance between two samples over that between two real
      images, on `n` each. Below `least_diversity` the generator has collapsed to a few images.
    - `train/accuracy`, the share of pairs that the discriminator ranks right: above `most_accuracy` for `patience`
      logged values in a row, the generator gets no useful gradient any more; as far below a half, the discriminator
      has failed.
    """

    def __init__(self, n: PositiveInt, least_diversity: float, most_accuracy: float, patience: PositiveInt, stop: bool):
        self.n = n
        self.least_diversity = least_diversity
        self.most_accuracy = most_accuracy
        self.patience = patience
        self.stop = stop
        self._real: float | None = None
        self._checked: dict[str, float] = {}
        self._wins = self._losses = 0
        self._told: set[str] = set()

    def on_train_batch_end(self, trainer: Trainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Look at what was logged; costs no device sync."""
        if model.latest is self._checked or "train/accuracy" not in model.latest:
            return
        self._checked = model.latest
        accuracy = model.latest["train/accuracy"]
        self._wins = self._wins + 1 if accuracy > self.most_accuracy else 0
        self._losses = self._losses + 1 if accuracy < 1 - self.most_accuracy else 0
        how = "raise model.penalty.r1.weight (add model/penalty=[r1]) or lower model.discriminator_optimizer.lr"
        if self._wins >= self.patience:
            self._tell("discriminator wins", f"the discriminator ranks {accuracy:.1%} of pairs right: {how}", model)
        if self._losses >= self.patience:
            self._tell("discriminator fails", f"the discriminator ranks {accuracy:.1%} of pairs right", model)

    def on_validation_epoch_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Compare how much samples and real images vary."""
        if model.validation_loss:
            return
        with evaluation_mode(model):
            seed_all("diversity", model.seed)
            samples = model.sample(self.n)
        if self._real is None:
            # The first images in a fixed order are the same at every validation.
            batches = trainer.datamodule.batches("val", model.device, limit=self.n * trainer.world_size)
            self._real = mean_distance(torch.cat([batch.images for batch in batches])).item()
        diversity = mean_distance(samples).item() / max(self._real, 1e-12)
        model.log_dict({"val/diversity": diversity}, logger=False, rank_zero_only=True)
        model.log_now({"val/diversity": diversity})
        if diversity < self.least_diversity:
            self._tell("mode collapse", f"samples differ {diversity:.1%} as much as real images do", model)

    def _tell(self, kind: str, what: str, model: ImageGenerator) -> None:
        message = f"{kind} at {model.images_seen:,} images: {what}"
        if self.stop:
            raise UserError(f"{message}; the checkpoints before it are kept (callbacks.collapse_guard.stop=true)")
        if kind not in self._told:
            self._told.add(kind)
            log.info("%s", message)


def mean_distance(images: Tensor) -> Tensor:
    """Mean Euclidean distance over all pairs of images `(B, ...)`, a scalar."""
    return torch.nn.functional.pdist(images.flatten(1).float()).mean()
