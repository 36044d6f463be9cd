"""Pictures of a run as it goes: samples from fixed noise, and reconstructions. To files and every logger."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lightning_gen.callbacks.interval import crossed
from lightning_gen.capabilities import Reconstructs
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.images import grid, pairs, save_png
from lightning_gen.randomness import seed_all
from lightning_gen.scatter import are_points, scatter
from lightning_gen.undisturbed import undisturbed

MOST_CLASSES = 16  # that are all shown
POINTS = 2000  # samples in a scatter plot


class Pictures(Callback):
    """Base: draws `picture(model)` every `every_images` and at the end, to `<folder>/<name>_<images seen>.png`."""

    name = "picture"

    def __init__(self, folder: str, every_images: int):
        self.folder = Path(folder)
        self.every_images = every_images

    def picture(self, trainer: Trainer, model: ImageGenerator) -> Tensor | None:
        """A grid `(C, H, W)` in [-1, 1], or None if this model has nothing to show."""
        raise NotImplementedError

    def on_train_batch_end(self, trainer: Trainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Draw if the interval is over."""
        if crossed(model, self.every_images):
            self._draw(trainer, model)

    def on_train_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Draw the end of the run."""
        self._draw(trainer, model)

    @rank_zero_only
    def _draw(self, trainer: Trainer, model: ImageGenerator) -> None:
        path = self.folder / f"{self.name}_{model.images_seen:010d}.png"
        with undisturbed(model):
            seed_all("pictures", model.seed)
            picture = self.picture(trainer, model)
        if picture is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        save_png(picture, path)
        for logger in trainer.loggers:
            if hasattr(logger, "log_picture"):
                logger.log_picture(self.name, path, model.images_seen)


class SampleGrid(Pictures):
    """About `n` samples from the same noise each time, or where images are but points, a scatter plot of many.

    A conditional model has a column for each class; for the first ones, if there are more than fit.
    """

    name = "samples"

    def __init__(self, folder: str, every_images: int, n: int):
        super().__init__(folder, every_images)
        self.n = n

    def picture(self, trainer: Trainer, model: ImageGenerator) -> Tensor | None:
        """The grid or the plot, or None if the model doesn't generate."""
        if not getattr(model, "generates", True):
            return None
        if are_points(model.image_shape):
            return scatter([(_real_images(trainer, model, POINTS), 0.4), (model.sample(POINTS), 1.0)])
        if not model.num_classes:
            return grid(model.sample(self.n), columns=max(1, round(self.n**0.5)))
        fitting = MOST_CLASSES if model.num_classes <= MOST_CLASSES else max(1, round(self.n**0.5))
        columns = min(model.num_classes, fitting)
        labels = torch.arange(max(1, self.n // columns) * columns, device=model.device) % columns
        return grid(model.sample(len(labels), labels), columns=columns)


def _real_images(trainer: Trainer, model: ImageGenerator, n: int) -> Tensor:
    """The first `n` validation images."""
    return torch.cat([batch.images for batch in trainer.datamodule.batches("val", model.device, limit=n)])


class Reconstructions(Pictures):
    """Pairs of rows: `n` validation images as the model observes them, and what it makes of them."""

    name = "reconstructions"

    def __init__(self, folder: str, every_images: int, n: int):
        super().__init__(folder, every_images)
        self.n = n

    def picture(self, trainer: Trainer, model: ImageGenerator) -> Tensor | None:
        """The grid, or None if the model doesn't reconstruct."""
        if not isinstance(model, Reconstructs):
            return None
        batch = next(iter(trainer.datamodule.batches("val", model.device, limit=self.n)))
        images, labels = batch.images[: self.n], None if batch.labels is None else batch.labels[: self.n]
        images = model.observe(images) if hasattr(model, "observe") else images
        return pairs(images, model.reconstruct(images, labels), columns=8)
