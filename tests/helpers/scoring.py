"""Metrics of samples in a size for tests, extractors that cost nothing, and a model that makes given images."""

import torch
from torch import nn

from helpers.configs import composed
from lightning_gen.evaluation.evaluator import build_metrics
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.metrics.image_metric import ImageMetric


class Pixels(Extractor):
    """Means over quarters of the image; counts what it is shown."""

    name = "pixels"
    num_features = 4

    def __init__(self):
        super().__init__()
        self.seen = 0

    def features(self, images):
        self.seen += len(images)
        return nn.functional.adaptive_avg_pool2d(images.float(), 2)[:, 0].flatten(1)

    def protocol(self):
        return {"name": "pixels"}


class ClassifyingPixels(Pixels):
    """Has logits."""

    def logits(self, features):
        return torch.stack([features.mean(1), 0 * features[:, 0]], 1) / 50


class Given(ImageGenerator):
    """Makes the images it was given, over and over."""

    def __init__(self, images, num_classes=None):
        conditional = num_classes is not None
        super().__init__(tuple(images.shape[1:]), num_classes, conditional=conditional, optimizer=torch.optim.Adam)
        self.averages = nn.ModuleDict()
        self.images = images
        self.made = 0

    def sample(self, n, labels=None):
        index = torch.arange(self.made, self.made + n) % len(self.images)
        self.made += n
        return self.images[index]


def sample_metrics(*overrides: str) -> dict[str, ImageMetric]:
    """Those that are not scored by default, as the config has them but for their size."""
    names = "inception_score,mifid,class_frechet,diversity,memorization,path_length,precision_recall"
    chosen = ["checkpoint=x", f"metrics=[{names},classification_accuracy,active_units]"]
    score = "metrics.classification_accuracy"
    small = ["metrics.path_length.pairs=20", "metrics.path_length.batch_size=8", "metrics.precision_recall.k=1"]
    small += [f"{score}.{key}" for key in ("images=200", "batch_size=16", "classifier.ema_decay=0.9")]
    small += [f"{score}.classifier.encoder.{key}" for key in ("width=4", "depth=1", "hidden=8")]
    return build_metrics(composed(*chosen, *small, *overrides, command="evaluate").metrics)
