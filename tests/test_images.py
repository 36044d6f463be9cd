"""Image files: 8-bit values and back, grids, PNG and GIF."""

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.images import grid, save_gif, save_png, to_uint8


def test_all_levels_come_back():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(levels.float() / 127.5 - 1), levels)


def test_values_are_rounded_and_clamped():
    level = 2 / 255
    values = torch.tensor([-5, -1, -1 + 0.4 * level, -1 + 0.6 * level, 0.999, 1, 7, torch.nan, torch.inf])
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 255, 255, 255, 0, 255]


def test_grid_places_images_row_by_row():
    images = torch.arange(1, 6, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 4, 6)
    laid = grid(images, columns=2, border=1)
    assert laid.shape == (3, 3 * 5 + 1, 2 * 7 + 1)
    assert laid[0, 1::5, 1::7].tolist() == [[1, 2], [3, 4], [5, 0]]
    assert laid[:, 0].max() == 0
    assert laid[:, :, 7].max() == 0
    assert torch.equal(laid[:, 6:10, 8:14], images[3])


def test_grid_is_square_by_default_and_keeps_floats_black():
    laid = grid(torch.ones(7, 1, 2, 2), border=1)
    assert laid.shape == (1, 10, 10)
    assert laid.min() == -1


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_png_holds_the_pixels(tmp_path, channels, mode):
    image = torch.randint(256, (channels, 5, 7), dtype=torch.uint8)
    save_png(image, tmp_path / "a.png")
    save_png(image.float() / 127.5 - 1, tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        with Image.open(tmp_path / name) as read:
            assert read.mode == mode
            array = np.asarray(read)
        assert np.array_equal(array if channels > 1 else array[..., None], image.permute(1, 2, 0).numpy())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_other_numbers_of_channels_are_refused(tmp_path):
    with pytest.raises(ValueError, match="channels"):
        save_png(torch.zeros(2, 4, 4), tmp_path / "a.png")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_gif_has_its_frames_and_loops(tmp_path, channels):
    frames = [torch.full((channels, 8, 8), value, dtype=torch.uint8) for value in (0, 60, 120, 250)]
    save_gif(iter(frames), tmp_path / "a.gif", fps=10)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 4
        assert gif.info["loop"] == 0
        assert gif.info["duration"] == 100
        for number, value in enumerate((0, 60, 120, 250)):
            gif.seek(number)
            assert gif.convert("RGB").getpixel((3, 3)) == (value, value, value)


def test_gif_without_frames_is_refused(tmp_path):
    with pytest.raises(ValueError, match="frame"):
        save_gif([], tmp_path / "a.gif")
