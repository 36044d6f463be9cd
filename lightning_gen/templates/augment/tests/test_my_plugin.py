import torch
from my_plugin import MyOption

from lightning_gen.testing import check_augment


def test_my_option():
    check_augment("my_option")


def test_the_size_of_the_square():
    torch.manual_seed(0)
    black = (MyOption(0.5)(torch.ones(500, 1, 16, 16)) == -1).flatten(1).sum(1)
    assert black.max() == 64
    assert black.min() >= 16  # a square whose center is in a corner
    assert torch.equal(MyOption(0.0)(torch.ones(2, 3, 8, 8)), torch.ones(2, 3, 8, 8))
