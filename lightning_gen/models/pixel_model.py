"""Autoregressive models: images pixel by pixel, channel by channel, https://arxiv.org/abs/1601.06759, eq. 1 and 2."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeInt, PositiveInt
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.likelihoods import Likelihood
from lightning_gen.networks.pixel_network import PixelHead, PixelNetwork


class PixelDistribution(nn.Module):
    """p(image) as the product over its pixels, by a network that looks back and a head for the channels of one."""

    def __init__(self, network: PixelNetwork, channels: int, likelihood: Likelihood, head_width: int):
        super().__init__()
        self.network = network
        self.likelihood = likelihood
        self.head = PixelHead(network.out_dim, channels, likelihood.parameters_per_value, head_width)

    def forward(self, images: Tensor, condition: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """Parameters of the likelihood of every value, given those before it: `(B, P * C, H, W)`."""
        features = self.network(images, condition, context)
        parameters = self.head(features, images.permute(0, 2, 3, 1))  # (B, H, W, C, P)
        return parameters.float().permute(0, 4, 3, 1, 2).flatten(1, 2)

    def draw(
        self,
        images: Tensor,
        known: Tensor,
        condition: Tensor | None = None,
        context: Tensor | None = None,
        tell: Callable[[int], None] | None = None,
    ) -> Tensor:
        """Keep the pixels of images `(B, C, H, W)` that are `known` `(H, W)`, draw the rest in raster order.

        `tell` is called after each row with its number of pixels.
        """
        state = self.network.start(len(images), condition, context)
        for row, of_row in enumerate(known.tolist()):
            for column, keep in enumerate(of_row):
                features = self.network.step(state, row, column)
                state.images[:, :, row, column] = images[:, :, row, column] if keep else self._pixel(features)
            if tell is not None:
                tell(len(of_row))
        return state.images.clone()

    def _pixel(self, features: Tensor) -> Tensor:
        """Draw one pixel's values `(B, C)`."""
        values = features.new_zeros(len(features), self.head.channels)
        for channel in range(self.head.channels):
            parameters = self.head(features, values)[:, channel].float()  # (B, P)
            values[:, channel] = self.likelihood.draw(parameters[:, :, None, None])[:, 0, 0, 0]
        return values


class PixelModel(ImageGenerator):
    """Exact likelihoods from a `network(image_shape, condition_dim, context_channels)` that looks back only.

    `head_width` hidden units per channel turn its features into parameters of the `likelihood` of each value. A
    conditional model gives the network an embedding of the label with `label_dim` values.
    """

    averaged_parts = ("pixels", "label_embedding")
    compiled_parts = ("pixels",)
    exact_likelihood = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        network: Callable[..., PixelNetwork],
        likelihood: Likelihood,
        head_width: PositiveInt,
        label_dim: NonNegativeInt = 16,
        context_channels: NonNegativeInt = 0,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        self.likelihood = likelihood
        self.label_embedding = nn.Embedding(self.num_classes, label_dim) if self.num_classes else nn.Identity()
        self.condition_dim = label_dim if self.num_classes else 0
        self.head_width = head_width
        self.pixels = self.distribution(network, self.image_shape, context_channels)

    def distribution(
        self, network: Callable[..., PixelNetwork], image_shape: tuple[int, int, int], context_channels: int = 0
    ) -> PixelDistribution:
        """Images of `image_shape`, given the label and maps of `context_channels`."""
        made = network(image_shape=image_shape, condition_dim=self.condition_dim, context_channels=context_channels)
        return PixelDistribution(made, image_shape[0], self.likelihood, self.head_width)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The negative log-likelihood in nats per image, and in bits per dimension."""
        images = self.observe(batch.images)
        nll = -self.log_likelihood(images, batch.labels).mean()
        return {"loss": nll, "bits_per_dim": nll.detach() / (math.log(2) * images[0].numel())}

    def observe(self, images: Tensor) -> Tensor:
        """Images as the likelihood's support holds them."""
        return self.likelihood.observe(images)

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`, exact however many `samples` are asked for."""
        return self.likelihood.log_prob(self.pixels(images, self.condition(labels)), images)

    def condition(self, labels: Tensor | None) -> Tensor | None:
        """What the network is told of the whole image, `(B, label_dim)`."""
        return self.label_embedding(labels) if self.num_classes else None

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Draw images from the first pixel to the last."""
        return self.complete(torch.zeros(n, *self.image_shape, device=self.device), 0, labels)

    def complete(self, images: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
        """Keep the first `rows` rows of images `(B, C, H, W)` and draw the others given them."""
        if self.num_classes and labels is None:
            labels = self.draw_labels(len(images))
        known = torch.zeros(images.shape[2:], dtype=torch.bool)
        known[:rows] = True
        return self.draw(images, known, self.condition(labels))

    def draw(self, images: Tensor, known: Tensor, condition: Tensor | None) -> Tensor:
        """Draw what is not `known` `(H, W)`, of which no pixel may come after one that isn't."""
        return self.pixels.draw(images, known, condition, tell=self.tell_pixels(images, known.numel()))

    def tell_pixels(self, images: Tensor, steps: int) -> Callable[[int], None] | None:
        """What is told of each of so many `steps`, which make all the images; None if nobody listens."""
        if self.on_progress is None:
            return None
        return lambda pixels: self.on_progress(len(images) * pixels / steps)
