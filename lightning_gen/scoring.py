"""The passes of an evaluation: real images once, samples in one stream, each seen by all metrics that want it."""

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.images import to_uint8
from lightning_gen.metrics.image_metric import FeatureMetric, ImageMetric, PairedMetric, SampleMetric
from lightning_gen.metrics.progress import drawing, progress
from lightning_gen.randomness import generator, seed_all

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator


@dataclass
class Scoring:
    """Feeds `metrics`, which the model and the extractor are able to serve, and asks them for their scores.

    Each process sees its share of the images; `compute` of the metrics adds the shares up.
    """

    model: "ImageGenerator"
    data: "ImageData"
    metrics: dict[str, ImageMetric]
    extractor: Extractor | None
    split: str
    n_real: int
    seed: int
    device: torch.device
    show_progress: bool

    def __post_init__(self) -> None:
        self.compared: dict[str, FeatureMetric] = {n: m for n, m in self.metrics.items() if m.needs == "features"}
        self.sampled: dict[str, SampleMetric] = {n: m for n, m in self.metrics.items() if m.needs == "samples"}
        others = self.metrics.keys() - self.compared.keys() - self.sampled.keys()
        self.paired: dict[str, PairedMetric] = {n: m for n, m in self.metrics.items() if n in others}
        self.draws = bool(self.compared or self.sampled)
        self.better: dict[str, str] = {}
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = torch.distributed.get_rank() if distributed else 0
        self.world_size = torch.distributed.get_world_size() if distributed else 1
        self.show_progress = self.show_progress and self.rank == 0
        for metric in self.metrics.values():  # they sum in float64, which Apple's devices don't have
            metric.to("cpu" if self.device.type == "mps" else self.device)
        if self.compared:
            self.extractor.to(self.device)

    def real_pass(self) -> None:
        """Feed all metrics with the real images; none whose features the metrics still have."""
        for metric in self.paired.values():
            metric.start(self.data, self.split)
        compared = self._without_real_features()
        if not compared and not self.paired:
            return
        seed_all("evaluate", self.seed, "real")
        share = len(range(self.rank, self.n_real, self.world_size))
        with progress(f"real images ({self.split})", share, self.show_progress) as advance:
            for index, batch in enumerate(self.data.batches(self.split, self.device, limit=self.n_real)):
                self._compare(compared, batch.images, real=True)
                for name, metric in self.paired.items():
                    # seeded by its name: a score does not depend on which others are computed with it
                    seed_all("evaluate", self.seed, name, index, self.rank)
                    metric.observe(self.model, batch)
                advance(len(batch.images))
        for metric in compared:
            metric.real_images = self._real_images()

    def _without_real_features(self) -> list[FeatureMetric]:
        """Empty the feature metrics of samples, and of real images other than these; return the latter metrics."""
        new = [metric for metric in self.compared.values() if metric.real_images != self._real_images()]
        for metric in self.compared.values():
            metric.reset() if metric in new else metric.reset_fake()
        for metric in new:
            metric.real_images = None
        return new

    def _real_images(self) -> tuple:
        return weakref.ref(self.data), weakref.ref(self.extractor), self.split, self.n_real

    def fake_pass(self, n: int, batch_size: int) -> None:
        """Draw `n` samples, batch by batch; none are kept."""
        if not self.draws:
            return
        for metric in self.sampled.values():
            metric.start(self.data, self.split)
        labels = self._labels(n)
        # Batches are seeded by their place, so that samples are the same for any number of processes.
        starts = range(0, n, batch_size)[self.rank :: self.world_size]
        with progress("samples", sum(min(batch_size, n - start) for start in starts), self.show_progress) as advance:
            for start in starts:
                size = min(batch_size, n - start)
                seed_all("evaluate", self.seed, "samples", start // batch_size)
                given = None if labels is None else labels[start : start + size]
                with drawing(self.model, size, advance):
                    images = self.model.sample(size, given)
                self._compare(list(self.compared.values()), images, real=False)
                for metric in self.sampled.values():
                    metric.update(images, given)

    def _labels(self, n: int) -> Tensor | None:
        """Labels in the proportions of the split: uniform if it has none, None for an unconditional model."""
        if self.model.num_classes is None:
            return None
        labels = self.data.sources[self.split].labels
        labels = torch.arange(self.model.num_classes) if labels is None else labels.cpu().sort().values
        evenly = ((torch.arange(n) + 0.5) * len(labels) / n).long()
        order = torch.randperm(n, generator=generator("evaluate", self.seed, "labels"))
        return labels[evenly][order].to(self.device)

    def _compare(self, metrics: list[FeatureMetric], images: Tensor, real: bool) -> None:
        if not metrics:
            return
        if images.ndim == 5:
            images = images.flatten(0, 1)  # frames count by themselves
        features = self.extractor(to_uint8(images))
        # 8-bit values have no NaN: without this a broken model would get a score.
        features[~images.flatten(1).isfinite().all(1)] = torch.nan
        for metric in metrics:
            metric.update(features, real=real)

    def scores(self) -> dict[str, float]:
        """All scores by name; names of feature metrics' scores carry the extractor's."""
        found: dict[str, float] = {}
        for name, metric in self.metrics.items():
            suffix = ""
            if name in self.compared:
                suffix = f"/{self.extractor.name}"
                self._give_shape(metric)
            for score, value in metric.compute().items():
                if score + suffix in found:
                    raise UserError(f"metrics.{name}: another metric gives the score {score} too; leave one out")
                found[score + suffix] = value.item()
                self.better[score + suffix] = metric.better[score]
        return found

    def _give_shape(self, metric: FeatureMetric) -> None:
        # Processes exchange states of equal shapes: one whose share was empty must not stay without.
        nothing = torch.empty(0, self.extractor.num_features, device=self.device)
        for real in (True, False):
            metric.update(nothing, real=real)

    def curves(self) -> dict[str, list[float]]:
        """Scores along something; to be asked for after `scores`."""
        return {name: curve for metric in self.metrics.values() for name, curve in metric.curves().items()}

    def settings(self) -> dict[str, dict[str, Any]]:
        """What the metrics' scores depend on, by metric; to be asked for after `scores`."""
        return {name: settings for name, metric in self.metrics.items() if (settings := metric.protocol())}
