"""Evidence lower bound and importance-weighted likelihood, https://arxiv.org/abs/1509.00519."""

import math
from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.metrics.image_metric import PairedMetric


class Likelihood(PairedMetric):
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

    elbo: Tensor
    log_likelihood: Tensor
    count: Tensor
    dimensions: Tensor

    def __init__(self, samples: int = 64):
        super().__init__()
        self.samples = samples
        for state in ("elbo", "log_likelihood", "count", "dimensions"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def observe(self, model: Any, batch: Batch) -> None:
        """Both bounds of the same observation of a batch."""
        images = model.observe(batch.images)
        elbo = model.log_likelihood(images, batch.labels, samples=1)
        exact = self.samples == 1 or getattr(model, "exact_likelihood", False)
        many = elbo if exact else model.log_likelihood(images, batch.labels, samples=self.samples)
        self.update(elbo, many, dimensions=images[0].numel())

    def update(self, elbo: Tensor, log_likelihood: Tensor, dimensions: int) -> None:
        """Take in two lower bounds of log p(x) in nats, `(B,)` each, of images with `dimensions` values."""
        self.elbo += elbo.to(self.elbo.device).double().sum()
        self.log_likelihood += log_likelihood.to(self.elbo.device).double().sum()
        self.count += len(elbo)
        self.dimensions += len(elbo) * dimensions

    def compute(self) -> dict[str, Tensor]:
        """Negative means; NaN without images."""
        bits = self.dimensions * math.log(2)
        return {
            "nll_nats": -self.log_likelihood / self.count,
            "nll_bits_per_dim": -self.log_likelihood / bits,
            "negative_elbo_nats": -self.elbo / self.count,
            "negative_elbo_bits_per_dim": -self.elbo / bits,
        }

    def protocol(self) -> dict[str, Any]:
        """Number of importance samples."""
        return {"samples": self.samples}
