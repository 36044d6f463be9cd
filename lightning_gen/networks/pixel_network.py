"""Base of autoregressive networks over pixels: a causal first layer, an output head, and the state of sampling."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PixelNetwork(nn.Module):
    """Images to features `(B, H, W, out_dim)`; those of a pixel depend only on earlier pixels in raster order.

    `forward` computes all at once, `step` those of one pixel after another from cached states. Constructed with
    `(image_shape, condition_dim, context_channels)`; `condition` `(B, condition_dim)` and `context` maps
    `(B, context_channels, H, W)` are given from the start.
    """

    out_dim: int

    def forward(self, images: Tensor, condition: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """Features of all pixels of images `(B, C, H, W)`."""
        raise NotImplementedError

    def start(self, n: int, condition: Tensor | None = None, context: Tensor | None = None) -> "PixelState":
        """The state before the first pixel of `n` images."""
        raise NotImplementedError

    def step(self, state: "PixelState", row: int, column: int) -> Tensor:
        """Features `(n, out_dim)` of the next pixel in raster order; all earlier pixels are in `state.images`."""
        raise NotImplementedError


class PixelState:
    """Partly sampled images, and the memory of a network's layers.

    The caller writes each pixel into `images` `(n, C, H, W)`, a view of `padded`.
    """

    def __init__(
        self,
        padded: Tensor,
        images: Tensor,
        stem_weight: Tensor,  # of the causal stem, masked and flattened
        given: Tensor | None,  # its features of condition and context, (n, H, W, F)
        layers: list[dict[str, Tensor]],
    ):
        self.padded = padded
        self.images = images
        self.stem_weight = stem_weight
        self.given = given
        self.layers = layers


class CausalStem(nn.Module):
    """Images to features `(B, H, W, features)` by a masked convolution over the earlier pixels.

    It is "mask A" of PixelRNN, https://arxiv.org/abs/1601.06759, section 3.4, for whole pixels: the channels of a pixel
    are ordered by the head. A linear map of `condition` is added to all pixels, and a 3x3 convolution of `context`.
    """

    mask: Tensor

    def __init__(
        self, image_shape: tuple[int, int, int], features: int, condition_dim: int, context_channels: int, size: int = 7
    ):
        super().__init__()
        channels, self.height, self.width = image_shape
        self.reach = size // 2
        self.conv = nn.Conv2d(channels, features, (self.reach + 1, size))
        mask = torch.ones(self.reach + 1, size)
        mask[-1, self.reach :] = 0
        self.register_buffer("mask", mask, persistent=False)
        self.condition = nn.Linear(condition_dim, features) if condition_dim else None
        self.context = nn.Conv2d(context_channels, features, 3, padding=1) if context_channels else None

    def forward(self, images: Tensor, condition: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        maps = F.conv2d(self._pad(images), self.conv.weight * self.mask, self.conv.bias).permute(0, 2, 3, 1)
        given = self.given(condition, context)
        return maps.contiguous() if given is None else maps + given

    def given(self, condition: Tensor | None, context: Tensor | None) -> Tensor | None:
        """Features of condition and context, `(B, H or 1, W or 1, features)`; None without them."""
        given = None if self.condition is None else self.condition(condition)[:, None, None]
        if self.context is None:
            return given
        maps = self.context(context).permute(0, 2, 3, 1)
        return maps if given is None else maps + given

    def start(
        self, n: int, condition: Tensor | None, context: Tensor | None, layers: list[dict[str, Tensor]]
    ) -> PixelState:
        """The state of `n` blank images."""
        blank = self.conv.weight.new_zeros(n, self.conv.in_channels, self.height, self.width)
        padded = self._pad(blank)
        images = padded[:, :, self.reach :, self.reach : self.reach + self.width]
        given = self.given(condition, context)
        if given is not None:
            given = given.expand(n, self.height, self.width, -1)
        stem_weight = (self.conv.weight * self.mask).flatten(1)
        return PixelState(padded, images, stem_weight, given, layers)

    def step(self, state: PixelState, row: int, column: int) -> Tensor:
        """Features `(n, features)` of one pixel."""
        patches = state.padded[:, :, row : row + self.reach + 1, column : column + 2 * self.reach + 1]
        features = F.linear(patches.flatten(1), state.stem_weight, self.conv.bias)
        return features if state.given is None else features + state.given[:, row, column]

    def _pad(self, images: Tensor) -> Tensor:
        return F.pad(images, (self.reach, self.reach, self.reach, 0))


def per_channel_product(values: Tensor, weight: Tensor) -> Tensor:
    """Values `(..., C, K)` times weights `(C, K, P)`, a matrix for each channel: `(..., C, P)`."""
    # As a broadcast product, `values.unsqueeze(-2) @ weight`, each position gets a copy of all weights.
    return torch.einsum("...ck,ckp->...cp", values, weight)


class PixelHead(nn.Module):
    """Features and the earlier channels of a pixel to parameters of the likelihood of each channel.

    Features `(..., F)` and values `(..., C)` to `(..., C, P)`: parameters of channel c depend on channels below c.
    """

    mask: Tensor

    def __init__(self, features: int, channels: int, parameters_per_value: int, hidden: int):
        super().__init__()
        self.channels = channels
        self.hidden = nn.Linear(features, channels * hidden)
        self.earlier = nn.Linear(channels, channels * hidden, bias=False) if channels > 1 else None
        mask = torch.ones(channels, channels).tril(-1).repeat_interleave(hidden, 0)  # (C hidden, C)
        self.register_buffer("mask", mask, persistent=False)
        self.weight = nn.Parameter(torch.empty(channels, hidden, parameters_per_value))
        self.bias = nn.Parameter(torch.zeros(channels, parameters_per_value))
        bound = hidden**-0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, features: Tensor, values: Tensor) -> Tensor:
        hidden = self.hidden(features.relu())
        if self.earlier is None:
            return (hidden.relu() @ self.weight[0] + self.bias[0]).unsqueeze(-2)
        hidden = (hidden + F.linear(values, self.earlier.weight * self.mask)).relu()
        return per_channel_product(hidden.unflatten(-1, (self.channels, -1)), self.weight) + self.bias
