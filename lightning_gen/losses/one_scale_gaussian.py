"""Gaussian with one scale for all images, that is learned: sigma-VAE, https://arxiv.org/abs/2006.13202."""

import math

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveFloat
from lightning_gen.losses.likelihoods import Gaussian, Likelihood


class OneScaleGaussian(nn.Module, Likelihood):
    """Normal distribution around the decoder's output, whose scale is a weight of the model; it begins as `scale`.

    Section 3.2: it balances reconstruction and KL term by itself, which a fixed scale leaves to `beta`.
    """

    def __init__(self, scale: PositiveFloat = 0.5):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self._gaussian = Gaussian(scale=None)

    def _with_scale(self, location: Tensor) -> Tensor:
        return torch.cat([location, self.log_scale.to(location.dtype).expand_as(location)], dim=1)

    def log_prob(self, parameters: Tensor, images: Tensor) -> Tensor:
        return self._gaussian.log_prob(self._with_scale(parameters), images)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.clamp(-1, 1)

    def sample(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        return self._gaussian.sample(self._with_scale(parameters), temperature)
