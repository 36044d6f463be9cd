"""Augmentation before the discriminator: what it does to pixels, its derivatives, and how ADA adapts."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from lightning_gen.errors import UserError
from lightning_gen.networks.ada import AdaptiveAugment, color_maps
from lightning_gen.networks.diff_augment import DiffAugment, colored, recolor
from lightning_gen.networks.warp import sampling_grid, warp
from lightning_gen.testing import check_model

PIPELINE = ["blit", "geometric", "color"]
SHAPES = [(1, 28, 28), (3, 32, 32), (4, 9, 13), (3, 20, 36)]
NARROW_WITH_R1 = ("model.generator.width=8", "model.discriminator.width=8", "model/penalty=[r1]")


def ada(initial: float = 1.0, pipeline=PIPELINE, target=0.6, images_to_full=1000, schedule=None) -> AdaptiveAugment:
    return AdaptiveAugment(pipeline, target, images_to_full, initial, interval=4, schedule=schedule)


def diffaugment(*policy: str, cutout: float = 0.5) -> DiffAugment:
    return DiffAugment(list(policy) or ["color", "translation", "cutout"], shift=0.125, cutout=cutout)


AUGMENTS = pytest.mark.parametrize("make", [ada, diffaugment])


def images_of(shape: tuple[int, ...], n: int = 8, dtype=torch.float32) -> torch.Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)).to(dtype) * 2 - 1


# Both of them.


@AUGMENTS
@pytest.mark.parametrize("shape", SHAPES)
def test_images_change_in_training_only_and_keep_their_shape(make, shape):
    augment, images = make(), images_of(shape)
    torch.manual_seed(0)
    out = augment(images)
    assert out.shape == images.shape
    assert out.dtype == images.dtype
    assert out.isfinite().all()
    assert not torch.isclose(out, images).flatten(1).all(1).any()
    assert not torch.equal(out, augment(images))
    augment.eval()
    assert augment(images) is images


@AUGMENTS
def test_each_image_has_a_draw_of_its_own(make):
    torch.manual_seed(0)
    out = make()(images_of((3, 16, 16), n=1).expand(16, -1, -1, -1))
    assert len(out.flatten(1).unique(dim=0)) == 16


@AUGMENTS
@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 4, 4)])
def test_twice_differentiable(make, shape):
    augment, images = make(), images_of(shape, n=2, dtype=torch.float64).requires_grad_()

    def same_draws(x):
        torch.manual_seed(3)
        return augment(x).square()  # a linear map alone would have second derivatives of zero

    assert gradcheck(same_draws, images)
    assert gradgradcheck(same_draws, images)


@AUGMENTS
def test_under_autocast_images_keep_their_digits(make):
    augment, images = make(), images_of((3, 8, 8))
    outputs = []
    for enabled in (True, False):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            outputs.append(augment(images))
    assert torch.equal(*outputs)


# The warp.


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 3, 3)])
def test_warp_is_grid_sample_any_number_of_times_differentiable(shape):
    torch.manual_seed(0)
    linear, shift = torch.randn(2, 2, 2, dtype=torch.float64), 3 * torch.randn(2, 2, dtype=torch.float64)
    images = images_of(shape, n=2, dtype=torch.float64).requires_grad_()
    expected = F.grid_sample(
        images, sampling_grid(linear, shift, *shape[1:]), padding_mode="reflection", align_corners=False
    )
    assert torch.equal(warp(images, linear, shift), expected)
    weights = torch.randn_like(expected)
    ours = torch.autograd.grad((warp(images, linear, shift) * weights).sum(), images)
    assert torch.allclose(*ours, *torch.autograd.grad((expected * weights).sum(), images))
    assert gradcheck(lambda x: warp(x, linear, shift), images)
    assert gradgradcheck(lambda x: warp(x, linear, shift) ** 3, images)


def test_warp_maps_pixels():
    images = images_of((2, 6, 9), n=1)
    eye = torch.eye(2)[None]

    def warped(linear, right=0.0, down=0.0):
        return warp(images, linear, torch.tensor([[right, down]]))

    assert torch.allclose(warped(eye), images, atol=1e-5)
    assert torch.allclose(warped(eye, right=2)[..., :-2], images[..., 2:], atol=1e-5)
    assert torch.allclose(warped(eye, right=2)[..., -2:], images[..., -2:].flip(-1), atol=1e-5)  # reflected
    assert torch.allclose(warped(eye, down=-1)[:, :, 1:], images[:, :, :-1], atol=1e-5)
    assert torch.allclose(warped(-eye), images.flip(2, 3), atol=1e-5)
    halves = (images[..., 1:] + images[..., :-1]) / 2
    assert torch.allclose(warped(eye, right=0.5)[..., :-1], halves, atol=1e-5)


# ADA's transformations.


@pytest.mark.parametrize("shape", SHAPES)
def test_no_strength_is_the_identity(shape):
    images = images_of(shape)
    assert torch.allclose(ada(0.0)(images), images, atol=2e-5)


@pytest.mark.parametrize(("shape", "orientations"), [((1, 16, 16), 8), ((1, 16, 24), 2)])
def test_blit_is_flips_quarter_turns_and_shifts_by_whole_pixels(shape, orientations):
    _, height, width = shape
    images = torch.full((400, *shape), -1.0)
    images[:, :, 6, 6], images[:, :, 6, 10], images[:, :, 9, 6] = 1.0, 0.6, 0.2  # of no symmetry
    torch.manual_seed(0)
    out = ada(pipeline=["blit"])(images)
    values, places = out.flatten(1).topk(3)
    assert torch.allclose(values, torch.tensor([1.0, 0.6, 0.2]).expand_as(values), atol=1e-4)
    points = torch.stack([places // width, places % width], -1)
    sides = (points[:, 1:] - points[:, :1]).flatten(1)  # where the other two lie, seen from the first
    assert len(sides.unique(dim=0)) == orientations
    shifts = torch.stack([ada(pipeline=["blit"]).blit(images)[1] for _ in range(5)]).flatten(0, 1)
    assert torch.equal(shifts, shifts.round())
    assert shifts.abs().amax(0).tolist() == [width // 8, height // 8]


def test_geometric_maps_have_the_papers_statistics():
    torch.manual_seed(0)
    linear, shift = ada(pipeline=["geometric"]).geometric(torch.empty(20_000, 1, 16, 32))
    scales = linear.det().sqrt().log2()
    stretches = (torch.linalg.cond(linear).log2() / 2).square().mean().sqrt()
    moved = torch.linalg.solve(linear, shift)
    assert scales.mean().item() == pytest.approx(0, abs=0.01)
    assert scales.std().item() == pytest.approx(0.2, rel=0.03)
    assert stretches.item() == pytest.approx(0.2, rel=0.03)
    assert moved.std(0).tolist() == pytest.approx([4, 2], rel=0.03)


def test_each_transformation_comes_with_the_probability():
    torch.manual_seed(0)
    images = torch.empty(20_000, 3, 16, 16)
    augment = ada(0.3)
    linear, shift = augment.geometric(images)
    moved = (shift != 0).any(1).float().mean().item()
    unscaled = (linear.det() - 1).abs() < 1e-5
    upright = (linear[:, 0, 1].abs() < 1e-6) & (linear[:, 1, 0].abs() < 1e-6)
    flipped, by_pixels = augment.blit(images)
    turned = (flipped - torch.eye(2)).flatten(1).any(1).float().mean().item()
    assert moved == pytest.approx(0.3, abs=0.015)
    assert unscaled.float().mean().item() == pytest.approx(0.7, abs=0.015)
    assert upright.float().mean().item() == pytest.approx(0.7, abs=0.015)  # neither of the rotations
    assert turned == pytest.approx(1 - 0.85 * 0.775, abs=0.015)
    assert (by_pixels != 0).any(1).float().mean().item() == pytest.approx(0.3 * 24 / 25, abs=0.05)


def maps(channels: int = 3, brightness=0.0, contrast=1.0, luma_flip=0.0, hue=0.0, saturation=1.0):
    values = (torch.tensor([x]) for x in (brightness, contrast, luma_flip, hue, saturation))
    linear, shift = color_maps(channels, *values)
    return lambda color: (linear[0] @ torch.tensor(color) + shift[0, :, 0]).tolist()


def test_colors_against_numbers():
    red = [0.9, -0.3, 0.0]  # mean 0.2
    cases = [
        ({}, red),
        ({"brightness": 0.1}, [1.0, -0.2, 0.1]),
        ({"contrast": 2.0}, [1.8, -0.6, 0.0]),
        ({"brightness": 0.1, "contrast": 2.0}, [2.0, -0.4, 0.2]),
        ({"luma_flip": 1.0}, [0.5, -0.7, -0.4]),
        ({"saturation": 0.0}, [0.2, 0.2, 0.2]),
        ({"saturation": 2.0}, [1.6, -0.8, -0.2]),
        ({"hue": 2 * math.pi / 3}, [0.0, 0.9, -0.3]),
        ({"hue": math.pi}, [-0.5, 0.7, 0.4]),
    ]
    for values, expected in cases:
        assert maps(**values)(red) == pytest.approx(expected, abs=1e-6), values
    assert maps(1, brightness=0.1, contrast=2.0, luma_flip=1.0)([0.3]) == pytest.approx([-0.8])
    assert maps(4, luma_flip=1.0)([1.0, 0.0, 0.0, 0.0]) == pytest.approx([0.5, -0.5, -0.5, -0.5])


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_only_three_channels_have_hue_and_saturation(channels):
    torch.manual_seed(0)
    images = images_of((channels, 4, 4), n=64)
    out = ada(pipeline=["color"])(images)
    gray, out_gray = images.mean(1), out.mean(1)
    across, out_across = images - gray[:, None], out - out_gray[:, None]
    if channels > 1:
        contrast = (out_across * across).sum((1, 2, 3)) / across.square().sum((1, 2, 3))
        assert torch.allclose(out_across, contrast[:, None, None, None] * across, atol=1e-5)
    spread = (out_gray.std((1, 2)) / gray.std((1, 2))).log2()
    assert spread.std().item() == pytest.approx(0.5, rel=0.3)


# How ADA adapts.


def run(augment: AdaptiveAugment, logits: list[float], turns: int) -> list[float]:
    strengths = []
    for turn in range(turns):
        augment.adapt(torch.tensor(logits), len(logits), turn * len(logits), 1000)
        strengths.append(augment.strength.item())
    return strengths


def test_strength_rises_with_overfitting_at_the_configured_speed():
    strengths = run(ada(0.0), [1.0, 2.0] * 4, turns=12)  # 4 turns of 8 images of 1000
    assert strengths == pytest.approx([0, 0, 0, 0.032, 0.032, 0.032, 0.032, 0.064, 0.064, 0.064, 0.064, 0.096])
    assert run(ada(0.0), [1.0] * 100, turns=12)[-1] == 1  # 1200 images


def test_strength_falls_without_overfitting_and_stays_a_probability():
    assert run(ada(0.5), [1.0, 1.0, 1.0, -1.0], turns=4)[-1] == pytest.approx(0.5 - 0.016)  # mean sign 0.5
    assert run(ada(0.5), [1.0] * 9 + [-1.0], turns=4)[-1] == pytest.approx(0.5 + 0.04)  # mean sign 0.8
    assert run(ada(0.01), [-1.0] * 8, turns=8)[-1] == 0
    assert run(ada(0.99), [1.0] * 8, turns=8)[-1] == 1


def test_ranks_agree_on_the_mean_and_count_all_images(monkeypatch):
    """The other rank's logits are all negative: this one's alone would make the strength rise."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda t: t.add_(torch.tensor([-8.0, 8.0])))
    assert run(ada(0.5), [1.0] * 8, turns=4)[-1] == pytest.approx(0.5 - 0.064)


