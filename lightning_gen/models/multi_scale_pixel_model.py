"""Multi-scale pixel models, https://arxiv.org/abs/1601.06759, section 3.5: every second pixel first, then the rest."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.models.pixel_model import PixelModel
from lightning_gen.networks.pixel_network import PixelNetwork


class MultiScalePixelModel(PixelModel):
    """A `small_network` draws the pixels in even rows and columns; the network, which sees them all, the other ones.

    The likelihood is exact: p(small) times p of each other pixel given the small image and the pixels before it.
    """

    averaged_parts = ("pixels", "small_pixels", "label_embedding")
    compiled_parts = ("pixels", "small_pixels")

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int | None,
        *,
        small_network: Callable[..., PixelNetwork],
        **pixel_model,
    ):
        channels, height, width = image_shape
        super().__init__(image_shape, num_classes, context_channels=channels, **pixel_model)
        self.small_pixels = self.distribution(small_network, (channels, -(-height // 2), -(-width // 2)))
        # raster numbers of the pixels that are not in the small image
        inside = torch.ones(height, width, dtype=torch.bool)
        inside[::2, ::2] = False
        self.register_buffer("others", inside.flatten().nonzero()[:, 0], persistent=False)

    def log_likelihood(self, images: Tensor, labels: Tensor | None = None, samples: int = 1) -> Tensor:
        """Nats `(B,)`, exact."""
        condition, small = self.condition(labels), images[:, :, ::2, ::2]
        of_small = self.likelihood.log_prob(self.small_pixels(small, condition), small)
        parameters = self.pixels(images, condition, self._enlarged(small))
        parameters, others = (each.flatten(2)[:, :, self.others, None] for each in (parameters, images))
        return of_small + self.likelihood.log_prob(parameters, others)

    def draw(self, images: Tensor, known: Tensor, condition: Tensor | None) -> Tensor:
        """First the small image, then the pixels between."""
        tell = self.tell_pixels(images, known.numel() + known[::2, ::2].numel())
        small = self.small_pixels.draw(images[:, :, ::2, ::2], known[::2, ::2], condition, tell=tell)
        images, known = images.clone(), known.clone()
        images[:, :, ::2, ::2], known[::2, ::2] = small, True
        return self.pixels.draw(images, known, condition, self._enlarged(small), tell)

    def _enlarged(self, small: Tensor) -> Tensor:
        """Each pixel of the small image four times, cut to the full size."""
        _, height, width = self.image_shape
        return F.interpolate(small, scale_factor=2, mode="nearest")[:, :, :height, :width]
