"""Pictures of a run as it goes: samples from fixed noise, reconstructions, continuations. To files and every logger."""

import logging
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveInt
from lightning_gen.callbacks.interval import crossed
from lightning_gen.capabilities import Completes, Predicts, Reconstructs
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.images import MODES, film, grid, moving_grid, pairs, save_gif, save_png
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.continuation import completions, moving_predictions, predictions
from lightning_gen.sampling.evaluation_mode import evaluation_mode
from lightning_gen.sampling.scatter_plot import are_points, scatter

log = logging.getLogger("lightning_gen")

MOST_CLASSES = 16  # that are all shown
POINTS = 2000  # samples in a scatter plot
MOST_FILMS = 16  # sequences laid out frame by frame


class Pictures(Callback):
    """Base: draws `pictures(model)` every `every_images` and at the end, to `<folder>/<name>_<images seen>.png`.

    Nothing is drawn of images with as many channels as no image file has.
    """

    def __init__(self, folder: str, every_images: PositiveInt, n: PositiveInt):
        self.folder = Path(folder)
        self.every_images = every_images
        self.n = n

    def pictures(self, trainer: Trainer, model: ImageGenerator) -> dict[str, Tensor]:
        """By name pictures `(C, H, W)` in [-1, 1], or `(T, C, H, W)` for a GIF; none if there is nothing to show."""
        raise NotImplementedError

    def on_train_batch_end(self, trainer: Trainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Draw if the interval is over."""
        if crossed(model, self.every_images):
            self._draw(trainer, model)

    def on_train_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Draw the end of the run."""
        self._draw(trainer, model)

    def validation_images(self, trainer: Trainer, model: ImageGenerator) -> Batch:
        """The first `n` of them."""
        images, labels = next(iter(trainer.datamodule.batches("val", model.device, limit=self.n)))
        return Batch(images[: self.n], None if labels is None else labels[: self.n])

    @rank_zero_only
    def _draw(self, trainer: Trainer, model: ImageGenerator) -> None:
        if not drawable(model):
            return
        with evaluation_mode(model):
            seed_all("pictures", model.seed)
            pictures = self.pictures(trainer, model)
        for name, picture in pictures.items():
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{name}_{model.images_seen:010d}{'.gif' if picture.ndim == 4 else '.png'}"
            (save_gif if picture.ndim == 4 else save_png)(picture, path)
            for logger in trainer.loggers:
                if hasattr(logger, "log_picture"):
                    logger.log_picture(name, path, model.images_seen)


class SampleGrid(Pictures):
    """About `n` samples from the same noise each time, or where images are but points, a scatter plot of many.

    A conditional model has a column for each class; for the first ones, if there are more than fit. Sequences move, and
    a few are laid out frame by frame.
    """

    def on_train_start(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Say so if there will be no pictures."""
        if not drawable(model):
            log.info("no pictures: image files have 1, 3 or 4 channels, the data %d", model.image_shape[-3])

    def pictures(self, trainer: Trainer, model: ImageGenerator) -> dict[str, Tensor]:
        """The grid or the plot, or none if the model doesn't generate."""
        if not getattr(model, "generates", True):
            return {}
        if are_points(model.image_shape):
            layers = [(_real_images(trainer, model, POINTS), 0.4), (model.sample(POINTS), 1.0)]
            return {"samples": scatter(layers)}
        if not model.num_classes:
            samples = model.sample(self.n)
            if samples.ndim == 5:
                return {"samples": film(samples[:MOST_FILMS]), "samples_moving": moving_grid(samples)}
            return {"samples": grid(samples, columns=max(1, round(self.n**0.5)))}
        fitting = MOST_CLASSES if model.num_classes <= MOST_CLASSES else max(1, round(self.n**0.5))
        columns = min(model.num_classes, fitting)
        labels = torch.arange(max(1, self.n // columns) * columns, device=model.device) % columns
        return {"samples": grid(model.sample(len(labels), labels), columns=columns)}


def drawable(model: ImageGenerator) -> bool:
    """Whether its images are points, or have as many channels as image files."""
    return are_points(model.image_shape) or model.image_shape[-3] in MODES


def _real_images(trainer: Trainer, model: ImageGenerator, n: int) -> Tensor:
    """The first `n` validation images."""
    return torch.cat([batch.images for batch in trainer.datamodule.batches("val", model.device, limit=n)])


class Reconstructions(Pictures):
    """Pairs of rows: `n` validation images as the model observes them, and what it makes of them."""

    def pictures(self, trainer: Trainer, model: ImageGenerator) -> dict[str, Tensor]:
        """The grid, or none if the model doesn't reconstruct."""
        if not isinstance(model, Reconstructs):
            return {}
        images, labels = self.validation_images(trainer, model)
        images = model.to_support(images)
        found = model.reconstruct(images, labels)
        if images.ndim == 5:
            return {"reconstructions": film(torch.stack([images, found], 1)[:MOST_FILMS].flatten(0, 1))}
        return {"reconstructions": pairs(images, found, columns=8)}


class Continuations(Pictures):
    """What a model makes of the beginnings of `n` validation images or sequences, beside what they go on with."""

    def pictures(self, trainer: Trainer, model: ImageGenerator) -> dict[str, Tensor]:
        """Predicted frames or completed images, or none if the model does neither."""
        if isinstance(model, Predicts):
            sequences = self.validation_images(trainer, model).images
            arguments = model, sequences, model.context_frames, sequences.shape[1] - model.context_frames
            still = predictions(arguments[0], sequences[:MOST_FILMS], *arguments[2:])
            return {"predictions": still, "predictions_moving": moving_predictions(*arguments)}
        if isinstance(model, Completes):
            images, labels = self.validation_images(trainer, model)
            return {"completions": completions(model, images, images.shape[-2] // 2, labels)}
        return {}
