"""Image files: 8-bit values and back, grids, PNG and GIF."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.errors import UserError
from lightning_gen.images import enlarged, grid, over_white, save_gif, save_mp4, save_png, to_uint8


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
            over_white = round(value * value / 255 + 255 - value) if channels == 4 else value  # its alpha is its value
            assert gif.convert("RGB").getpixel((3, 3)) == (over_white,) * 3


def test_gif_without_frames_is_refused(tmp_path):
    with pytest.raises(ValueError, match="frame"):
        save_gif([], tmp_path / "a.gif")


def test_alpha_is_blended_with_white():
    pixel = torch.tensor([200, 100, 0, 51], dtype=torch.uint8).view(4, 1, 1)
    expected = [round(value * 0.2 + 255 * 0.8) for value in (200, 100, 0)]
    assert over_white(pixel).flatten().tolist() == expected
    assert to_uint8(over_white(pixel / 127.5 - 1)).flatten().tolist() == expected
    assert torch.equal(over_white(pixel[:3]), pixel[:3])


def test_enlarged_pixels_are_squares():
    assert enlarged(torch.tensor([[[1, 2]]]), 2).tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2]]]


def test_a_video_has_its_frames(tmp_path):
    av = pytest.importorskip("av")
    save_mp4([torch.full((1, 15, 20), value, dtype=torch.uint8) for value in (0, 90, 250)], tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert [frame.shape for frame in frames] == [(16, 20, 3)] * 3
    assert [int(frame[4, 4, 0]) for frame in frames] == pytest.approx([0, 90, 250], abs=4)


def test_a_video_without_its_library_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        UserError, match=r"^format=mp4: the package av is missing: pip install 'lightning-gen\[video\]'"
    ):
        save_mp4([torch.zeros(1, 4, 4)], tmp_path / "a.mp4")
