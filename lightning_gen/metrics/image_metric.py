"""What a metric is: a torchmetrics Metric that says what it needs and names its scores."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor
from torchmetrics import Metric

from lightning_gen.batch import Batch
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.images import MODES
from lightning_gen.metrics.features import Features
from lightning_gen.utilities.compat import state_names

MIN_SIZE = 4  # pixels a side of images that extractors take
NEEDS_MODEL = "needs a model, and files were given"


class ImageMetric(Metric):
    """Gives one or more named scores of an image generator.

    `needs` is "features", "samples", "model", or the name of a method that a model must have ("log_likelihood",
    "reconstruct"). `better` says of each score that `compute` returns which direction is the good one.
    Tensors that `compute` returns are scalars; a score that does not exist (too few images) is NaN.
    """

    needs: ClassVar[str]
    better: ClassVar[dict[str, Literal["lower", "higher"]]]
    full_state_update = False
    show_progress = False  # of work that takes long besides the passes over images
    num_real: int | None = None  # images of the split that count, the first of its evaluation order; None: all

    def why_not(self, model: Any, data: Any) -> str | None:
        """Why it can't score this model (or the data that stand in for one) on these data; None if it can."""
        return None

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        """Why metrics of its kind, or else this one, can't score a model, or `files` without one; None if they can."""
        return self.why_not(files if model is None else model, data)

    def start(self, data: Any, split: str) -> None:
        """Forget what was seen and get ready for a split of `data`; not called for metrics of features."""
        self.reset()

    def compute(self) -> dict[str, Tensor]:
        """Score names to scalars."""
        raise NotImplementedError

    def standard_errors(self) -> dict[str, float]:
        """How far scores that are means over images may be off by chance, asked for after `compute`."""
        return {}

    def curves(self) -> dict[str, list[float]]:
        """Scores along something, such as the frames of a sequence, asked for after `compute`."""
        return {}

    def protocol(self) -> dict[str, Any]:
        """Settings that the scores depend on, asked for after `compute`."""
        return {}


class FeatureMetric(ImageMetric):
    """Compares features of samples with features of real images: `update(features, real)`.

    The features are extracted once for all metrics of this kind, and fed to each in one piece by `see_real` and
    `see_fake`, which a metric overrides that wants labels or logits. States of real images are named `real_...`: they
    outlive `reset_fake`. Score names get the extractor's name behind a slash.
    """

    needs = "features"
    needs_training_set: ClassVar[bool] = False  # then `see_training_set` is called too, before the others

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        reason = why_no_samples(model) or why_no_features(data.image_shape, extractors)
        return reason or super().why_unavailable(model, files, data, extractors)

    def why_not_with(self, extractor: Extractor) -> str | None:
        """Why it can't use this extractor's features; None if it can."""
        return None

    def see_real(self, features: Features) -> None:
        """Take in the real images."""
        self.update(features.values, real=True)

    def see_fake(self, features: Features) -> None:
        """Take in the samples."""
        self.update(features.values, real=False)

    def see_training_set(self, features: Features) -> None:
        """Take in the images that the model has learned from, for metrics that ask for them."""
        raise NotImplementedError

    def reset_fake(self) -> None:
        """Forget the samples and keep what is known of the real images."""
        states = {name: getattr(self, name) for name in state_names(self) if name.startswith("real_")}
        # reset() empties lists in place
        kept = {name: list(state) if isinstance(state, list) else state for name, state in states.items()}
        self.reset()
        for name, state in kept.items():
            setattr(self, name, state)


class SampleMetric(ImageMetric):
    """Looks at samples as they are: `update(images, labels)`, in [-1, 1], labels those asked for (None: none were)."""

    needs = "samples"

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        return why_no_samples(model) or super().why_unavailable(model, files, data, extractors)


class PairedMetric(ImageMetric):
    """Looks at what a model makes of real images, batch by batch."""

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        if model is None:
            return NEEDS_MODEL
        if not hasattr(model, self.needs):
            return f"{type(model).__name__} has no {self.needs}"
        if model.num_classes and data.num_classes is None:
            return f"the model needs labels, and data={data.name} has none"
        return super().why_unavailable(model, files, data, extractors)

    def observe(self, model: Any, batch: Batch) -> None:
        """Ask the model for what the metric needs and update with it."""
        raise NotImplementedError


class ModelMetric(ImageMetric):
    """Asks the model itself, with an extractor at hand, such as for images of neighboring latents.

    Score names get the extractor's name behind a slash.
    """

    needs = "model"

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        if model is None:
            return NEEDS_MODEL
        reason = why_no_samples(model) or why_no_features(data.image_shape, extractors)
        return reason or super().why_unavailable(model, files, data, extractors)

    def why_not_with(self, extractor: Extractor) -> str | None:
        """Why it can't use this extractor's features; None if it can."""
        return None

    def measure(self, model: Any, extractor: Extractor, seed: int, rank: int, world_size: int) -> None:
        """Do this process's share; generators are seeded, and `compute` adds the shares up."""
        raise NotImplementedError


def why_no_samples(model: Any) -> str | None:
    """Why a model can't be sampled; None if it can, or if files take its place."""
    return None if model is None or model.generates else f"{type(model).__name__} makes no images"


def why_no_features(image_shape: tuple[int, ...], extractors: Mapping[str, Extractor]) -> str | None:
    """Why there are no features of images `(..., C, H, W)`; None if there are."""
    channels, height, width = image_shape[-3:]
    if not extractors:
        return "needs an extractor, and there is none (extractor=none)"
    if channels not in MODES:
        return f"extractors take 1, 3 or 4 channels, not {channels}"
    if min(height, width) < MIN_SIZE:
        return f"extractors take images from {MIN_SIZE} pixels a side, not {height}x{width}"
    return None


def why_no_labels(model: Any, data: Any) -> str | None:
    """Why samples can't be compared with the real images of their class; None if they can."""
    if model.num_classes is None:
        return "the samples have no labels" if hasattr(model, "sources") else f"{type(model).__name__} knows no classes"
    return None if data.num_classes else f"needs labels, and data={data.name} has none"
