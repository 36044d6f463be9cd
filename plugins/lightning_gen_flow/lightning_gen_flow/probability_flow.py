"""What models of an ODE from noise to images share: sampling, guidance, latents and likelihoods."""

import math
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from lightning_gen.bounds import PositiveInt, UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen_flow.ode import STEPS, euler, heun, solve, solve_with_divergence

LEVELS = 256  # of 8-bit images


class NoiseLevels(Protocol):
    """What `noise_level` in the config makes."""

    def draw(self, n: int, device: torch.device) -> Tensor:
        """Logarithms `(n,)` of the ratio of noise to signal."""
        ...


class ProbabilityFlow(ImageGenerator):
    """Base of models whose `network` gives the field dx/dlevel of an ODE; the noise level goes from `largest` to 0.

    - `network(image_shape, num_classes)` is completed here. It maps noisy images, a quarter of the logarithm of the
      ratio of noise to signal `(B,)`, and labels, of which `num_classes` means none, to a tensor like the images.
    - `steps` of the `solver` make an image. `likelihood_steps` of Heun's, each with its divergence, give a likelihood.
    - A conditional model forgets `label_dropout` of the labels in training, so that it can be guided: the field goes
      `guidance` times the way from that without label to that with it (https://arxiv.org/abs/2207.12598); 1 is plain.

    x is the image with each of its 256 levels spread evenly over a 256th of [-1, 1], as its density needs it.
    """

    takes_sequences = True
    averaged_parts = ("network",)
    compiled_parts = ("network",)
    exact_likelihood = True  # of x, up to the solver: no samples make it tighter
    largest: float  # noise level, where nothing of the image is left

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        network: Callable[..., nn.Module],
        noise_level: NoiseLevels,
        steps: PositiveInt,
        solver: Literal["euler", "heun"],
        likelihood_steps: PositiveInt,
        label_dropout: UnitInterval,
        guidance: float,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        if not 0 <= label_dropout < 1:
            raise UserError(f"model.label_dropout={label_dropout}: give a share from 0 to below 1")
        if self.num_classes and guidance != 1 and not label_dropout:
            raise UserError(f"model.guidance={guidance}: needs images without labels; give model.label_dropout=0.1")
        self.network = network(image_shape=self.image_shape, num_classes=self.num_classes)
        self.noise_level = noise_level
        self.steps = steps
        self.solver = solver
        self.likelihood_steps = likelihood_steps
        self.label_dropout = label_dropout
        self.guidance = guidance

    # What a model implements, besides `losses`.

    def field(self, x: Tensor, level: Tensor, labels: Tensor | None) -> Tensor:
        """dx/dlevel at x `(B, *image_shape)` and one `level` for all, or `(B,)`."""
        raise NotImplementedError

    def sampling_levels(self, steps: int) -> Tensor:
        """The `steps + 1` noise levels of the way from `largest` to 0."""
        raise NotImplementedError

    def likelihood_levels(self, steps: int) -> Tensor:
        """The `steps + 1` noise levels of the way back, from (nearly) 0 to `largest`."""
        raise NotImplementedError

    # What is made of it.

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Images of noise."""
        return self.decode(self.latent(n), labels)

    def latent(self, n: int) -> Tensor:
        """Standard normal noise `(n, d)` with as many values as an image."""
        return torch.randn(n, math.prod(self.image_shape), device=self.device)

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """The images that the ODE makes of noise."""
        if labels is None:
            labels = self.draw_labels(len(latent))
        x = self.largest * latent.view(-1, *self.image_shape)
        # The last step is Euler's, so that no network is asked about images without noise (2206.00364, algorithm 1).
        levels = self.sampling_levels(self.steps).to(self.device)
        x = solve(self.guided(labels), x, levels, STEPS[self.solver], last=euler)
        return self.to_images(x)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The noise `(B, d)` that the ODE makes these images of."""
        levels = self.likelihood_levels(self.likelihood_steps).to(self.device)
        return solve(self.guided(labels), to_x(images), levels, heun).flatten(1) / self.largest

    def to_support(self, images: Tensor) -> Tensor:
        """x of images: on 256 levels, and drawn evenly within their levels (https://arxiv.org/abs/1511.01844, 3.1)."""
        return to_x(images) + (torch.rand_like(images) - 0.5) * (2 / LEVELS)

    def to_images(self, x: Tensor) -> Tensor:
        """Images in [-1, 1] of x: what is within a level is rounded to it when it becomes 8 bits."""
        return (((x + 1) * (LEVELS / 2) - 0.5) * (2 / (LEVELS - 1)) - 1).clamp(-1, 1)

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)` of the observed images on 256 levels: the density of x by the ODE without guidance.

        By Jensen's inequality its mean over draws of x is below the likelihood of the 8-bit images. `samples` have no
        effect. Hutchinson's estimate makes it noisy, but not biased.
        """
        levels = self.likelihood_levels(self.likelihood_steps).to(self.device)
        noise, divergence = solve_with_divergence(lambda x, level: self.field(x, level, labels), images, levels)
        values = images[0].numel()
        log_prior = -0.5 * (noise / self.largest).square().flatten(1).sum(1)
        log_prior = log_prior - values * (0.5 * math.log(2 * math.pi) + math.log(self.largest))
        return log_prior + divergence + values * math.log(2 / LEVELS)

    def guided(self, labels: Tensor | None) -> Callable[[Tensor, Tensor], Tensor]:
        """The field of images with these labels, as far beyond that of images without as `guidance` says."""
        if not self.num_classes or labels is None or self.guidance == 1:
            return lambda x, level: self.field(x, level, labels)
        both = torch.cat([labels, torch.full_like(labels, self.num_classes)])

        def field(x: Tensor, level: Tensor) -> Tensor:
            conditional, unconditional = self.field(torch.cat([x, x]), level, both).chunk(2)
            return torch.lerp(unconditional, conditional, self.guidance)

        return field

    def forgotten(self, labels: Tensor | None) -> Tensor | None:
        """Labels for a training step, some of them replaced by that of none."""
        if not self.num_classes:
            return None
        drop = torch.rand(len(labels), device=labels.device) < self.label_dropout
        return labels.masked_fill(drop, self.num_classes)


def to_x(images: Tensor) -> Tensor:
    """The middle of the interval that stands for each value's level."""
    level = ((images + 1) * ((LEVELS - 1) / 2)).round()
    return (level + 0.5) * (2 / LEVELS) - 1


def like(values: Tensor, x: Tensor) -> Tensor:
    """Values `(B,)` or `()` so that they multiply x `(B, ...)`."""
    return values.view(-1, *[1] * (x.ndim - 1))
