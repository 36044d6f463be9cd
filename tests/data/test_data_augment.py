"""Augmentations against one-image-at-a-time references."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.data.augment import Affine, Binarize, Crop, Flip, Jitter, augmented, normalize
from lightning_gen.randomness import seed_all


def random_bytes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_flip_mirrors_about_a_share_p_of_the_images() -> None:
    images = random_bytes(1000, 1, 3, 5)
    seed_all("flip")
    flipped = Flip(0.3)(images)
    mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(flipped, images, strict=True)]
    unchanged = [torch.equal(new, old) for new, old in zip(flipped, images, strict=True)]
    assert all(one != other for one, other in zip(mirrored, unchanged, strict=True))
    assert 240 < sum(mirrored) < 360
    assert torch.equal(Flip(0.0)(images), images)
    assert torch.equal(Flip(1.0)(images), images.flip(-1))


@pytest.mark.parametrize("mode", ["reflect", "zero"])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_crop_equals_pad_and_cut(mode: str, as_bytes: bool) -> None:
    images = random_bytes(60, 2, 5, 7)
    images = images if as_bytes else normalize(images)
    padding = 2
    seed_all("crop")
    cropped = Crop(padding, mode)(images)
    assert cropped.dtype == images.dtype
    seed_all("crop")
    rows = torch.randint(-padding, padding + 1, (60, 1)) + padding
    columns = torch.randint(-padding, padding + 1, (60, 1)) + padding
    black = 0 if as_bytes else -1
    arguments = {"mode": "reflect"} if mode == "reflect" else {"mode": "constant", "value": black}
    padded = F.pad(images.float(), (padding,) * 4, **arguments).to(images.dtype)
    for number, (row, column) in enumerate(zip(rows.view(-1).tolist(), columns.view(-1).tolist(), strict=True)):
        assert torch.equal(cropped[number], padded[number, :, row : row + 5, column : column + 7])
    assert len(set(rows.view(-1).tolist())) == 2 * padding + 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jitter_equals_the_formula_per_image(channels: int) -> None:
    images = normalize(random_bytes(10, channels, 6, 4))
    seed_all("jitter")
    changed = Jitter(0.5, 0.4, 0.3)(images)
    seed_all("jitter")
    factors = [torch.empty(10, 1, 1, 1).uniform_(1 - x, 1 + x).view(-1) for x in (0.5, 0.4, 0.3)[: 3 - (channels == 1)]]
    luma = torch.tensor([0.299, 0.587, 0.114])
    for number, image in enumerate(images):
        colors = (image[:3] + 1) / 2
        gray = (lambda x: (x * luma[:, None, None]).sum(0)) if channels > 1 else lambda x: x[0]
        colors = (colors * factors[0][number]).clamp(0, 1)
        mean = gray(colors).mean()
        colors = (mean + (colors - mean) * factors[1][number]).clamp(0, 1)
        if channels > 1:
            colors = (gray(colors) + (colors - gray(colors)) * factors[2][number]).clamp(0, 1)
        torch.testing.assert_close(changed[number, :3], colors * 2 - 1, atol=1e-5, rtol=0)
        if channels == 4:
            torch.testing.assert_close(changed[number, 3], image[3])
    torch.testing.assert_close(Jitter(0, 0, 0)(images), images, atol=1e-5, rtol=0)


def sampled(image: Tensor, row: float, column: float, fill: float) -> Tensor:
    """Bilinear interpolation of one image at a place in pixels."""
    total = torch.zeros(len(image))
    for y in (math.floor(row), math.floor(row) + 1):
        for x in (math.floor(column), math.floor(column) + 1):
            inside = 0 <= y < image.shape[1] and 0 <= x < image.shape[2]
            weight = (1 - abs(row - y)) * (1 - abs(column - x))
            total += weight * (image[:, y, x] if inside else fill)
    return total


@pytest.mark.parametrize("fill", [-1.0, 0.5])
def test_affine_equals_a_pixel_by_pixel_warp(fill: float) -> None:
    height, width = 6, 9
    images = normalize(random_bytes(4, 2, height, width))
    affine = Affine(degrees=30, scale=[0.7, 1.4], shear=20, translate=0.2, fill=fill)
    seed_all("affine")
    warped = affine(images)
    seed_all("affine")
    angle = torch.empty(4).uniform_(-math.radians(30), math.radians(30)).tolist()
    shear = torch.empty(4).uniform_(-math.radians(20), math.radians(20)).tolist()
    scale = torch.empty(4).uniform_(0.7, 1.4).tolist()
    move_x, move_y = (torch.empty(4).uniform_(-0.4, 0.4).tolist() for _ in range(2))
    for number in range(4):
        cosine, sine, skew = math.cos(angle[number]), math.sin(angle[number]), math.tan(shear[number])
        for row in range(height):
            for column in range(width):
                y, x = row - (height - 1) / 2, column - (width - 1) / 2  # pixels from the center
                x_skewed = x + skew * y
                source_x = (cosine * x_skewed - sine * y) / scale[number] + move_x[number] * width / 2
                source_y = (sine * x_skewed + cosine * y) / scale[number] + move_y[number] * height / 2
                place = (source_y + (height - 1) / 2, source_x + (width - 1) / 2)
                expected = sampled(images[number], *place, fill)
                torch.testing.assert_close(warped[number, :, row, column], expected, atol=1e-4, rtol=0)


def test_affine_without_change_is_the_identity() -> None:
    images = normalize(random_bytes(3, 1, 8, 5))
    torch.testing.assert_close(Affine(0, [1, 1], 0, 0)(images), images, atol=1e-5, rtol=0)


def test_binarize_is_white_with_the_intensity_as_probability() -> None:
    images = normalize(torch.tensor([0, 64, 191, 255], dtype=torch.uint8).view(1, 1, 2, 2).repeat(4000, 1, 1, 1))
    seed_all("binarize")
    for binary in (Binarize()(images), Binarize().fixed(images, torch.arange(4000))):
        assert set(binary.unique().tolist()) == {-1.0, 1.0}
        share = (binary == 1).float().mean(0).view(-1)
        assert share[0] == 0
        assert share[3] == 1
        torch.testing.assert_close(share[1:3], torch.tensor([64 / 255, 191 / 255]), atol=0.025, rtol=0)


def test_fixed_noise_is_uniform_and_uncorrelated() -> None:
    half = torch.zeros(2000, 1, 8, 8)
    pixels = Binarize().fixed(half, torch.arange(2000)).view(2000, 64)
    assert pixels.mean().abs() < 4 / math.sqrt(2000 * 64)
    correlation = torch.corrcoef(pixels.T) - torch.eye(64)
    assert correlation.abs().max() < 5 / math.sqrt(2000)
    between_images = torch.corrcoef(pixels[:200]) - torch.eye(200)
    assert between_images.abs().max() < 6 / math.sqrt(64)


def test_bytes_and_floats_go_through_augmentations_alike() -> None:
    images = random_bytes(20, 3, 8, 8)
    chain = [Flip(), Crop(2), Jitter(), Flip()]
    seed_all("chain")
    from_bytes = augmented(images, chain)
    seed_all("chain")
    torch.testing.assert_close(from_bytes, augmented(normalize(images), chain))
    assert from_bytes.dtype == torch.float32
    assert from_bytes.abs().max() <= 1


def test_affine_samples_where_torch_s_affine_grid_says() -> None:
    images = normalize(random_bytes(3, 2, 5, 8))
    seed_all("grid")
    warped = Affine(degrees=0, scale=[0.5, 2], shear=0, translate=0.3, fill=0.0)(images)
    seed_all("grid")
    _, _, scale = (torch.empty(3).uniform_(*bounds) for bounds in ((0, 0), (0, 0), (0.5, 2)))
    x, y = (torch.empty(3).uniform_(-0.6, 0.6) for _ in range(2))
    zeros = torch.zeros(3)
    maps = torch.stack([torch.stack([1 / scale, zeros, x], 1), torch.stack([zeros, 1 / scale, y], 1)], 1)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    torch.testing.assert_close(warped, F.grid_sample(images, grid, align_corners=False), atol=1e-5, rtol=0)
