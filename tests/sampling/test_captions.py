"""Captions stand in a margin: the images of a picture are what they were."""

import pytest
import torch

from lightning_gen.images import grid
from lightning_gen.sampling.captions import class_caption, class_grid, image_captions, row_captions, title


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_words_are_beside_the_images(channels, dtype):
    picture = (torch.rand(channels, 50, 30) * 255).to(dtype)
    low, high = (0, 255) if dtype == torch.uint8 else (-1, 1)
    above, left = title(picture, "original"), row_captions(picture, ["cat", "dog"])
    assert torch.equal(above[:, -50:, :30], picture)
    assert torch.equal(left[..., -30:], picture)
    for band in (above[:, :-50], left[..., :-30]):
        assert band[0].max() > 0.9 * high
        assert band[0].min() == low
        assert channels != 4 or (band[3] == high).all()


def test_each_row_has_its_own_words():
    margin = row_captions(torch.zeros(1, 62, 10, dtype=torch.uint8), ["cat", "", "dog"])[0, :, :-10]
    upper, middle, lower = margin[2:22], margin[22:42], margin[42:62]
    assert (upper.sum() > 0, middle.sum() == 0, lower.sum() > 0) == (True, True, True)
    assert not torch.equal(upper, lower)


def test_classes_are_beside_rows_or_above_images():
    images = torch.rand(6, 3, 12, 12)
    by_rows = class_grid(images, torch.tensor([0, 0, 0, 2, 2, 2]), 3, ["cat", "dog", "fish"])
    plain = grid(images, 3)
    assert torch.equal(by_rows[..., -plain.shape[-1] :], plain)
    assert by_rows.shape[-2] == plain.shape[-2]
    one_row = class_grid(images, torch.arange(6), 6, [])
    assert torch.equal(one_row, grid(image_captions(images, list("012345")), 6))
    assert torch.equal(class_grid(images, None, 3, ["cat"]), plain)
    moving = class_grid(torch.rand(4, 5, 1, 9, 9), torch.tensor([0, 0, 1, 1]), 2, ["cat", "dog"])
    assert moving.shape[:3] == (5, 1, 24)


def test_names_that_cannot_be_written_are_numbers():
    names = ["cat", "\U0010fffd", " ", "x" * 100, "Köln"]
    assert [class_caption(label, names) for label in (0, 1, 2, 7)] == ["cat", "1", "2", "7"]
    assert len(class_caption(3, names)) == 24
