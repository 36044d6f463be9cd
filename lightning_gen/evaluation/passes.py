"""The passes of an evaluation: real images once, samples in one stream, each seen by all metrics that want it."""

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from lightning_gen.errors import UserError
from lightning_gen.evaluation import feature_cache
from lightning_gen.evaluation.sample_sources import Sampler
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.images import to_uint8
from lightning_gen.metrics.features import Features
from lightning_gen.metrics.image_means import deviation
from lightning_gen.metrics.image_metric import FeatureMetric, ImageMetric, ModelMetric, PairedMetric, SampleMetric
from lightning_gen.randomness import generator, seed_all
from lightning_gen.utilities.progress import progress, sampling_progress
from lightning_gen.utilities.ranks import Group

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator

Key = tuple[str, str]  # a metric and an extractor, by their names in the config


class Score(NamedTuple):
    """A value, which direction is the good one, and what it comes from; its standard error where the metric knows."""

    value: float
    better: str
    metric: str
    extractor: str | None
    error: float | None


class Scoring:
    """Feeds `metrics`, which the model and the extractors are able to serve, and asks them for their scores.

    Each process sees every so many-th batch, the batches being the same for any number of processes. Features come
    together in the order of the images before the first process compares them: what it finds does not depend on how
    many there are. They are all that is kept, as float32: 4 bytes x number of features an image, real or drawn.
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
        self.group = Group()
        self.show_progress = show_progress and self.group.rank == 0
        self.order = list(metrics)
        self.skipped: dict[str, str] = {}
        self.images: dict[str, str] = {}  # fingerprints of what was compared with, by split
        self.curves: dict[str, list[float]] = {}  # of the last run: scores along something
        self.settings: dict[str, dict[str, Any]] = {}  # and what its scores depend on, by metric
        self._sort(metrics, extractors)
        for metric in self._all():  # they sum in float64, which Apple's devices don't have
            metric.to("cpu" if device.type == "mps" else device)
            metric.show_progress = self.show_progress
            metric.num_real = n_real
        for extractor in self.extractors.values():
            extractor.to(device)

    def _sort(self, metrics: Mapping[str, ImageMetric], extractors: Mapping[str, Extractor]) -> None:
        """Metrics by what they need; those of features once for each extractor that they can use."""
        self.compared: dict[Key, FeatureMetric] = {}
        self.asked: dict[Key, ModelMetric] = {}
        for name, metric in metrics.items():
            for key, extractor in extractors.items() if isinstance(metric, FeatureMetric | ModelMetric) else ():
                if reason := extractor.why_not(self.data.image_shape) or metric.why_not_with(extractor):
                    self.skipped[f"{name}/{extractor.name}"] = reason
                else:
                    group = self.compared if isinstance(metric, FeatureMetric) else self.asked
                    group[name, key] = copy.deepcopy(metric)
        self.sampled = {name: metric for name, metric in metrics.items() if isinstance(metric, SampleMetric)}
        self.paired = {name: metric for name, metric in metrics.items() if isinstance(metric, PairedMetric)}
        self.extractors = {key: extractors[key] for _, key in (*self.compared, *self.asked)}
        self.draws = bool(self.compared or self.sampled)

    def _all(self) -> list[ImageMetric]:
        return [*self.compared.values(), *self.asked.values(), *self.sampled.values(), *self.paired.values()]

    # Real images

    def real_pass(self) -> None:
        """Show real images' features to the metrics that compare: from the cache, where they are in it."""
        learned = [key for key, metric in self.compared.items() if metric.needs_training_set]
        if learned:
            found = self._real_features("train", self.data.num_images["train"], {key for _, key in learned})
            for name, key in learned if self.group.rank == 0 else ():
                self.compared[name, key].update_training_set(found[key])
        # Also where none are compared: scores of other images are not to be ranked together.
        found = self._real_features(self.split, self.n_real, {key for _, key in self.compared})
        for (_, key), metric in self.compared.items() if self.group.rank == 0 else ():
            metric.update_real(found[key])

    def _real_features(self, split: str, n: int, keys: Collection[str]) -> dict[str, Features]:
        """By extractor, in the first process only; says in `images` which images they are of."""
        self.images[split], labels = self.group.from_first(
            lambda: feature_cache.fingerprint(self.data, split, n, self.batch_size)
        )
        paths = {
            key: feature_cache.path_of(self.images[split], self.extractors[key], n, self.batch_size) for key in keys
        }
        values = {}
        if self.group.rank == 0:
            shapes = {key: (n * self._per_image(key), self.extractors[key].num_features) for key in keys}
            values = {key: feature_cache.read(paths[key], shapes[key]) for key in keys}
        missing = self.group.from_first(lambda: sorted(key for key in keys if values[key] is None))
        if missing:
            for key, extracted in self._extract_real(split, n, missing).items():
                values[key] = extracted
                if self.group.rank == 0:
                    feature_cache.write(paths[key], extracted)
        return {key: self._features(key, found, labels) for key, found in values.items()}

    def _extract_real(self, split: str, n: int, keys: list[str]) -> dict[str, Tensor]:
        banks = {key: self._bank(key, n) for key in keys}
        seed_all("evaluate", "real", split)
        with self._progress(f"real images ({split})", n) as advance:
            batches = self.data.batches(split, self.device, limit=n, batch_size=self.batch_size)
            for start, batch in zip(self._starts(n), batches, strict=True):
                self._extract(banks, batch.images, start)
                advance(len(batch.images))
        return {key: self.group.summed(bank) for key, bank in banks.items()}

    def _starts(self, n: int) -> range:
        """The first images of this process's batches."""
        return range(0, n, self.batch_size)[self.group.rank :: self.group.size]

    def _progress(self, title: str, n: int) -> Any:
        share = sum(min(self.batch_size, n - start) for start in self._starts(n))
        return progress(title, share, self.show_progress)

    # Features

    def _per_image(self, key: str) -> int:
        """How many rows of features an image has: as many as it has frames, unless clips are looked at as a whole."""
        shape = self.data.image_shape
        return 1 if len(shape) == 3 or self.extractors[key].takes_clips else shape[0]

    def _bank(self, key: str, n: int) -> Tensor:
        return torch.zeros(n * self._per_image(key), self.extractors[key].num_features, device=self.device)

    def _extract(self, banks: Mapping[str, Tensor], images: Tensor, start: int) -> None:
        """Put the features of the images from number `start` on in their places."""
        values = to_uint8(images)
        finite = images.flatten(1).isfinite().all(1)
        for key, bank in banks.items():
            rows = self._per_image(key)
            features = self.extractors[key](values if rows == 1 else values.flatten(0, 1))
            # 8-bit values have no NaN: without this a broken model would get a score.
            features[~finite.repeat_interleave(rows)] = torch.nan
            bank[start * rows : start * rows + len(features)] = features

    def _features(self, key: str, values: Tensor, labels: Tensor | None) -> Features:
        values = values.to(self._metric_device())
        if labels is not None:
            labels = labels.to(values.device).repeat_interleave(self._per_image(key))
        return Features(values, labels, self.extractors[key])

    def _metric_device(self) -> torch.device:
        return torch.device("cpu") if self.device.type == "mps" else self.device

    # Scores

    def run(self, sampler: Sampler, seed: int) -> dict[str, Score]:
        """The scores of one set of samples, and of the model with this seed, in the order of the metrics."""
        self._paired_pass(seed)
        self._fake_pass(sampler)
        for (name, key), metric in self.asked.items():
            metric.start(self.data, self.split)
            seed_all("evaluate", seed, name)
            metric.measure(self.model, self.extractors[key], seed, self.group.rank, self.group.size)
        found = self.group.from_first(lambda: list(self._compare(self.fakes)))
        for (name, key), metric in self.asked.items():
            found += self._scores(name, metric, key)
        for name, metric in (self.sampled | self.paired).items():
            found += self._scores(name, metric)
        found.sort(key=lambda item: self.order.index(item[1].metric))
        scores: dict[str, Score] = {}
        for name, score in found:
            if name in scores:
                raise UserError(f"metrics.{score.metric}: another metric gives the score {name} too; leave one out")
            scores[name] = score
        # now: halves of the samples will leave theirs
        self.curves, self.settings = self.group.from_first(lambda: (self._curves(), self._settings()))
        return scores

    def _paired_pass(self, seed: int) -> None:
        if not self.paired:
            return
        for metric in self.paired.values():
            metric.start(self.data, self.split)
        seed_all("evaluate", seed, "real")
        with self._progress(f"model on real images ({self.split})", self.n_real) as advance:
            batches = self.data.batches(self.split, self.device, limit=self.n_real, batch_size=self.batch_size)
            for start, batch in zip(self._starts(self.n_real), batches, strict=True):
                for name, metric in self.paired.items():
                    # seeded by its name: a score does not depend on which others are computed with it
                    seed_all("evaluate", seed, name, start)
                    metric.update_from(self.model, batch)
                advance(len(batch.images))

    def _fake_pass(self, sampler: Sampler) -> None:
        """Draw the samples, batch by batch; none are kept, but for their features."""
        self.fakes: dict[str, Features] = {}
        for metric in self.sampled.values():
            metric.start(self.data, self.split)
        if not self.draws:
            return
        n = self.n_fake
        banks = {key: self._bank(key, n) for key in {key for _, key in self.compared}}
        given = torch.zeros(n, dtype=torch.int64, device=self.device)
        labels = None
        with self._progress("samples", n) as advance:
            for start in self._starts(n):
                size = min(self.batch_size, n - start)
                with sampling_progress(self.model, size, advance):
                    images, labels = sampler(start, size)
                self._extract(banks, images, start)
                for metric in self.sampled.values():
                    metric.update(images, labels)
                if labels is not None:
                    given[start : start + len(images)] = labels
        labeled = self.group.from_first(lambda: labels is not None)
        given = self.group.summed(given) if labeled else None
        self.fakes = {key: self._features(key, self.group.summed(bank), given) for key, bank in banks.items()}

    def _compare(self, fakes: Mapping[str, Features]) -> Iterator[tuple[str, Score]]:
        """The scores of the metrics that compare features, whose states one process holds alone."""
        for (name, key), metric in self.compared.items():
            metric.distributed_available_fn = lambda: False
            metric.reset_fake()
            metric.update_fake(fakes[key])
            yield from self._scores(name, metric, key)

    def _scores(self, name: str, metric: ImageMetric, key: str | None = None) -> list[tuple[str, Score]]:
        values = metric.compute()
        errors = metric.standard_errors()
        rename = self.extractors[key].score_name if key else str
        return [
            (rename(score), Score(value.item(), metric.better[score], name, key, errors.get(score)))
            for score, value in values.items()
        ]

    def half_samples(self, draws: int, seed: int) -> dict[str, float]:
        """How far the scores of the last samples may be off because there are no more of them.

        The standard deviation of what random halves of the samples score: drawn without replacement, a half's scatter
        is what the whole has around its expectation (delete-half jackknife, https://doi.org/10.1214/aos/1176347263).
        Samples drawn twice, as by the bootstrap, would be their own nearest neighbors.
        """
        if not self.compared:
            return {}
        return self.group.from_first(lambda: self._scatter(draws, seed))

    def _scatter(self, draws: int, seed: int) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        with progress("halves of the samples", draws, self.show_progress) as advance:
            for draw in range(draws):
                halves = {}
                for key, fake in self.fakes.items():
                    order = torch.randperm(len(fake), generator=generator("half samples", seed, draw))
                    halves[key] = fake.at(order[: len(fake) // 2].to(fake.values.device))
                for name, score in self._compare(halves):
                    found.setdefault(name, []).append(score.value)
                advance(1)
        deviations = {name: deviation(values) for name, values in found.items()}
        return {name: value for name, value in deviations.items() if value is not None}

    def _curves(self) -> dict[str, list[float]]:
        found = {
            self.extractors[key].score_name(name): curve
            for (_, key), metric in (*self.compared.items(), *self.asked.items())
            for name, curve in metric.curves().items()
        }
        for metric in (*self.sampled.values(), *self.paired.values()):
            found |= metric.curves()
        return found

    def _settings(self) -> dict[str, dict[str, Any]]:
        members = [*((name, metric) for (name, _), metric in (*self.compared.items(), *self.asked.items()))]
        members += [*self.sampled.items(), *self.paired.items()]
        found = {name: metric.protocol() for name, metric in members}
        return {name: found[name] for name in self.order if found.get(name)}
