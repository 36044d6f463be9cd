"""Resizing by matrix products equals F.interpolate."""

import pytest
import torch
import torch.nn.functional as F

from lightning_gen.networks.bilinear_resize import BilinearResize


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("before", "after"), [((32, 32), (16, 16)), ((28, 7), (14, 4)), ((4, 13), (8, 25)), ((1, 2), (1, 1))]
)
def test_is_antialiased_interpolation(before, after, memory_format):
    maps = torch.rand(2, 3, *before, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=memory_format)
    exact = F.interpolate(maps.double(), size=after, mode="bilinear", antialias=True)
    resize = BilinearResize(before, after)
    resized = resize(maps)
    torch.testing.assert_close(resized.double(), exact, rtol=0, atol=1e-6)
    assert resized.is_contiguous(memory_format=memory_format)
    assert not resize.state_dict()  # checkpoints of earlier versions have no such tensors


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_derivatives(memory_format):
    maps = torch.randn(2, 3, 5, 4, dtype=torch.double).contiguous(memory_format=memory_format).requires_grad_()
    resize = BilinearResize((5, 4), (3, 2)).double()
    assert torch.autograd.gradcheck(resize, maps)
    assert torch.autograd.gradgradcheck(resize, maps)


def test_growing_is_plain_interpolation():
    maps = torch.rand(2, 3, 4, 7, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(maps, size=(8, 13), mode="bilinear")
    torch.testing.assert_close(BilinearResize((4, 7), (8, 13))(maps), expected, rtol=0, atol=1e-6)
