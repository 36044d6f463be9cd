"""Squares of pixels as channels and back."""

import pytest
import torch

from lightning_gen.networks.patches import FromPatches, ToPatches, patched


@pytest.mark.parametrize(("size", "patch"), [((6, 4), 2), ((5, 7), 2), ((5, 7), 3), ((4, 4), 1)])
def test_there_and_back(size, patch):
    images = torch.randn(2, 3, *size)
    maps = ToPatches(patch)(images)
    assert maps.shape == (2, 3 * patch**2, *patched((3, *size), patch))
    assert torch.equal(FromPatches(patch, size)(maps), images)


def test_what_is_missing_at_the_border_is_repeated():
    images = torch.arange(3.0).view(1, 1, 1, 3)
    assert ToPatches(2)(images).flatten().tolist() == [0, 2, 1, 2, 0, 2, 1, 2]
