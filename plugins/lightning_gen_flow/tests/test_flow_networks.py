"""U-Net and DiT: any size, both kinds of data, and who sees what."""

import pytest
import torch
from lightning_gen_flow.dit import DiT
from lightning_gen_flow.layers import positions
from lightning_gen_flow.unet import UNet

UNET = {"width": 8, "largest": 16, "depth": 1, "attention_size": 8, "head_dim": 8, "patch": 1, "dropout": 0.0}
UNET["fourier"] = [2, 5]
DIT = {"width": 16, "depth": 2, "patch": 4, "head_dim": 8, "dropout": 0.0}


def make(kind: str, shape: tuple[int, ...], classes: int | None = None, **changes):
    """A small network whose every layer has an effect."""
    torch.manual_seed(0)
    cls, small = {"unet": (UNet, UNET), "dit": (DiT, DIT)}[kind]
    network = cls(shape, classes, **small | changes)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 13, 22), (1, 1, 2), (4, 1, 9, 12)])
@pytest.mark.parametrize(("kind", "patch"), [("unet", 1), ("unet", 2), ("dit", 4)])
def test_any_size(kind, patch, shape):
    images = torch.randn(2, *shape)
    network = make(kind, shape, patch=patch)
    assert network(images, torch.randn(2)).shape == images.shape


@pytest.mark.parametrize("kind", ["unet", "dit"])
def test_output_depends_on_noise_label_and_all_frames(kind):
    shape = (4, 1, 8, 8)
    network = make(kind, shape, classes=3)
    images = torch.randn(1, *shape, requires_grad=True)
    noise, label = torch.zeros(1), torch.tensor([1])
    output = network(images, noise, label)
    for changed in ((noise + 0.5, label), (noise, torch.tensor([2])), (noise,)):
        assert (network(images, *changed) - output).abs().max() > 1e-3
    torch.testing.assert_close(network(images, noise), network(images, noise, torch.tensor([3])))  # 3 means none
    output[:, 0].square().sum().backward()
    assert (images.grad.abs().amax((0, 2, 3, 4)) > 0).all()
    # Frames are told apart: the same in another order gives other frames.
    flipped = network(images.flip(1), noise, label).flip(1)
    assert (flipped - output).abs().max() > 1e-3


def test_positions_differ():
    table = positions((3, 4, 5), 32)
    assert table.shape == (60, 32)
    assert (torch.cdist(table, table) + 9 * torch.eye(60)).min() > 0.1
