"""The passes of an evaluation: one over real images, one over samples for each seed, shared by all metrics."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.evaluation import feature_cache
from lightning_gen.evaluation.building import scores_of
from lightning_gen.evaluation.halves import deviations_of_halves
from lightning_gen.evaluation.result import Direction, Origin
from lightning_gen.evaluation.sample_sources import Sampler
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.images import to_uint8
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.image_metric import (
    FactorMetric,
    FeatureMetric,
    ImageMetric,
    ModelMetric,
    PairedMetric,
    RealAndSampleMetric,
    SampleMetric,
    Table,
    extractors_for,
)
from lightning_gen.randomness import seed_all
from lightning_gen.utilities.compat import without_sync
from lightning_gen.utilities.progress import Advance, progress, sampling_progress
from lightning_gen.utilities.ranks import Ranks, sum_over_ranks

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator

T = TypeVar("T")
Key = tuple[str, str]  # a metric and an extractor, by their names in the config (own ones: `metrics.<name>`)


class SeedScore(NamedTuple):
    """A score for one seed."""

    value: float
    direction: Direction
    origin: Origin
    error: float | None  # standard error, where the metric knows it


def _are_finite(images: Tensor) -> Tensor:
    """Which images `(B, ...)` have no NaN or infinity, `(B,)`."""
    return images.flatten(1).isfinite().all(1)


class EvaluationPasses:
    """Updates `metrics`, all of which must be available for the model and the extractors, and computes their scores.

    Batches are sharded over ranks with a stride, and are the same for any number of ranks. Features are gathered in
    the order of the images before the first rank compares them, so scores of features do not depend on the number of
    ranks. Only features are kept, as float32: 4 bytes x number of features for each image, real or generated.
    """

    def __init__(
        self,
        model: "ImageGenerator | None",
        data: "ImageData",
        metrics: Mapping[str, ImageMetric],
        extractors: Mapping[str, Extractor],
        *,
        split: str,
        n_real: int,
        n_fake: int,
        batch_size: int,
        device: torch.device,
        show_progress: bool,
    ):
        self.model = model
        self.data = data
        self.split = split
        self.n_real = n_real
        self.n_fake = n_fake
        self.batch_size = batch_size
        self.device = device
        self.ranks = Ranks()
        self.show_progress = show_progress and self.ranks.is_first
        self.order = list(metrics)
        self.skipped: dict[str, str] = {}
        self.images: dict[str, str] = {}  # fingerprints of the real images, by split
        self.curves: dict[str, list[float]] = {}  # of the last seed
        self.tables: dict[str, Table] = {}  # of the last seed
        self.pictures: dict[str, Callable[[], Tensor]] = {}  # of the last seed, on the first rank only
        self.settings: dict[str, dict[str, Any]] = {}  # protocols of the metrics, by name
        self.broken_samples = 0  # with NaN or infinity, of all seeds
        self._group_by_kind(metrics, extractors)
        for _, _, metric in self._members():  # they sum in float64, which Apple's devices lack
            metric.to(self._metric_device())
            metric.show_progress = self.show_progress
            metric.num_real = n_real
        for extractor in self.extractors.values():
            extractor.to(device)

    def _group_by_kind(self, metrics: Mapping[str, ImageMetric], extractors: Mapping[str, Extractor]) -> None:
        """Sort metrics by base class, with a copy for each extractor that they can use."""
        self.extractors: dict[str, Extractor] = {}  # those that are used
        self.feature_metrics: dict[Key, FeatureMetric] = {}
        self.model_metrics: dict[Key, ModelMetric] = {}
        self.sample_metrics: dict[str, SampleMetric] = {}
        self.comparing_metrics: dict[str, RealAndSampleMetric] = {}
        self.paired_metrics: dict[str, PairedMetric] = {}
        self.factor_metrics: dict[str, FactorMetric] = {}
        for name, metric in metrics.items():
            if isinstance(metric, SampleMetric):
                self.sample_metrics[name] = metric
            elif isinstance(metric, RealAndSampleMetric):
                self.comparing_metrics[name] = metric
            elif isinstance(metric, PairedMetric):
                self.paired_metrics[name] = metric
            elif isinstance(metric, FactorMetric):
                self.factor_metrics[name] = metric
            elif isinstance(metric, FeatureMetric | ModelMetric):
                self._add_for_extractors(name, metric, extractors_for(name, metric, extractors))
        self.draws_samples = bool(self.feature_metrics or self.sample_metrics or self.comparing_metrics)

    def _add_for_extractors(
        self, name: str, metric: FeatureMetric | ModelMetric, extractors: Mapping[str, Extractor]
    ) -> None:
        for key, extractor in extractors.items():
            if reason := extractor.why_not(self.data.image_shape) or metric.why_not_with(extractor):
                self.skipped[f"{name}/{extractor.name}"] = reason
                continue
            self.extractors[key] = extractor
            own = copy.deepcopy(metric, {id(extractor): extractor})  # without a copy of its weights
            if isinstance(own, FeatureMetric):
                self.feature_metrics[name, key] = own
            else:
                self.model_metrics[name, key] = own

    def _members(self) -> Iterator[tuple[str, str | None, ImageMetric]]:
        """All metrics with their name and that of their extractor."""
        for metrics in (self.feature_metrics, self.model_metrics):
            for (name, key), metric in metrics.items():
                yield name, key, metric
        for name, metric in self._without_features().items():
            yield name, None, metric

    def _without_features(self) -> dict[str, ImageMetric]:
        return {**self.sample_metrics, **self.comparing_metrics, **self.paired_metrics, **self.factor_metrics}

    # Real images

    def update_real(self) -> None:
        """Update metrics with real images, or with their features, from the cache where it has them."""
        self._comparing_pass()
        trained = [key for key, metric in self.feature_metrics.items() if metric.needs_training_set]
        if trained:
            features = self._real_features("train", self.data.split_sizes["train"], {key for _, key in trained})
            if self.ranks.is_first:
                for name, key in trained:
                    self.feature_metrics[name, key].update_training_set(features[key])
        # Without feature metrics too: the fingerprint keeps scores of other images from being compared.
        features = self._real_features(self.split, self.n_real, {key for _, key in self.feature_metrics})
        if self.ranks.is_first:
            for (_, key), metric in self.feature_metrics.items():
                metric.update_real(features[key])

    def _comparing_pass(self) -> None:
        """Show real images to the metrics that compare samples with them."""
        if not self.comparing_metrics:
            return
        for metric in self.comparing_metrics.values():
            metric.start(self.data, self.split)
        with self._progress(f"real images ({self.split})", self.n_real) as advance:
            for batch in self.data.batches(self.split, self.device, limit=self.n_real, batch_size=self.batch_size):
                for metric in self.comparing_metrics.values():
                    metric.update(batch.images, batch.labels, real=True)
                advance(len(batch.images))

    def _real_features(self, split: str, n: int, keys: set[str]) -> dict[str, Features]:
        """Features by extractor, complete on the first rank only; sets the fingerprint of the images."""
        self.images[split], labels = self.ranks.run_on_first(
            lambda: feature_cache.fingerprint(self.data, split, n, self.batch_size)
        )
        given = n, self.batch_size, self.data.image_shape
        paths = {key: feature_cache.path_of(self.images[split], self.extractors[key], *given) for key in keys}
        values: dict[str, Tensor] = {}
        if self.ranks.is_first:
            for key, path in paths.items():
                cached = feature_cache.read(path, (n * self._rows_per_image(key), self.extractors[key].num_features))
                if cached is not None:
                    values[key] = cached
        missing = self.ranks.run_on_first(lambda: sorted(keys - values.keys()))
        if missing:
            for key, extracted in self._extract_real(split, n, missing).items():
                values[key] = extracted
                if self.ranks.is_first:
                    feature_cache.write(paths[key], extracted)
        return {key: self._features(key, found, labels) for key, found in values.items()}

    def _extract_real(self, split: str, n: int, keys: list[str]) -> dict[str, Tensor]:
        buffers = {key: self._feature_buffer(key, n) for key in keys}
        seed_all("evaluate", "real", split)
        with self._progress(f"real images ({split})", n) as advance:
            batches = self.data.batches(split, self.device, limit=n, batch_size=self.batch_size)
            for start, batch in zip(self._batch_starts(n), batches, strict=True):
                self._extract(buffers, batch.images, start)
                advance(len(batch.images))
        return {key: sum_over_ranks(buffer) for key, buffer in buffers.items()}

    def _batch_starts(self, n: int) -> range:
        """Indices of the first images of this rank's batches."""
        return range(0, n, self.batch_size)[self.ranks.rank :: self.ranks.size]

    def _progress(self, title: str, n: int) -> AbstractContextManager[Advance]:
        local = sum(min(self.batch_size, n - start) for start in self._batch_starts(n))
        return progress(title, local, self.show_progress)

    # Features

    def _rows_per_image(self, key: str) -> int:
        """Feature vectors per image: one, or one per frame of a sequence for extractors of single images."""
        shape = self.data.image_shape
        return 1 if len(shape) == 3 or self.extractors[key].takes_clips else shape[0]

    def _feature_buffer(self, key: str, n: int) -> Tensor:
        return torch.zeros(n * self._rows_per_image(key), self.extractors[key].num_features, device=self.device)

    def _extract(self, buffers: Mapping[str, Tensor], images: Tensor, start: int) -> None:
        """Write the features of a batch, whose first image has index `start`, to their rows of the buffers."""
        values = to_uint8(images)
        finite = _are_finite(images)
        for key, buffer in buffers.items():
            rows = self._rows_per_image(key)
            features = self.extractors[key](values if rows == 1 else values.flatten(0, 1))
            # 8-bit values have no NaN: without this a broken model would get a score.
            features = features.masked_fill(~finite.repeat_interleave(rows)[:, None], torch.nan)
            buffer[start * rows : start * rows + len(features)] = features

    def _features(self, key: str, values: Tensor, labels: Tensor | None) -> Features:
        values = values.to(self._metric_device())
        if labels is not None:
            labels = labels.to(values.device).repeat_interleave(self._rows_per_image(key))
        return Features(values, labels, self.extractors[key])

    def _metric_device(self) -> torch.device:
        return torch.device("cpu") if self.device.type == "mps" else self.device

    # Scores

    def score(self, sampler: Sampler, seed: int) -> dict[str, SeedScore]:
        """The scores of the samples of one seed, in the order of the metrics."""
        self._paired_pass(seed)
        self._sample_pass(sampler)
        for (name, key), metric in self.model_metrics.items():
            metric.start(self.data, self.split)
            seed_all("evaluate", seed, name)
            metric.measure(self.model, self.extractors[key], seed, self.ranks.rank, self.ranks.size)
        for name, metric in self.factor_metrics.items():
            metric.start(self.data, self.split)
            seed_all("evaluate", seed, name)
            metric.measure(self.model, self.data, self.batch_size)
        found = self.ranks.run_on_first(lambda: list(self._compare()))
        for (name, key), metric in self.model_metrics.items():
            found += self._compute(name, metric, key)
        for name, metric in self._without_features().items():
            found += self._compute(name, metric)
        found.sort(key=lambda item: self.order.index(item[1].origin.metric))
        scores: dict[str, SeedScore] = {}
        for name, score in found:
            if name in scores:
                metric = score.origin.metric
                raise UserError(f"metrics.{metric}: another metric gives the score {name} too; leave one out")
            scores[name] = score
        # Read now: halves of the samples will overwrite them.
        self.curves, self.tables, self.settings = self.ranks.run_on_first(
            lambda: (
                self._by_score_name(lambda metric: metric.curves()),
                self._by_score_name(lambda metric: metric.tables()),
                self._protocols(),
            )
        )
        self.pictures = self._by_score_name(lambda metric: metric.pictures()) if self.ranks.is_first else {}
        return scores

    def _paired_pass(self, seed: int) -> None:
        if not self.paired_metrics:
            return
        for metric in self.paired_metrics.values():
            metric.start(self.data, self.split)
        seed_all("evaluate", seed, "real")
        with self._progress(f"model on real images ({self.split})", self.n_real) as advance:
            batches = self.data.batches(self.split, self.device, limit=self.n_real, batch_size=self.batch_size)
            for start, batch in zip(self._batch_starts(self.n_real), batches, strict=True):
                for name, metric in self.paired_metrics.items():
                    # Seeded by name: a score does not depend on the other metrics.
                    seed_all("evaluate", seed, name, start)
                    metric.update_from(self.model, batch)
                advance(len(batch.images))

    def _sample_pass(self, sampler: Sampler) -> None:
        """Generate the samples batch by batch; only their features are kept."""
        self.fakes: dict[str, Features] = {}
        for metric in self.sample_metrics.values():
            metric.start(self.data, self.split)
        for metric in self.comparing_metrics.values():
            metric.reset_fake()
        if not self.draws_samples:
            return
        n = self.n_fake
        keys = dict.fromkeys(key for _, key in self.feature_metrics)  # all ranks must sum in the same order
        buffers = {key: self._feature_buffer(key, n) for key in keys}
        label_buffer = torch.zeros(n, dtype=torch.int64, device=self.device)
        labels, broken = None, torch.zeros((), dtype=torch.int64, device=self.device)
        with self._progress("samples", n) as advance:
            for start in self._batch_starts(n):
                size = min(self.batch_size, n - start)
                with sampling_progress(self.model, size, advance):
                    images, labels = sampler(start, size)
                broken += (~_are_finite(images)).sum()
                self._extract(buffers, images, start)
                for metric in self.sample_metrics.values():
                    metric.update(images, labels)
                for metric in self.comparing_metrics.values():
                    metric.update(images, labels, real=False)
                if labels is not None:
                    label_buffer[start : start + len(images)] = labels
        self.broken_samples += int(sum_over_ranks(broken))
        labeled = self.ranks.run_on_first(lambda: labels is not None)
        all_labels = sum_over_ranks(label_buffer) if labeled else None
        self.fakes = {key: self._features(key, sum_over_ranks(buffer), all_labels) for key, buffer in buffers.items()}

    def _compare(self) -> Iterator[tuple[str, SeedScore]]:
        """The scores of the feature metrics, which this rank computes alone."""
        for (name, key), metric in self.feature_metrics.items():
            without_sync(metric)
            metric.reset_fake()
            metric.update_fake(self.fakes[key])
            yield from self._compute(name, metric, key)

    def _compute(self, name: str, metric: ImageMetric, key: str | None = None) -> list[tuple[str, SeedScore]]:
        values = scores_of(name, metric)
        errors = metric.standard_errors()
        origin = self._origin(name, metric, key)
        return [
            (self._score_name(score, key), SeedScore(value, metric.better[score], origin, errors.get(score)))
            for score, value in values.items()
        ]

    def _origin(self, name: str, metric: ImageMetric, key: str | None) -> Origin:
        splits = [self.split]
        if isinstance(metric, FeatureMetric) and metric.needs_training_set:
            splits.append("train")
        return Origin(name, key, isinstance(metric, FeatureMetric | SampleMetric | RealAndSampleMetric), splits)

    def _score_name(self, score: str, key: str | None) -> str:
        return score if key is None else self.extractors[key].score_name(score)

    def real_against_real(self) -> dict[str, tuple[float, float, int]]:
        """What `FeatureMetric.real_against_real` gives, by the names of the scores."""
        return self.ranks.run_on_first(
            lambda: {
                self._score_name(score, key): floor
                for (_, key), metric in self.feature_metrics.items()
                for score, floor in metric.real_against_real().items()
            }
        )

    def half_sample_deviations(self, draws: int, seed: int) -> dict[str, float]:
        """Standard errors of feature scores due to the finite number of samples, for the last seed."""
        if not self.feature_metrics:
            return {}
        return self.ranks.run_on_first(lambda: self._half_sample_deviations(draws, seed))

    def _half_sample_deviations(self, draws: int, seed: int) -> dict[str, float]:
        found: dict[str, float] = {}
        with progress("halves of the samples", draws * len(self.feature_metrics), self.show_progress) as advance:
            for (name, key), metric in self.feature_metrics.items():
                deviations = deviations_of_halves(name, metric, self.fakes[key], draws, seed, advance)
                found |= {self._score_name(score, key): value for score, value in deviations.items()}
        return found

    def _by_score_name(self, found: Callable[[ImageMetric], Mapping[str, T]]) -> dict[str, T]:
        """What `found` gives for each metric, by the names of scores."""
        return {
            self._score_name(name, key): value
            for _, key, metric in self._members()
            for name, value in found(metric).items()
        }

    def _protocols(self) -> dict[str, dict[str, Any]]:
        protocols = {name: metric.protocol() for name, _, metric in self._members()}
        return {name: protocols[name] for name in self.order if protocols.get(name)}
