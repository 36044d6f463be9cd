"""Continuous Bernoulli distribution, https://arxiv.org/abs/1907.06845."""

import math

from torch import Tensor, distributions

from lightning_gen.losses.likelihoods import Likelihood, on_levels

LARGEST = 12.0  # logits beyond would be probabilities of exactly 0 or 1 in float32


class ContinuousBernoulli(Likelihood):
    """Gray values in [0, 1] with a density proportional to a Bernoulli probability; `parameters` are logits.

    It has the normalizer that a cross-entropy of gray values lacks.
    """

    def _distribution(self, logits: Tensor) -> distributions.ContinuousBernoulli:
        return distributions.ContinuousBernoulli(logits=logits.clamp(-LARGEST, LARGEST), validate_args=False)

    def log_prob(self, parameters: Tensor, images: Tensor) -> Tensor:
        log_density = self._distribution(parameters).log_prob((images + 1) / 2)
        return (log_density - math.log(255)).flatten(1).sum(1)  # times the width of a level

    def mean(self, parameters: Tensor) -> Tensor:
        return self._distribution(parameters).mean.clamp(0, 1) * 2 - 1

    def sample(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        return on_levels(self._distribution(parameters / temperature).sample().clamp(0, 1) * 2 - 1)
