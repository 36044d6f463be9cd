"""Multi-scale pixel models, https://arxiv.org/abs/1601.06759, section 3.5: a subsampled image first, then the rest."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.models.pixel_model import PixelModel, pixel_progress
from lightning_gen.networks.pixel_network import PixelNetwork


class MultiScalePixelModel(PixelModel):
    """A `small_network` models the pixels in even rows and columns, the network the others, conditioned on the former.

    The likelihood is exact: p(x) = p(small) prod_i p(x_i | small, x_1, ..., x_{i-1}), i over the other pixels.
    """

    averaged_parts = ("pixels", "small_pixels", "label_embedding")
    compiled_parts = ("pixels", "small_pixels")

    others: Tensor  # raster indices of the pixels that are not in the small image

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        small_network: Callable[..., PixelNetwork],
        **training,
    ):
        channels, height, width = image_shape
        super().__init__(image_shape, num_classes, context_channels=channels, **training)
        self.small_pixels = self.distribution(small_network, (channels, -(-height // 2), -(-width // 2)))
        is_other = torch.ones(height, width, dtype=torch.bool)
        is_other[::2, ::2] = False
        self.register_buffer("others", is_other.flatten().nonzero()[:, 0], persistent=False)

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`, exact."""
        condition, small = self.condition(labels), images[:, :, ::2, ::2]
        log_prob_small = self.likelihood.log_prob(self.small_pixels(small, condition), small)
        parameters = self.pixels(images, condition, self.upsample(small))
        return log_prob_small + self.likelihood.log_prob(self._at_others(parameters), self._at_others(images))

    def sample_unknown(self, images: Tensor, known: Tensor, condition: Tensor | None) -> Tensor:
        """Sample the small image, then the other pixels."""
        on_progress = pixel_progress(self, len(images), known.numel() + known[::2, ::2].numel())
        how: Any = {"on_progress": on_progress, "temperature": self.temperature}
        small = self.small_pixels.sample(images[:, :, ::2, ::2], known[::2, ::2], condition, **how)
        images, known = images.clone(), known.clone()
        images[:, :, ::2, ::2], known[::2, ::2] = small, True
        return self.pixels.sample(images, known, condition, self.upsample(small), **how)

    def _at_others(self, maps: Tensor) -> Tensor:
        """Values of the other pixels, `(B, C, N, 1)`."""
        return maps.flatten(2)[:, :, self.others, None]

    def upsample(self, small: Tensor) -> Tensor:
        """The small image by nearest neighbors, cropped to the full size."""
        _, height, width = self.image_shape
        return F.interpolate(small, scale_factor=2, mode="nearest")[:, :, :height, :width]
