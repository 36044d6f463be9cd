"""EfficientNet-Lite0's network: https://arxiv.org/abs/1905.11946, table 1, without squeeze-and-excitation, with ReLU6.

Importing timm for it would take longer than all other imports of a run's start but PyTorch's and Lightning's.
"""

import torch.nn.functional as F
from torch import Tensor, nn

STAGES = (  # blocks, kernel size, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite0Network(nn.Module):
    """Images `(B, 3, H, W)`, normalized, to pooled features `(B, 1280)`; `classifier` maps these to 1000 logits."""

    def __init__(self):
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, stride=2)
        blocks, channels = [], 32
        for depth, kernel_size, stride, expansion, out_channels in STAGES:
            for number in range(depth):
                block_stride = stride if number == 0 else 1
                blocks.append(MobileBlock(channels, out_channels, kernel_size, block_stride, expansion))
                channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(channels, 1280, 1)
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(F.relu6(self.stem(images)))
        return F.relu6(self.head(maps)).mean((2, 3))


class MobileBlock(nn.Module):
    """Inverted residual block, https://arxiv.org/abs/1801.04381: widened by `expansion`, filtered, narrowed."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int):
        super().__init__()
        hidden = in_channels * expansion
        self.widen = ConvNorm(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = ConvNorm(hidden, hidden, kernel_size, stride, groups=hidden)
        self.narrow = ConvNorm(hidden, out_channels, 1)
        self.is_residual = stride == 1 and in_channels == out_channels

    def forward(self, maps: Tensor) -> Tensor:
        hidden = maps if self.widen is None else F.relu6(self.widen(maps))
        narrow = self.narrow(F.relu6(self.depthwise(hidden)))
        return narrow + maps if self.is_residual else narrow


class ConvNorm(nn.Sequential):
    """A convolution with TensorFlow's padding, and batch normalization."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1):
        conv = SameConv2d(in_channels, out_channels, kernel_size, stride, groups=groups, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels, eps=1e-3))


class SameConv2d(nn.Conv2d):
    """A convolution to maps of size ceil(size / stride), as padded by TensorFlow: an odd pixel at the lower right."""

    def forward(self, input: Tensor) -> Tensor:
        padding: list[int] = []  # left, right, top, bottom
        for dim in (1, 0):
            size, kernel, stride = input.shape[2 + dim], self.kernel_size[dim], self.stride[dim]
            missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            padding += [missing // 2, missing - missing // 2]
        if padding[::2] == padding[1::2]:  # padded within the convolution, without a copy
            return F.conv2d(input, self.weight, None, self.stride, padding[::-2], groups=self.groups)
        return F.conv2d(F.pad(input, padding), self.weight, None, self.stride, groups=self.groups)
