"""Bases of metrics: torchmetrics Metrics that declare what they need and name their scores."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor
from torchmetrics import Metric

from lightning_gen.batch import Batch
from lightning_gen.data.factors import FactorData
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.images import MODES
from lightning_gen.metrics.features import Features
from lightning_gen.utilities.compat import state_names
from lightning_gen.utilities.renames import keep_overrides

MIN_SIZE = 4  # pixels a side of images that extractors take
NEEDS_MODEL = "needs a model, and files were given"

Direction = Literal["lower", "higher"]
Table = dict[str, list[Any]]  # columns by their heads


class ImageMetric(Metric):
    """One or more named scores of an image generator; extend one of its subclasses, which differ in what they look at.

    `needs` is "features", "samples", "model", or the name of a method that a model must have ("log_likelihood",
    "reconstruct"). `better` gives for each score that `compute` returns whether lower or higher is better.
    `compute` returns scalars; a score that is undefined (too few images) is NaN.
    """

    needs: ClassVar[str]
    better: dict[str, Direction]
    needs_labels: ClassVar[bool] = False  # those of the real images of the split
    min_images = 2  # with fewer on a side, its scores are NaN
    quick: ClassVar[bool] = True  # False: `compute` takes long even of few images, so it is not tried before a run
    full_state_update = False
    show_progress = False  # of long work besides the passes over images
    num_real: int | None = None  # number of real images, the first in evaluation order; None: the whole split

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keep_overrides(
            cls,
            observe="update_from",
            see_fake="update_fake",
            see_real="update_real",
            see_training_set="update_training_set",
        )

    def why_not(self, model: Any, data: Any) -> str | None:
        """Why it can't score this model (or the data that stand in for one) on these data; None if it can."""
        return None

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        """Why metrics of its kind, or else this one, can't score a model, or `files` without one; None if they can."""
        return self.why_not(files if model is None else model, data)

    def start(self, data: Any, split: str) -> None:
        """Reset and prepare for a split of `data`; not called for metrics of features."""
        self.reset()

    def compute(self) -> dict[str, Tensor]:
        """Score names to scalars."""
        raise NotImplementedError

    def reset_fake(self) -> None:
        """Reset the states of samples only: all but those named `real_...`."""
        states = {name: getattr(self, name) for name in state_names(self) if name.startswith("real_")}
        # reset() empties lists in place
        kept = {name: list(state) if isinstance(state, list) else state for name, state in states.items()}
        self.reset()
        for name, state in kept.items():
            setattr(self, name, state)

    def standard_errors(self) -> dict[str, float]:
        """Standard errors of scores that are means over images; called after `compute`."""
        return {}

    def curves(self) -> dict[str, list[float]]:
        """Scores as curves, for instance over the frames of a sequence; called after `compute`."""
        return {}

    def tables(self) -> dict[str, Table]:
        """Scores that are no single numbers, for instance of each class; called after `compute`."""
        return {}

    def pictures(self) -> dict[str, Callable[[], Tensor]]:
        """By the names of their files, functions that draw pictures `(C, H, W)`; called after `compute`."""
        return {}

    def protocol(self) -> dict[str, Any]:
        """Settings that the scores depend on; called after `compute`."""
        return {}


class FeatureMetric(ImageMetric):
    """Compares features of samples with features of real images: `update(features, real)`.

    Features are extracted once for all metrics of this kind, and passed to each at once by `update_real` and
    `update_fake`; metrics that need labels or logits override these. States of real images are named `real_...` and
    survive `reset_fake`. Score names get a slash and the extractor's name appended. One that sets `own_extractor` gets
    the features of that extractor alone, whichever are chosen by `extractor=`.
    """

    needs = "features"
    own_extractor: Extractor  # set by metrics that bring one
    needs_training_set: ClassVar[bool] = False  # whether to call `update_training_set`, before the others

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        reason = why_no_samples(model) or why_no_features(data.image_shape, extractors)
        return reason or super().why_unavailable(model, files, data, extractors)

    def why_not_with(self, extractor: Extractor) -> str | None:
        """Why it can't use this extractor's features; None if it can."""
        return None

    def update_real(self, features: Features) -> None:
        """Add the features of the real images."""
        self.update(features.values, real=True)

    def update_fake(self, features: Features) -> None:
        """Add the features of the samples."""
        self.update(features.values, real=False)

    def update_training_set(self, features: Features) -> None:
        """Add the features of the training images, for metrics with `needs_training_set`."""
        raise NotImplementedError

    def compute_parts(self, features: Features, parts: Tensor) -> Iterable[dict[str, Tensor]]:
        """The scores of each part of the samples, which tell how far the scores of all samples may be off.

        `parts` `(P, n)` are indices of the samples, whose `features` were given to `update_fake`; called after
        `compute`. Here each part is scored anew, as if there were no other samples. Override it where parts can share
        the work, such as distances of pairs of images. The states of the samples may be left in any condition.
        """
        for index in parts:
            self.reset_fake()
            self.update_fake(features.at(index))
            yield self.compute()

    def real_against_real(self) -> dict[str, tuple[float, float, int]]:
        """By score, what real images would get in place of samples, for scores whose scale says little by itself.

        Mean and standard deviation over pairs of disjoint subsets of the real images, and the images of a subset.
        """
        return {}


