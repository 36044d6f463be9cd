"""A condition beside images: the same as constant planes, which are not made."""

import pytest
import torch
from torch.nn.utils import parametrizations

from lightning_gen.networks.conv import ConvEncoder, Patches
from lightning_gen.networks.dcgan import DCGANDiscriminator, Halve
from lightning_gen.networks.image_conv import ImageConv2d
from lightning_gen.networks.ladder import LadderEncoder
from lightning_gen.networks.layers import with_condition
from lightning_gen.networks.r3gan import R3GANDiscriminator
from lightning_gen.networks.resnet import ResNetEncoder
from lightning_gen.networks.top_down import BottomUp

CHANNELS, CONDITION = 2, 5
LAYERS = {
    "plain": lambda: ImageConv2d(CHANNELS + CONDITION, 4, 3, stride=2, padding=1),
    "pixels": lambda: ImageConv2d(CHANNELS + CONDITION, 4, 1, bias=False),
    "patches": lambda: Patches(CHANNELS + CONDITION, 4, 4),
    "halve": lambda: Halve(CHANNELS + CONDITION, 4),
    "spectral_norm": lambda: parametrizations.spectral_norm(Halve(CHANNELS + CONDITION, 4)),
}
SHAPE, SMALL = (CHANNELS, 18, 13), (CHANNELS, 5, 4)
NETWORKS = {
    "conv": lambda: ConvEncoder(SHAPE, 3, CONDITION, width=4),
    "patches": lambda: ConvEncoder(SHAPE, 3, CONDITION, width=4, patch=4, gated=True),
    "small": lambda: ConvEncoder(SMALL, 3, CONDITION, width=4),
    "dcgan": lambda: DCGANDiscriminator(SHAPE, 3, CONDITION, width=4),
    "resnet": lambda: ResNetEncoder(SHAPE, 3, CONDITION, width=8),
    "r3gan": lambda: R3GANDiscriminator(SHAPE, 3, CONDITION, width=4, largest=8, depth=1, expansion=2, group_width=4),
    "ladder": lambda: LadderEncoder(SHAPE, CONDITION, width=4, vector=8, patch=2),
    "bottom_up": lambda: BottomUp(SHAPE, CONDITION, width=4, largest=8, depth=1),
}


def inputs(shape: tuple[int, int, int] = SHAPE) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    images = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    return images, torch.randn(3, CONDITION, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_that_of_planes(name):
    layer = LAYERS[name]().double().eval()
    results = []
    for planes in (False, True):
        images, condition = inputs()
        output = layer(with_condition(images, condition)) if planes else layer(images, condition)
        results.append([output, *torch.autograd.grad(output.square().sum(), [images, condition, *layer.parameters()])])
    for ours, of_planes in zip(*results, strict=True):
        torch.testing.assert_close(ours, of_planes)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_that_of_planes(name):
    network = NETWORKS[name]().double().eval()
    images, condition = inputs(SMALL if name == "small" else SHAPE)
    ours, of_planes = network(images, condition), network(with_condition(images, condition))
    torch.testing.assert_close(ours, of_planes)
