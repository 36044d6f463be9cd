"""Autoregressive models: images pixel by pixel, channel by channel, https://arxiv.org/abs/1601.06759, eqs. 1 and 2."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.likelihoods import Likelihood
from lightning_gen.models.likelihood_model import LikelihoodModel
from lightning_gen.networks.label_embedding import label_embedding
from lightning_gen.networks.pixel_network import PixelHead, PixelNetwork


class PixelDistribution(nn.Module):
    """p(x) = prod_i p(x_i | x_1, ..., x_{i-1}), by a causal network and a head for the channels of a pixel."""

    head_class: type[nn.Module] = PixelHead

    def __init__(self, network: PixelNetwork, channels: int, likelihood: Likelihood, head_width: int):
        super().__init__()
        self.network = network
        self.channels = channels
        self.likelihood = likelihood
        self.head = self.head_class(network.out_dim, channels, likelihood.parameters_per_value, head_width)

    def forward(self, images: Tensor, condition: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """Parameters of the likelihood of every value, given the earlier ones: `(B, P * C, H, W)`."""
        features = self.network(images, condition, context)
        parameters = self.head(features, images.permute(0, 2, 3, 1))  # (B, H, W, C, P)
        return parameters.float().permute(0, 4, 3, 1, 2).flatten(1, 2)

    def sample(
        self,
        images: Tensor,
        known: Tensor,
        condition: Tensor | None = None,
        context: Tensor | None = None,
        on_progress: Callable[[int], None] | None = None,
        temperature: float = 1.0,
    ) -> Tensor:
        """Keep the pixels of images `(B, C, H, W)` that are `known` `(H, W)`, sample the others in raster order.

        `on_progress` is called after each row with its number of pixels, `temperature` is the likelihood's.
        """
        state = self.network.start(len(images), condition, context)
        for row, known_in_row in enumerate(known.tolist()):
            for column, keep in enumerate(known_in_row):
                features = self.network.step(state, row, column)
                pixels = images[:, :, row, column] if keep else self._sample_pixel(features, temperature)
                state.images[:, :, row, column] = pixels
            if on_progress is not None:
                on_progress(len(known_in_row))
        return state.images.clone()

    def _sample_pixel(self, features: Tensor, temperature: float) -> Tensor:
        """Values `(B, C)` of one pixel."""
        values = features.new_zeros(len(features), self.channels)
        for channel in range(self.channels):
            parameters = self.head(features, values)[:, channel].float()  # (B, P)
            values[:, channel] = self.likelihood.sample_at(temperature, parameters[:, :, None, None])[:, 0, 0, 0]
        return values


class PixelModel(LikelihoodModel):
    """Exact likelihoods from a causal `network(image_shape, condition_dim, context_channels)`.

    `head_width` hidden units per channel turn its features into parameters of the `likelihood` of each value. A
    conditional model gives the network a label embedding of `label_dim` values.
    """

    averaged_parts = ("pixels", "label_embedding")
    compiled_parts = ("pixels",)
    exact_likelihood = True
    temperature = 1.0

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        network: Callable[..., PixelNetwork],
        head_width: PositiveInt,
        label_dim: NonNegativeInt = 16,
        context_channels: NonNegativeInt = 0,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        self.likelihood = self.likelihood.per_value()
        self.label_embedding = label_embedding(self.num_classes, label_dim)
        self.condition_dim = label_dim if self.num_classes else 0
        self.head_width = head_width
        self.pixels = self.distribution(network, image_shape, context_channels)

    def distribution(
        self, network: Callable[..., PixelNetwork], image_shape: tuple[int, int, int], context_channels: int = 0
    ) -> PixelDistribution:
        """Distribution of images of `image_shape`, given the label and maps of `context_channels`."""
        causal = network(image_shape=image_shape, condition_dim=self.condition_dim, context_channels=context_channels)
        return PixelDistribution(causal, image_shape[0], self.likelihood, self.head_width)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The negative log-likelihood in nats per image, and in bits per dimension."""
        images = self.to_support(batch.images)
        nll = -self.log_likelihood(images, batch.labels).mean()
        return {"loss": nll, "bits_per_dim": nll.detach() / (math.log(2) * images[0].numel())}

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`, exact for any number of `samples`."""
        return self.likelihood.log_prob(self.pixels(images, self.condition(labels)), images)

    def condition(self, labels: Tensor | None) -> Tensor | None:
        """The label embedding `(B, label_dim)` of a conditional model."""
        return self.label_embedding(labels)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Sample images from the first pixel to the last."""
        return self.complete(torch.zeros(n, *self.image_shape, device=self.device), 0, labels)

    def complete(self, images: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
        """Keep the first `rows` rows of images `(B, C, H, W)` and sample the others given them."""
        if self.num_classes and labels is None:
            labels = self.draw_labels(len(images))
        known = torch.zeros(images.shape[2:], dtype=torch.bool)
        known[:rows] = True
        return self.sample_unknown(images, known, self.condition(labels))

    def sample_unknown(self, images: Tensor, known: Tensor, condition: Tensor | None) -> Tensor:
        """Sample the pixels that are not `known` `(H, W)`; known ones must come first in raster order."""
        on_progress = pixel_progress(self, len(images), known.numel())
        return self.pixels.sample(images, known, condition, on_progress=on_progress, temperature=self.temperature)


def pixel_progress(model: ImageGenerator, n: int, steps: int) -> Callable[[int], None] | None:
    """The `on_progress` of pixels, `steps` of which make `n` images; None if no one listens to the model's."""
    on_progress = model.on_progress
    return None if on_progress is None else lambda pixels: on_progress(n * pixels / steps)
