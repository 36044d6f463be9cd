"""Likelihoods of 8-bit images given a decoder's output: reconstruction losses with their normalizers.

Every class gives `log_prob` in nats per image of images on 256 levels (Bernoulli: on 2), so that bounds can be
compared: densities are multiplied by the width of a level, 2/255 in [-1, 1].
Squared error is `Gaussian` with a fixed scale, absolute error is `Laplace` with a fixed scale.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.utilities.renames import keep_overrides

LEVEL_WIDTH = 2 / 255


def on_levels(images: Tensor, levels: int = 256) -> Tensor:
    """Images in [-1, 1], each value rounded to the nearest of `levels` equally spaced ones."""
    return ((images + 1) / 2 * (levels - 1)).round() * (2 / (levels - 1)) - 1


class Likelihood:
    """p(image | parameters), where a decoder emits `parameters_per_value` channels for each image channel.

    `parameters` are `(B, parameters_per_value * C, H, W)`, images `(B, C, H, W)` in [-1, 1].
    """

    parameters_per_value = 1

    def __init_subclass__(cls) -> None:
        keep_overrides(cls, observe="to_support", draw="sample")

    def to_support(self, images: Tensor) -> Tensor:
        """Images mapped to the support of the likelihood, at random where it is coarser than 8 bits."""
        return images

    def log_prob(self, parameters: Tensor, images: Tensor) -> Tensor:
        """Log-likelihood in nats, `(B,)`."""
        raise NotImplementedError

    def per_value(self) -> "Likelihood":
        """This likelihood for models that predict value by value, of which none knows what is shared by an image."""
        return self

    def mean(self, parameters: Tensor) -> Tensor:
        """The expected image, in [-1, 1]."""
        raise NotImplementedError

    def sample(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        """A random image, in [-1, 1] and in the support.

        A `temperature` below 1 makes it likelier: logits are divided by it, scales multiplied.
        """
        raise NotImplementedError

    def sample_at(self, temperature: float, parameters: Tensor) -> Tensor:
        """`sample` at a temperature; at 1 also of a class whose `sample` has none."""
        return self.sample(parameters) if temperature == 1 else self.sample(parameters, temperature)

    # Names of 0.1.
    observe = to_support
    draw = sample


class Bernoulli(Likelihood):
    """Black and white pixels, white with probability `sigmoid(parameters)`.

    Gray images are binarized dynamically: a pixel is white with the probability of its intensity, drawn anew at
    each call (Burda et al., https://arxiv.org/abs/1509.00519, section 5).
    """

    def to_support(self, images: Tensor) -> Tensor:
        # rand < p is several times faster on a CPU than torch.bernoulli.
        return (torch.rand_like(images) < (images + 1) / 2).to(images.dtype) * 2 - 1

    def log_prob(self, parameters: Tensor, images: Tensor) -> Tensor:
        nats = F.binary_cross_entropy_with_logits(parameters, (images + 1) / 2, reduction="none")
        return -nats.flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters.sigmoid() * 2 - 1

    def sample(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        return (torch.rand_like(parameters) < (parameters / temperature).sigmoid()).to(parameters.dtype) * 2 - 1


class LocationScale(Likelihood):
    """Base of densities around the decoder's output; `scale` is fixed, or predicted if None.

    A predicted scale is one for each value, or with `shared` one for each channel of an image: the geometric mean of
    its values'. Scales of single values have higher likelihoods, but weaken the gradient where the decoder errs, by
    1 / scale^2: it explains objects as noise and draws blurs (https://arxiv.org/abs/2203.09168). A shared scale weights
    all errors alike; at its optimum it is the root of the mean squared error (https://arxiv.org/abs/2006.13202).
    """

    # A smaller scale would make the density times the width of a level, which stands for its mass, exceed 1.
    least_scale: float

    def __init__(self, scale: PositiveFloat | None, shared: bool = False):
        self.scale = scale
        self.shared = shared
        self.parameters_per_value = 1 if scale else 2

    def per_value(self) -> Likelihood:
        return type(self)(self.scale)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """Location, scale and log-scale."""
        if self.scale:
            return parameters, self.scale, math.log(self.scale)
        location, log_scale = parameters.chunk(2, dim=1)
        if self.shared:
            log_scale = log_scale.mean((2, 3), keepdim=True).expand_as(location)
        log_scale = log_scale.clamp(min=math.log(self.least_scale))
        return location, log_scale.exp(), log_scale

    def mean(self, parameters: Tensor) -> Tensor:
        return self._split(parameters)[0].clamp(-1, 1)


class Gaussian(LocationScale):
    """Normal distribution around the decoder's output."""

    least_scale = LEVEL_WIDTH / math.sqrt(2 * math.pi)

    def log_prob(self, parameters: Tensor, images: Tensor) -> Tensor:
        # log N(x; m, s) = -(x - m)^2 / (2 s^2) - log s - log(2 pi) / 2
        location, scale, log_scale = self._split(parameters)
        log_density = -0.5 * ((images - location) / scale) ** 2 - log_scale - 0.5 * math.log(2 * math.pi)
        return (log_density + math.log(LEVEL_WIDTH)).flatten(1).sum(1)

    def sample(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        location, scale, _ = self._split(parameters)
        return on_levels((location + temperature * scale * torch.randn_like(location)).clamp(-1, 1))


class Laplace(LocationScale):
    """Laplace distribution around the decoder's output: absolute error."""

    least_scale = LEVEL_WIDTH / 2

    def log_prob(self, parameters: Tensor, images: Tensor) -> Tensor:
        # log p(x) = -|x - m| / s - log(2 s)
        location, scale, log_scale = self._split(parameters)
        log_density = -(images - location).abs() / scale - log_scale - math.log(2)
        return (log_density + math.log(LEVEL_WIDTH)).flatten(1).sum(1)

    def sample(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        # the inverse of the distribution function: x = m - s sign(u) log(1 - 2 |u|), u uniform in (-1/2, 1/2)
        location, scale, _ = self._split(parameters)
        uniform = torch.rand_like(location).clamp(1e-7, 1 - 1e-7) - 0.5
        noise = -uniform.sign() * torch.log1p(-2 * uniform.abs())
        return on_levels((location + temperature * scale * noise).clamp(-1, 1))


class DiscretizedLogistic(Likelihood):
    """Mixture of `components` logistic distributions, integrated over each of 256 levels; the outer two hold the tails.

    PixelCNN++, https://arxiv.org/abs/1701.05517, eq. 2, with a separate mixture for each channel.
    """

    def __init__(self, components: PositiveInt = 1):
        self.components = components
        self.parameters_per_value = 2 if components == 1 else 3 * components

    def to_support(self, images: Tensor) -> Tensor:
        return on_levels(images)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Locations, log-scales and log-weights (None for one component), each `(B, components, C, H, W)`."""
        location, log_scale, *weight = parameters.unflatten(1, (self.parameters_per_value, -1)).split(
            self.components, 1
        )
        return location, log_scale.clamp(min=-7), weight[0].log_softmax(1) if weight else None

    def log_prob(self, parameters: Tensor, images: Tensor) -> Tensor:
        location, log_scale, log_weight = self._split(parameters)
        log_mass = _logistic_log_mass(location, log_scale, images[:, None])
        log_mass = log_mass if log_weight is None else (log_mass + log_weight).logsumexp(1)
        return log_mass.flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        location, _, log_weight = self._split(parameters)
        location = location.clamp(-1, 1)
        return (location if log_weight is None else location * log_weight.exp()).sum(1).clamp(-1, 1)

    def sample(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        location, log_scale, log_weight = self._split(parameters)
        if log_weight is not None:
            component = _gumbel(log_weight / temperature).argmax(1, keepdim=True)
            location, log_scale = location.gather(1, component), log_scale.gather(1, component)
        noise = torch.logit(torch.rand_like(location), eps=1e-7)
        return on_levels((location + temperature * log_scale.exp() * noise).squeeze(1).clamp(-1, 1))


def _logistic_log_mass(location: Tensor, log_scale: Tensor, images: Tensor) -> Tensor:
    """log(sigmoid((x + w/2 - m) / s) - sigmoid((x - w/2 - m) / s)) of levels x of width w."""
    centered, inverse_scale = images - location, torch.exp(-log_scale)
    upper = inverse_scale * (centered + LEVEL_WIDTH / 2)
    lower = inverse_scale * (centered - LEVEL_WIDTH / 2)
    # log(sigmoid(u) - sigmoid(l)) = logsigmoid(u) + logsigmoid(-l) + log(1 - exp(l - u)) has no cancellation; nor has
    # l - u = -w / s, which as a difference would round to 0 far from the image.
    difference = torch.log(-torch.expm1(-inverse_scale * LEVEL_WIDTH))
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + difference
    edge = LEVEL_WIDTH / 2
    return torch.where(
        images < -1 + edge, F.logsigmoid(upper), torch.where(images > 1 - edge, F.logsigmoid(-lower), inside)
    )


class CrossEntropy(Likelihood):
    """Categorical distribution over `levels` gray levels for each value: softmax and cross-entropy."""

    def __init__(self, levels: PositiveInt = 256):
        self.parameters_per_value = levels

    def to_support(self, images: Tensor) -> Tensor:
        return on_levels(images, self.parameters_per_value)

    def _logits(self, parameters: Tensor) -> Tensor:
        return parameters.unflatten(1, (self.parameters_per_value, -1))  # (B, levels, C, H, W)

    def log_prob(self, parameters: Tensor, images: Tensor) -> Tensor:
        level = ((images + 1) / 2 * (self.parameters_per_value - 1)).round().long()
        # F.cross_entropy of maps is the same, but refused by trainer.deterministic=true on CUDA.
        log_probs = self._logits(parameters).log_softmax(1).gather(1, level[:, None])
        return log_probs.flatten(1).sum(1)

    def mean(self, parameters: Tensor) -> Tensor:
        levels = torch.linspace(-1, 1, self.parameters_per_value, device=parameters.device, dtype=parameters.dtype)
        mean = torch.einsum("blchw,l->bchw", self._logits(parameters).softmax(1), levels)
        return mean.clamp(-1, 1)  # rounding can exceed it by 1e-7

    def sample(self, parameters: Tensor, temperature: float = 1.0) -> Tensor:
        level = _gumbel(self._logits(parameters) / temperature).argmax(1)
        return level.to(parameters.dtype) * (2 / (self.parameters_per_value - 1)) - 1


def _gumbel(logits: Tensor) -> Tensor:
    """Logits plus Gumbel noise, whose argmax samples their softmax; unlike multinomial it needs no device sync."""
    return logits - torch.empty_like(logits).exponential_().log()
