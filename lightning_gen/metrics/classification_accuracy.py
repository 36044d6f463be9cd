"""Classification accuracy score (CAS), https://arxiv.org/abs/1905.10887."""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveInt
from lightning_gen.data.augment import normalize
from lightning_gen.data.loader import EvaluationBatches
from lightning_gen.images import to_uint8
from lightning_gen.metrics.accuracy import Accuracy, scores_by_class
from lightning_gen.metrics.image_metric import SampleMetric, why_no_labels
from lightning_gen.metrics.stored_features import concat
from lightning_gen.randomness import generator, preserved_rng, seed_all
from lightning_gen.utilities.compat import without_sync
from lightning_gen.utilities.progress import Advance, progress
from lightning_gen.utilities.ranks import Ranks

if TYPE_CHECKING:
    from lightning_gen.models.classifier import Classifier


class ClassificationAccuracy(SampleMetric):
    """Accuracy and mean recall on all real images of the split of a classifier trained on labeled samples only.

    `classifier(image_shape, num_classes)` is trained for `images` images on the `num_samples` samples and the labels
    they were conditioned on, by one process. The curve has the recall of each class. Stores all samples in 8 bits.
    """

    better = {"classification_accuracy": "higher", "classification_recall": "higher"}
    needs_labels = True

    images: list[Tensor]
    labels: list[Tensor]
    broken: Tensor  # number of samples that are not finite

    def __init__(
        self,
        classifier: "Callable[..., Classifier]",
        images: PositiveInt = 100_000,
        batch_size: PositiveInt = 128,
        seed: int = 0,
    ):
        super().__init__()
        self.classifier = classifier
        self.num_images = images
        self.batch_size = batch_size
        self.seed = seed
        self.recall: list[float] = []
        self.num_real = 0
        for state in ("images", "labels"):
            self.add_state(state, [], dist_reduce_fx="cat")
        self.add_state("broken", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def why_not(self, model: Any, data: Any) -> str | None:
        """Samples and real images must have labels."""
        return "takes single images" if len(data.image_shape) != 3 else why_no_labels(model, data)

    def start(self, data: Any, split: str) -> None:
        super().start(data, split)
        self.data, self.split = data, split
        self.num_real = len(data.sources[split])
        # so that a process without samples can take part in the reduction
        self.images.append(torch.zeros(0, *data.image_shape, dtype=torch.uint8, device=self.device))
        self.labels.append(torch.zeros(0, dtype=torch.int64, device=self.device))

    def update(self, images: Tensor, labels: Tensor) -> None:
        """Add samples `(B, C, H, W)` in [-1, 1] and the labels they were conditioned on."""
        self.broken += (~images.flatten(1).isfinite().all(1)).sum().to(self.broken.device)
        self.images.append(to_uint8(images).to(self.device))
        self.labels.append(labels.to(self.device))

    def compute(self) -> dict[str, Tensor]:
        """Both scores; NaN without samples or with samples that are not finite."""
        images, labels = concat(self.images), concat(self.labels)
        if self.broken > 0 or not len(images):
            self.recall = []
            return dict.fromkeys(self.better, torch.tensor(math.nan))
        scores, self.recall = Ranks().run_on_first(lambda: self._score(images, labels))
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in scores.items()}

    def _score(self, images: Tensor, labels: Tensor) -> tuple[dict[str, float], list[float]]:
        order = canonical_order(images, labels)
        with preserved_rng(), torch.enable_grad():
            seed_all("classification accuracy", self.seed)
            classifier = self.classifier(image_shape=self.data.image_shape, num_classes=self.data.num_classes)
            classifier.setup_parts()
            classifier.to(self.device)
            with progress("samples for a classifier", self.num_images, self.show_progress) as advance:
                train(classifier, images[order], labels[order], self.num_images, self.batch_size, self.seed, advance)
        metric = Accuracy().to(self.device)
        without_sync(metric)  # only this process computes
        metric.start(self.data, self.split)
        with torch.no_grad(), preserved_rng(), classifier.averaged_weights():
            classifier.eval()
            seed_all("classification accuracy", self.seed, "real")
            source = self.data.sources[self.split]
            options = {"binarize": self.data.binarize, "device": self.device}
            for batch in EvaluationBatches(source, batch_size=self.batch_size, **options):
                metric.update_from(classifier, batch)
        accuracies = metric.compute()
        recall = scores_by_class(metric.confusion)[1].tolist()
        return {
            "classification_accuracy": accuracies["accuracy"].item(),
            "classification_recall": accuracies["mean_recall"].item(),
        }, recall

    def curves(self) -> dict[str, list[float]]:
        """The recall of each class; NaN for classes without real images."""
        return {"classification_recall": self.recall} if self.recall else {}

    def protocol(self) -> dict[str, Any]:
        """The classifier, the length of its training, and the number of real test images."""
        training = {"images": self.num_images, "batch_size": self.batch_size, "seed": self.seed}
        return {**training, "n_real": self.num_real, "classifier": config_of(self.classifier)}


def config_of(value: Any) -> Any:
    """The config of a partial function (`_target_` and arguments); other values as they are."""
    if not isinstance(value, partial):
        return value
    name = f"{value.func.__module__}.{value.func.__qualname__}"
    return {"_target_": name} | {key: config_of(argument) for key, argument in value.keywords.items()}


def canonical_order(images: Tensor, labels: Tensor) -> Tensor:
    """An order of uint8 images `(N, C, H, W)` by content: the same for any distribution over processes."""
    flat = images.flatten(1)
    weights = torch.randint(-(2**62), 2**62, (flat.shape[1],), generator=generator("own order")).to(images.device)
    hashes = torch.cat([(rows.long() * weights).sum(1) for rows in flat.split(1024)])
    by_label = labels.argsort(stable=True)
    return by_label[hashes[by_label].argsort(stable=True)]


def train(
    classifier: "Classifier",
    images: Tensor,
    labels: Tensor,
    num_images: int,
    batch_size: int,
    seed: int,
    advance: Advance,
) -> None:
    """Train for `num_images` images, in epochs over `images` `(N, C, H, W)`, uint8, with `labels` `(N,)`."""
    classifier.train()
    [(make, parameters)] = classifier.trainable_groups()
    optimizer = make(parameters)  # not a Stepper, which would wait for gradients of other processes
    rates = [group["lr"] for group in optimizer.param_groups]
    size = min(batch_size, len(images))
    seen, epoch = 0, 0
    while seen < num_images:
        order = torch.randperm(len(images), generator=generator("classification accuracy", seed, epoch))
        order = order.to(images.device)  # at once: no wait in a step
        for index in order.split(size):
            if len(index) < size or seen >= num_images:
                break
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (classifier.schedule(seen, num_images) if classifier.schedule else 1)
            optimizer.zero_grad()
            classifier.losses(Batch(normalize(images[index]), labels[index]))["loss"].backward()
            if classifier.gradient_clip is not None:
                nn.utils.clip_grad_norm_(parameters, classifier.gradient_clip)
            optimizer.step()
            classifier.update_averages(*classifier.averages)
            classifier.batches_seen += 1
            seen += size
            advance(size)
        epoch += 1
