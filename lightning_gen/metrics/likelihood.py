"""Evidence lower bound and importance-weighted likelihood, https://arxiv.org/abs/1509.00519."""

import math
from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveInt
from lightning_gen.metrics.image_means import ImageMeans


class Likelihood(ImageMeans):
    """Means over images of the negative lower bound and of the tighter bound from `samples` importance samples.

    In nats per image and in bits per dimension (a dimension is one channel of one pixel). Log-likelihoods are those
    of images on 256 levels (two for a Bernoulli model), so uniform noise has 8 bits per dimension (1). Models with an
    exact likelihood give the same number for both bounds.
    """

    needs = "log_likelihood"
    better = {
        "nll_nats": "lower",
        "nll_bits_per_dim": "lower",
        "negative_elbo_nats": "lower",
        "negative_elbo_bits_per_dim": "lower",
    }

    dimensions: Tensor

    def __init__(self, samples: PositiveInt = 64):
        super().__init__("elbo", "log_likelihood")
        self.samples = samples
        self.used: dict[str, Any] = {}
        self.nats_per_bit = math.nan  # of a dimension: what nats of an image are divided by
        self.add_state("dimensions", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def observe(self, model: Any, batch: Batch) -> None:
        """Both bounds of the same observation of a batch."""
        images = model.to_support(batch.images)
        elbo = model.log_likelihood(images, batch.labels, samples=1)
        exact = self.samples == 1 or getattr(model, "exact_likelihood", False)
        many = elbo if exact else model.log_likelihood(images, batch.labels, samples=self.samples)
        self.update(elbo, many, dimensions=images[0].numel())
        self.used = {"likelihood": type(getattr(model, "likelihood", model)).__name__}

    def update(self, elbo: Tensor, log_likelihood: Tensor, dimensions: int) -> None:
        """Take in two lower bounds of log p(x) in nats, `(B,)` each, of images with `dimensions` values."""
        self.take("elbo", elbo)
        self.take("log_likelihood", log_likelihood)
        self.dimensions += len(elbo) * dimensions

    def compute(self) -> dict[str, Tensor]:
        """Negative means; NaN without images."""
        nats_per_bit = self.dimensions / self.elbo[0] * math.log(2)
        self.nats_per_bit = nats_per_bit.item()
        means = self.means()
        return {
            "nll_nats": -means["log_likelihood"],
            "nll_bits_per_dim": -means["log_likelihood"] / nats_per_bit,
            "negative_elbo_nats": -means["elbo"],
            "negative_elbo_bits_per_dim": -means["elbo"] / nats_per_bit,
        }

    def standard_errors(self) -> dict[str, float]:
        """Those of the means over images: noise of the importance samples is part of what varies."""
        names = {"nll": "log_likelihood", "negative_elbo": "elbo"}
        found = {name: self.errors[kind] for name, kind in names.items() if kind in self.errors}
        return {f"{name}_nats": error for name, error in found.items()} | {
            f"{name}_bits_per_dim": error / self.nats_per_bit for name, error in found.items()
        }

    def protocol(self) -> dict[str, Any]:
        """Number of importance samples, and whose likelihood it is: one of two levels has its own scale."""
        return {"samples": self.samples, **self.used}
