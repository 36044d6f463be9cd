"""Detects failed GAN training: a discriminator that always or never wins, or a generator that collapsed."""

import logging

import torch
from lightning.pytorch import Callback
from torch import Tensor

from lightning_gen.bounds import NonNegativeFloat, PositiveInt, UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.evaluation_mode import evaluation_mode
from lightning_gen.trainer import ImageTrainer

log = logging.getLogger("lightning_gen")

# The samples of an untrained generator are alike.
_TRAINED_IMAGES = 1000
_UNTRAINED = 16  # samples that are compared before


class CollapseGuard(Callback):
    """Monitors models without a validation loss (GANs); warns once per kind of collapse, or ends the run if `stop`.

    - `val/diversity`, logged at each validation: the mean pairwise distance of `n` samples over that of `n` real
      images. Below `least_diversity`, after the first 1,000 images, the generator has collapsed to a few images.
    - `train/accuracy`, the fraction of (real, fake) pairs that the discriminator ranks correctly: above `most_accuracy`
      for `patience` logged values in a row, the generator gets no useful gradient; below `1 - most_accuracy`, the
      discriminator has failed.
    """

    def __init__(
        self,
        n: PositiveInt,
        least_diversity: NonNegativeFloat,
        most_accuracy: UnitInterval,
        patience: PositiveInt,
        stop: bool,
    ):
        self.n = n
        self.least_diversity = least_diversity
        self.most_accuracy = most_accuracy
        self.patience = patience
        self.stop = stop
        self._real: float | None = None
        self._checked: dict[str, float] = {}
        self._wins = self._losses = 0
        self._reported: set[str] = set()

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Check newly logged values; costs no device synchronization."""
        if model.latest is self._checked or "train/accuracy" not in model.latest:
            return
        self._checked = model.latest
        accuracy = model.latest["train/accuracy"]
        self._wins = self._wins + 1 if accuracy > self.most_accuracy else 0
        self._losses = self._losses + 1 if accuracy < 1 - self.most_accuracy else 0
        fix = "raise model.penalty.r1.weight (add model/penalty=[r1]) or lower model.discriminator_optimizer.lr"
        if self._wins >= self.patience:
            self._report("discriminator wins", f"the discriminator ranks {accuracy:.1%} of pairs right: {fix}", model)
        if self._losses >= self.patience:
            self._report("discriminator fails", f"the discriminator ranks {accuracy:.1%} of pairs right", model)

    def on_validation_epoch_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Compare the diversity of samples with that of real images."""
        if model.validation_loss:
            return
        with evaluation_mode(model):
            seed_all("diversity", model.seed)
            samples = model.sample(self.n if model.images_seen >= _TRAINED_IMAGES else min(self.n, _UNTRAINED))
        if self._real is None:
            # In a fixed order the first images are the same at every validation.
            batches = trainer.datamodule.batches("val", model.device, limit=self.n * trainer.world_size)
            self._real = mean_distance(torch.cat([batch.images for batch in batches])).item()
        diversity = mean_distance(samples).item() / max(self._real, 1e-12)
        model.log_dict({"val/diversity": diversity}, logger=False, rank_zero_only=True)
        model.log_now({"val/diversity": diversity})
        if diversity < self.least_diversity and model.images_seen >= _TRAINED_IMAGES:
            self._report("mode collapse", f"samples differ {diversity:.1%} as much as real images do", model)

    def _report(self, kind: str, message: str, model: ImageGenerator) -> None:
        text = f"{kind} at {model.images_seen:,} images: {message}"
        if self.stop:
            raise UserError(f"{text}; the checkpoints before it are kept (callbacks.collapse_guard.stop=true)")
        if kind not in self._reported:
            self._reported.add(kind)
            log.info("%s", text)


def mean_distance(images: Tensor) -> Tensor:
    """Mean Euclidean distance of all pairs of images `(B, ...)`, a scalar."""
    return torch.nn.functional.pdist(images.flatten(1).float().cpu()).mean()  # Apple's GPUs have no such kernel