class SampleMetric(ImageMetric):
    """Evaluates samples by `update(images, labels)`: images in [-1, 1], the labels they were conditioned on or None."""

    needs = "samples"

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        return why_no_samples(model) or super().why_unavailable(model, files, data, extractors)


class RealAndSampleMetric(ImageMetric):
    """Compares samples with real images themselves: `update(images, labels, real)`.

    Images are in [-1, 1], `(B, C, H, W)` or `(B, T, C, H, W)`; labels are those of real images, or those that samples
    were conditioned on, or None. Real images come first, and once for all seeds: states of theirs are named `real_...`.
    """

    needs = "samples"

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        return why_no_samples(model) or super().why_unavailable(model, files, data, extractors)

    def update(self, images: Tensor, labels: Tensor | None, real: bool) -> None:
        """Add a batch of real images, or of samples."""
        raise NotImplementedError


class PairedMetric(ImageMetric):
    """Evaluates a model on real images, batch by batch."""

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        if model is None:
            return NEEDS_MODEL
        if not hasattr(model, self.needs):
            return f"{type(model).__name__} has no {self.needs}"
        if model.num_classes and data.num_classes is None:
            return f"the model needs labels, and data={data.name} has none"
        return super().why_unavailable(model, files, data, extractors)

    def update_from(self, model: Any, batch: Batch) -> None:
        """Update with the model's output on a batch."""
        raise NotImplementedError


class ModelMetric(ImageMetric):
    """Evaluates a model by itself with an extractor, for instance on images of neighboring latents.

    Score names get a slash and the extractor's name appended. One that sets `own_extractor` gets that one alone.
    """

    needs = "model"
    own_extractor: Extractor  # set by metrics that bring one

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        if model is None:
            return NEEDS_MODEL
        reason = why_no_samples(model) or why_no_features(data.image_shape, extractors)
        return reason or super().why_unavailable(model, files, data, extractors)

    def why_not_with(self, extractor: Extractor) -> str | None:
        """Why it can't use this extractor's features; None if it can."""
        return None

    def measure(self, model: Any, extractor: Extractor, seed: int, rank: int, world_size: int) -> None:
        """Update with this process's part of the work; random generators are seeded, `compute` reduces."""
        raise NotImplementedError


class FactorMetric(ImageMetric):
    """Evaluates the encoder of a model on images that it draws itself from a `FactorData`, whose factors are known.

    Every process does the same work.
    """

    needs = "encode"

    def why_unavailable(self, model: Any, files: Any, data: Any, extractors: Mapping[str, Extractor]) -> str | None:
        if model is None:
            return NEEDS_MODEL
        if not hasattr(model, self.needs):
            return f"{type(model).__name__} has no {self.needs}"
        if not isinstance(data, FactorData):
            return f"the factors of data={data.name} are not known, as those of data=dsprites are"
        return super().why_unavailable(model, files, data, extractors)

    def measure(self, model: Any, data: Any, batch_size: int) -> None:
        """Update with images of `data.draw(levels)`; random generators are seeded."""
        raise NotImplementedError


def extractors_for(name: str, metric: ImageMetric, chosen: Mapping[str, Extractor]) -> Mapping[str, Extractor]:
    """The extractors of the metric called `name`, by their names in protocols: its own, or those that are chosen."""
    # A default of the class would hide the module of this name.
    own: Any = getattr(metric, "own_extractor", None)
    return chosen if own is None else {f"metrics.{name}": own}


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
