"""Pictures during training: samples from fixed noise, reconstructions, continuations; to files and every logger."""

import logging
import math
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.callbacks.interval import Pause, crossed
from lightning_gen.capabilities import Completes, Predicts, Reconstructs
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.images import MODES, film, grid, moving_grid, pairs, save_gif, save_png
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.captions import class_caption, class_grid, row_captions
from lightning_gen.sampling.continuation import completions, moving_predictions, predictions
from lightning_gen.sampling.evaluation_mode import evaluation_mode
from lightning_gen.sampling.scatter_plot import are_points, scatter
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.ranks import broadcast_from_first

log = logging.getLogger("lightning_gen")

MAX_CLASSES = 16  # with more, only the first classes get a row
NUM_POINTS = 2000  # samples in a scatter plot
MAX_OF_CLASS = 16  # samples in the row of a class
MAX_FILMS = 16  # sequences laid out frame by frame
MOST_TIME = 0.1  # share of the time that pictures by `every_minutes` may take: some models sample slowly
PAIRS = 8  # images in a row of reconstructions
RECONSTRUCTION = ("original", "reconstruction")


class Pictures(Callback):
    """Base: saves `pictures(...)` every `every_images`, every `every_minutes` and at the end as
    `<folder>/<name>_<images seen>.png`.

    Data whose number of channels no image file has get no pictures.
    """

    def __init__(
        self, folder: str, every_images: PositiveInt, n: PositiveInt, every_minutes: PositiveFloat | None = None
    ):
        self.folder = Path(folder)
        self.every_images = every_images
        self.every_minutes = every_minutes
        self.n = n
        self._pause = Pause(every_minutes)
        self.drawn_at = -1  # images seen

    def pictures(self, trainer: ImageTrainer, model: ImageGenerator) -> dict[str, Tensor]:
        """Pictures by name, `(C, H, W)` in [-1, 1] or `(T, C, H, W)` for a GIF; empty if there is nothing to show."""
        raise NotImplementedError

    def on_train_batch_end(self, trainer: ImageTrainer, model: ImageGenerator, outputs, batch, batch_idx: int) -> None:
        """Save pictures when due."""
        if crossed(model, self.every_images) or self._pause.is_over(trainer):
            start = time.monotonic()
            self._save(trainer, model)
            seconds = torch.tensor(time.monotonic() - start, device=model.device)
            broadcast_from_first([seconds])  # ranks agree on the next time
            self._pause.restart(trainer, at_least=seconds.item() / MOST_TIME)

    def on_train_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Save pictures of the final state, unless the last step was followed by them."""
        if self.drawn_at != model.images_seen:
            self._save(trainer, model)

    def validation_images(self, trainer: ImageTrainer, model: ImageGenerator) -> Batch:
        """The first `n` validation images."""
        images, labels = next(iter(trainer.datamodule.batches("val", model.device, limit=self.n)))
        return Batch(images[: self.n], None if labels is None else labels[: self.n])

    def _save(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        self.drawn_at = model.images_seen
        if not drawable(model):
            return
        with evaluation_mode(model):
            pictures = self._drawn(trainer, model) if trainer.is_global_zero else {}
        for name, picture in pictures.items():
            self.folder.mkdir(parents=True, exist_ok=True)
            save, suffix = (save_gif, "gif") if picture.ndim == 4 else (save_png, "png")
            path = self.folder / f"{name}_{model.images_seen:010d}.{suffix}"
            save(picture, path)
            for logger in trainer.loggers:
                if hasattr(logger, "log_picture"):
                    logger.log_picture(name, path, model.images_seen)

    def _drawn(self, trainer: ImageTrainer, model: ImageGenerator) -> dict[str, Tensor]:
        seed_all("pictures", model.seed)
        return self.pictures(trainer, model)


class SampleGrid(Pictures):
    """About `n` samples from the same noise each time; for images that are points, a scatter plot of 2000 samples.

    Conditional models get one row per class, with its name, for the first classes if there are too many. Sequences are
    animated, and the first 16 also laid out frame by frame.
    """

    def on_train_start(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Log a line if there will be no pictures."""
        if not drawable(model):
            log.info("no pictures: image files have 1, 3 or 4 channels, the data %d", model.image_shape[-3])

    def pictures(self, trainer: ImageTrainer, model: ImageGenerator) -> dict[str, Tensor]:
        """The grid or the plot; empty if the model does not generate images."""
        if not model.generates:
            return {}
        if are_points(model.image_shape):
            layers = [(_real_images(trainer, model, NUM_POINTS), 0.4), (model.sample(NUM_POINTS), 1.0)]
            return {"samples": scatter(layers)}
        if model.num_classes:
            return self._of_classes(model, model.num_classes)
        samples = model.sample(self.n)
        if samples.ndim == 5:
            return {"samples": film(samples[:MAX_FILMS]), "samples_moving": moving_grid(samples)}
        return {"samples": grid(samples, columns=max(1, round(self.n**0.5)))}

    def _of_classes(self, model: ImageGenerator, num_classes: int) -> dict[str, Tensor]:
        shown = num_classes if num_classes <= MAX_CLASSES else min(num_classes, max(1, round(self.n**0.5)))
        each = max(1, min(self.n // shown, MAX_OF_CLASS))
        labels = torch.arange(shown, device=model.device).repeat_interleave(each)
        samples = model.sample(len(labels), labels)
        columns = each if each > 1 and shown > 1 else None
        moving = class_grid(samples, labels, columns, model.class_names)
        if samples.ndim == 4:
            return {"samples": moving}
        first = film(samples[::each][:MAX_FILMS])
        words = [class_caption(label, model.class_names) for label in range(min(shown, MAX_FILMS))]
        return {"samples": row_captions(first, words), "samples_moving": moving}


def drawable(model: ImageGenerator) -> bool:
    """Whether the model's images are points, or have a number of channels that image files support."""
    return are_points(model.image_shape) or model.image_shape[-3] in MODES


def _real_images(trainer: ImageTrainer, model: ImageGenerator, n: int) -> Tensor:
    """The first `n` validation images."""
    return torch.cat([batch.images for batch in trainer.datamodule.batches("val", model.device, limit=n)])


class Reconstructions(Pictures):
    """Pairs of rows: `n` validation images as the likelihood observes them, and their reconstructions."""

    def pictures(self, trainer: ImageTrainer, model: ImageGenerator) -> dict[str, Tensor]:
        """The grid; empty if the model does not reconstruct."""
        if not isinstance(model, Reconstructs):
            return {}
        images, labels = self.validation_images(trainer, model)
        images = model.to_support(images)
        reconstructed = model.reconstruct(images, labels)
        if images.ndim == 5:
            shown = film(torch.stack([images, reconstructed], 1)[:MAX_FILMS].flatten(0, 1))
            return {"reconstructions": row_captions(shown, [*RECONSTRUCTION] * min(len(images), MAX_FILMS))}
        rows = math.ceil(len(images) / PAIRS)
        return {"reconstructions": row_captions(pairs(images, reconstructed, PAIRS), [*RECONSTRUCTION] * rows)}


class Continuations(Pictures):
    """Continuations of the first frames or upper half of `n` validation examples, beside the true ones."""

    def pictures(self, trainer: ImageTrainer, model: ImageGenerator) -> dict[str, Tensor]:
        """Predicted frames or completed images; empty if the model does neither."""
        if isinstance(model, Predicts):
            sequences = self.validation_images(trainer, model).images
            context = model.context_frames
            steps = sequences.shape[1] - context
            still = predictions(model, sequences[:MAX_FILMS], context, steps)
            return {"predictions": still, "predictions_moving": moving_predictions(model, sequences, context, steps)}
        if isinstance(model, Completes):
            images, labels = self.validation_images(trainer, model)
            return {"completions": completions(model, images, images.shape[-2] // 2, labels)}
        return {}
