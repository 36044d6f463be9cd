"""Continuous Bernoulli distribution, https://arxiv.org/abs/1907.06845."""

import math

from torch import Tensor
from torch.distributions import ContinuousBernoulli

from lightning_gen.losses.likelihoods import Likelihood


class MyOption(Likelihood):
    """Values in [0, 1] with a density proportional to that of a Bernoulli variable; `parameters` are logits."""

    parameters_per_value = 1  # channels of the decoder's output for each channel of an image

    def log_prob(self, parameters: Tensor, images: Tensor) -> Tensor:
        """Nats `(B,)` of images on 256 levels: the density times the width of a level."""
        log_density = distribution(parameters).log_prob((images + 1) / 2)
        return (log_density - math.log(255)).flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        """The expected image, in [-1, 1]."""
        return distribution(parameters).mean * 2 - 1

    def sample(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """A random image, in [-1, 1]; a lower `temperature` makes it likelier."""
        return distribution(parameters / temperature).sample() * 2 - 1


def distribution(logits: Tensor) -> ContinuousBernoulli:
    # Larger logits would be probabilities of exactly 0 or 1 in float32.
    return ContinuousBernoulli(logits=logits.clamp(-12, 12), validate_args=False)
