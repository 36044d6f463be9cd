"""The first convolution of networks that see images and, if they are conditional, a label embedding."""

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_gen.networks.layers import with_condition


class ImageConv2d(nn.Conv2d):
    """A convolution of images `(B, C, H, W)` and of a condition `(B, condition_dim)`, if given, as constant planes.

    The planes are not made. What they add to the output is linear in the condition, by a matrix that is the same for
    all images: the convolution of a plane of ones by the weights of each value.
    """

    def padded(self, images: Tensor) -> Tensor:
        """Images that the kernels of a subclass fit."""
        return images

    def forward(self, input: Tensor, condition: Tensor | None = None) -> Tensor:
        if condition is None:
            return super().forward(self.padded(input))
        of_images, of_planes = self.weight.split([input.shape[1], condition.shape[1]], dim=1)
        maps = self._convolved(input, of_images, self.bias)
        ones = input.new_ones(1, 1, *input.shape[2:])
        by_value = self._convolved(ones, of_planes.transpose(0, 1).flatten(0, 1).unsqueeze(1))
        return maps + (condition @ by_value.view(condition.shape[1], -1)).view_as(maps)

    def _convolved(self, images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.conv2d(self.padded(images), weight, bias, self.stride, self.padding)


def through(layers: nn.Sequential, images: Tensor, condition: Tensor | None) -> Tensor:
    """The output of layers of which the first is an `ImageConv2d`; images too small for any are kept, with planes."""
    if not len(layers):
        return with_condition(images, condition)
    first, *others = layers
    maps = first(images, condition)
    for layer in others:
        maps = layer(maps)
    return maps
