"""Histograms of oriented gradients, https://doi.org/10.1109/CVPR.2005.177."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import PositiveInt
from lightning_gen.extractors.extractor import Extractor


class MyOption(Extractor):
    """The strength of edges by their direction, in `bins` directions and `cells` x `cells` parts of the image."""

    name = "my_option"  # in the names of scores
    channels = 1  # images are made gray

    def __init__(self, cells: PositiveInt, bins: PositiveInt):
        super().__init__()
        self.cells, self.bins = cells, bins
        self.num_features = cells**2 * bins

    def features(self, images: Tensor) -> Tensor:
        """Features `(B, num_features)` of uint8 images `(B, 1, H, W)` of any size."""
        down, right = torch.gradient(images.float() / 255, dim=(2, 3))
        angle = torch.atan2(down, right) % math.pi  # edges from dark to bright and back are the same
        strength = (down.square() + right.square()).sqrt()
        bin = (angle / math.pi * self.bins).long().clamp(max=self.bins - 1)
        maps = F.one_hot(bin[:, 0], self.bins).movedim(-1, 1) * strength  # (B, bins, H, W)
        return F.normalize(F.adaptive_avg_pool2d(maps, self.cells).flatten(1))

    def protocol(self) -> dict[str, Any]:
        """What the features depend on: scores with unlike protocols are not compared."""
        return super().protocol() | {"cells": self.cells, "bins": self.bins}