def test_resumed_between_changes_it_goes_on_the_same():
    straight, first, resumed = ada(0.0), ada(0.0), ada(0.0)
    expected = run(straight, [1.0] * 8, turns=9)
    run(first, [1.0] * 8, turns=6)
    assert set(first.state_dict()) == {"strength", "tally"}
    resumed.load_state_dict(first.state_dict())
    assert run(resumed, [1.0] * 8, turns=3) == expected[6:]


def test_a_schedule_gives_the_strength():
    augment = ada(0.5, schedule=lambda seen, total: seen / total)
    assert augment.strength == 0
    assert run(augment, [-1.0] * 250, turns=3) == [0, 0.125, 0.25]


@pytest.mark.parametrize("wrong", [{"initial": 1.5}, {"images_to_full": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UserError, match=f"model.augment.{next(iter(wrong))}"):
        ada(**wrong)


# DiffAugment's transformations.


def test_colors_of_diffaugment_against_numbers():
    image = torch.tensor([[0.6, -0.2], [0.0, 0.4], [0.3, 0.1]])[None, :, None]  # pixels' means 0.3, 0.1

    def outcome(images=image, brightness=0.0, saturation=1.0, contrast=1.0):
        return colored(images, *map(torch.tensor, (brightness, saturation, contrast)))[0].flatten().tolist()

    assert outcome() == pytest.approx([0.6, -0.2, 0.0, 0.4, 0.3, 0.1])
    assert outcome(brightness=-0.5) == pytest.approx([0.1, -0.7, -0.5, -0.1, -0.2, -0.4])
    assert outcome(saturation=0.0) == pytest.approx([0.3, 0.1] * 3, abs=1e-6)
    assert outcome(saturation=2.0) == pytest.approx([0.9, -0.5, -0.3, 0.7, 0.3, 0.1])
    assert outcome(contrast=0.5) == pytest.approx([0.4, 0.0, 0.1, 0.3, 0.25, 0.15])
    gray = image[:, :1]  # mean 0.2
    assert outcome(gray, saturation=0.0) == pytest.approx([0.6, -0.2])
    assert outcome(gray, brightness=0.1, contrast=1.5) == pytest.approx([0.9, -0.3])


def test_translation_moves_by_whole_pixels_and_fills_with_mid_gray():
    images = images_of((2, 16, 24), n=200)
    torch.manual_seed(0)
    out = diffaugment("translation")(images)
    seen = set()
    for image, moved in zip(images, out, strict=True):
        padded = F.pad(image, (3, 3, 2, 2))
        places = [(y, x) for y in range(5) for x in range(7) if torch.equal(padded[:, y : y + 16, x : x + 24], moved)]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) == 35  # all shifts up to an eighth


@pytest.mark.parametrize(("shape", "size"), [((3, 16, 16), (8, 8)), ((1, 13, 20), (7, 10))])
def test_cutout_takes_a_rectangle_of_half_the_side(shape, size):
    torch.manual_seed(0)
    holes = diffaugment("cutout")(torch.ones(500, *shape)) == 0
    assert torch.equal(holes.all(1), holes.any(1))
    heights, widths = holes[:, 0].any(2).sum(1), holes[:, 0].any(1).sum(1)
    assert torch.equal(holes[:, 0].sum((1, 2)), heights * widths)
    assert (heights.max(), widths.max()) == size
    assert (heights.min(), widths.min()) == (size[0] // 2 + size[0] % 2, size[1] // 2 + size[1] % 2)


def test_impossible_shares_are_refused():
    with pytest.raises(UserError, match=r"model\.augment\.cutout=2"):
        diffaugment(cutout=2)


# In a run; with target -2 the strength rises whatever the logits are.

FAST = ("model/augment=ada", "model.augment.target=-2", "model.augment.interval=1", "model.augment.images_to_full=100")


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        FAST,
        ("model/augment=diffaugment",),
        ("model/augment=ada", "model.augment.initial=0.8", "+schedule@model.augment.schedule=constant"),
    ],
)
def test_a_gan_trains_and_resumes(overrides):
    check_model("dcgan", *overrides, *NARROW_WITH_R1, data="gray")


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [(*FAST, "model.accumulate=2"), ("model/augment=diffaugment",)])
def test_a_conditional_gan_of_color_images(overrides):
    check_model("dcgan", "model.conditional=true", *overrides, *NARROW_WITH_R1, data="rgb")


def test_transparency_is_no_color():
    images = torch.rand(8, 4, 8, 8) * 2 - 1
    for changed in (ada(pipeline=["color"])(images), recolor(images)):
        assert torch.equal(changed[:, 3], images[:, 3])
        assert not torch.equal(changed[:, :3], images[:, :3])
