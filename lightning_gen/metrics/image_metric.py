"""What a metric is: a torchmetrics Metric that says what it needs and names its scores."""

from typing import Any, ClassVar, Literal

from torch import Tensor
from torchmetrics import Metric

from lightning_gen.batch import Batch


class ImageMetric(Metric):
    """Gives one or more named scores of an image generator.

    `needs` is "features", "samples", or the name of a method that a model must have ("log_likelihood", "reconstruct").
    `better` says of each score that `compute` returns which direction is the good one.
    Tensors that `compute` returns are scalars; a score that does not exist (too few images) is NaN.
    """

    needs: ClassVar[str]
    better: ClassVar[dict[str, Literal["lower", "higher"]]]
    full_state_update = False

    def why_not(self, model: Any, data: Any) -> str | None:
        """Why it can't score this model on these data; None if it can."""
        return None

    def start(self, data: Any, split: str) -> None:
        """Forget what was seen and get ready for a split of `data`; not called for metrics of features."""
        self.reset()

    def compute(self) -> dict[str, Tensor]:
        """Score names to scalars."""
        raise NotImplementedError

    def curves(self) -> dict[str, list[float]]:
        """Scores along something, such as the frames of a sequence, asked for after `compute`."""
        return {}

    def protocol(self) -> dict[str, Any]:
        """Settings that the scores depend on, asked for after `compute`."""
        return {}


class FeatureMetric(ImageMetric):
    """Compares features of samples with features of real images: `update(features, real)`.

    The features are extracted once for all metrics of this kind. States of real images are named `real_...`, so that
    they can stay where the same images would be seen again. Score names get the extractor's name behind a slash.
    """

    needs = "features"
    real_images: Any = None  # which set the real states are of; None before there are any

    def reset_fake(self) -> None:
        """Forget the samples and keep what is known of the real images."""
        states = {name: getattr(self, name) for name in self._defaults if name.startswith("real_")}
        # reset() empties lists in place
        kept = {name: list(state) if isinstance(state, list) else state for name, state in states.items()}
        self.reset()
        for name, state in kept.items():
            setattr(self, name, state)


class SampleMetric(ImageMetric):
    """Looks at samples as they are: `update(images, labels)`, in [-1, 1], labels those asked for (None: none were)."""

    needs = "samples"


class PairedMetric(ImageMetric):
    """Looks at what a model makes of real images, batch by batch."""

    def observe(self, model: Any, batch: Batch) -> None:
        """Ask the model for what the metric needs and update with it."""
        raise NotImplementedError
