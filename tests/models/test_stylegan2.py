"""StyleGAN2: its layers against the paper's equations, its styles, and the model on every kind of data."""

import pytest
import torch
import torch.nn.functional as F
from helpers.configs import composed
from torch import nn

from lightning_gen.batch import Batch
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_model
from lightning_gen.errors import UserError
from lightning_gen.losses.path_length import PathLengthPenalty
from lightning_gen.losses.penalties import R1, Players, Round
from lightning_gen.networks.stylegan2 import HalvingBlock, StyleGAN2Discriminator, StyleGAN2Generator
from lightning_gen.networks.stylegan2_layers import (
    EqualizedConv,
    EqualizedLinear,
    FilteredDownsample,
    FilteredUpsample,
    ModulatedConv,
    ModulatedUpConv,
    StyledConv,
    with_deviation,
)
from lightning_gen.testing import check_model

NARROW_STYLEGAN = [
    *(f"model.{player}.{key}=8" for player in ("generator", "discriminator") for key in ("width", "largest")),
    *("model.generator.style_dim=8", "model.conditioning.features=8", "model.latent_dim=8"),
]


@pytest.fixture(autouse=True)
def same_draws():
    torch.manual_seed(0)


def model(*overrides: str, shape=(1, 12, 10), num_classes=None):
    made = build_model(composed("model=stylegan2", *NARROW_STYLEGAN, *overrides)["model"], shape, num_classes)
    return made.eval()


def own_weights(conv: ModulatedConv, style: torch.Tensor) -> torch.Tensor:
    """The weights of each image `(B, out, in, k, k)`, by eq. 1 to 3."""
    weight = conv.weight * conv.weight_scale * conv.affine(style)[:, None, :, None, None]
    if conv.demodulate:
        weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    return weight


@pytest.mark.parametrize("demodulate", [True, False])
def test_modulation_is_a_convolution_with_weights_of_each_image(demodulate):
    conv = ModulatedConv(5, 7, 4, demodulate=demodulate)
    maps, style = torch.randn(3, 5, 6, 9), torch.randn(3, 4)
    expected = torch.cat([F.conv2d(m[None], w, padding=1) for m, w in zip(maps, own_weights(conv, style), strict=True)])
    torch.testing.assert_close(conv(maps, style), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(12, 18), (11, 17)])
def test_upsampling_modulation_is_filtering_and_then_convolving(size):
    conv = ModulatedUpConv(5, 7, 4, size)
    maps, style = torch.randn(3, 5, 6, 9), torch.randn(3, 4)
    doubled = FilteredUpsample(size)(maps)
    weights = own_weights(conv, style).flip((3, 4))  # a transposed convolution mirrors them
    expected = torch.cat([F.conv2d(m[None], w, padding=1) for m, w in zip(doubled, weights, strict=True)])
    out = conv(maps, style)
    assert out.shape == expected.shape == (3, 7, *size)
    inside = slice(3, -4)  # they differ in what is beyond the border
    torch.testing.assert_close(out[:, :, inside, inside], expected[:, :, inside, inside], atol=1e-5, rtol=1e-5)


def test_maps_stay_in_16_bits_under_autocast(monkeypatch):
    rsqrt = torch.Tensor.rsqrt
    monkeypatch.setattr(torch.Tensor, "rsqrt", lambda values: rsqrt(values.float()))  # as autocast does on CUDA
    sizes = {"width": 8, "largest": 8}
    generator = StyleGAN2Generator(8, (1, 16, 16), **sizes, style_dim=8, mapping_depth=1)
    discriminator = StyleGAN2Discriminator((1, 16, 16), 1, **sizes, group_size=4)
    types = {}
    for name, layer in [*generator.named_modules(), *discriminator.named_modules()]:
        if isinstance(layer, StyledConv | ModulatedConv | EqualizedConv | HalvingBlock):
            layer.register_forward_hook(lambda _, inputs, output, name=name: types.update({name: output.dtype}))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        discriminator(generator(torch.randn(4, 8)))
    assert len(types) > 12
    assert set(types.values()) == {torch.bfloat16}


def test_demodulation_keeps_the_variance():
    out = ModulatedConv(64, 256, 8)(torch.randn(8, 64, 16, 16), 3 * torch.randn(8, 8))[:, :, 1:-1, 1:-1]
    assert out.std().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("size", "half"), [((8, 8), (4, 4)), ((7, 13), (4, 7)), ((20, 5), (10, 3))])
def test_resampling_keeps_constants_and_gives_exact_sizes(size, half):
    image, small = torch.full((2, 3, *size), 0.7), torch.full((2, 3, *half), 0.7)
    torch.testing.assert_close(FilteredDownsample()(image), small)
    torch.testing.assert_close(FilteredUpsample(size)(small), image)


def test_upsampling_is_by_the_filter_of_four_taps():
    expected = F.interpolate(maps := torch.randn(2, 3, 5, 4), scale_factor=2.0, mode="bilinear")
    torch.testing.assert_close(FilteredUpsample((10, 8))(maps), expected)


def test_equalised_layers_keep_the_variance_whatever_their_learning_rate():
    vectors = torch.randn(512, 256)
    assert EqualizedLinear(256, 256, lr_multiplier=0.01, gain=2.0)(vectors).std().item() == pytest.approx(2, rel=0.05)
    assert EqualizedLinear(256, 2, lr_multiplier=0.01, bias=1.0)(0 * vectors).sub(1).abs().max() < 1e-6
    out = EqualizedConv(64, 64, 3)(torch.randn(8, 64, 16, 16))[:, :, 1:-1, 1:-1]
    assert out.std().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(("batch", "groups"), [(8, 2), (6, 2), (5, 5), (1, 1)])
def test_deviation_is_of_groups_that_divide_the_batch(batch, groups):
    maps = torch.randn(batch, 3, 4, 5)
    expected = [maps[i % groups :: groups].var(0, correction=0).add(1e-8).sqrt().mean() for i in range(batch)]
    out = with_deviation(maps, 4)
    assert torch.equal(out[:, :3], maps)
    torch.testing.assert_close(out[:, 3], torch.stack(expected)[:, None, None].expand(-1, 4, 5))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 36), (2, 5, 9)])
def test_shapes_and_gradients_of_any_image(shape):
    options = {"width": 4, "largest": 8}
    generator = StyleGAN2Generator(6, shape, 3, **options, style_dim=5, mapping_depth=2)
    discriminator = StyleGAN2Discriminator(shape, 7, 3, **options, group_size=2)
    condition = torch.randn(4, 3)
    images = generator(torch.randn(4, 6), condition)
    assert images.shape == (4, *shape)
    out = discriminator(images, condition)
    assert out.shape == (4, 7)
    out.square().sum().backward()
    for name, parameter in [*generator.named_parameters(), *discriminator.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_each_layer_has_a_style_of_its_own():
    generator = StyleGAN2Generator(6, (1, 16, 16), width=4, largest=8, style_dim=5, mapping_depth=1)
    style = generator.mapping(torch.randn(2, 6))
    layers = generator.synthesis.num_layers
    styles = style[:, None].repeat(1, layers, 1)
    image = generator.synthesis(style)
    torch.testing.assert_close(generator.synthesis(styles), image)
    for layer in range(layers):
        changed = styles.clone()
        changed[:, layer] += 1
        assert not torch.allclose(generator.synthesis(changed), image), f"layer {layer} has no style"


def test_mixing_changes_images_from_the_crossover_on():
    generator = model().generator
    latent, other = torch.randn(2, 3, 8)
    layers = generator.decoder.synthesis.num_layers
    image = generator(latent)
    mixed = generator(latent, None, other, torch.tensor([1, layers - 1, layers]))
    assert not torch.allclose(mixed[0], image[0])
    assert not torch.allclose(mixed[1], image[1])
    torch.testing.assert_close(mixed[2], image[2])


def test_rounds_mix_in_training_only():
    gan = model("model.mixing=1.0")
    batch = Batch(torch.zeros(4, 1, 12, 10), None)
    round_ = gan.forward_generator(batch)
    torch.testing.assert_close(gan.generator(round_.latent), round_.fake)
    gan.train()
    round_ = gan.forward_generator(batch)
    assert not torch.allclose(gan.generator(round_.latent), round_.fake)


def test_truncation_draws_styles_to_their_mean():
    gan = model()
    gan.train()
    for _ in range(3):
        gan.forward_generator(Batch(torch.zeros(8, 1, 12, 10), None))
    gan.eval()
    mean = gan.generator.mean_style
    assert mean.any()
    full = sampled(gan, None)
    torch.testing.assert_close(sampled(gan, 1.0), full)
    center = gan.decode_style(mean[None]).expand_as(full)
    torch.testing.assert_close(sampled(gan, 0.0), center)
    assert (sampled(gan, 0.5) - center).abs().mean() < (full - center).abs().mean()


def sampled(gan, truncation):
    torch.manual_seed(1)
    gan.truncation = truncation
    return gan.sample(4)


def test_mean_style_is_of_all_so_far_and_then_of_the_latest():
    generator = model().generator
    first, second = torch.randn(2, 4, 8)
    generator.update_mean(first)
    torch.testing.assert_close(generator.mean_style, first.mean(0))
    generator.update_mean(second)
    torch.testing.assert_close(generator.mean_style, torch.cat([first, second]).mean(0))
    generator.batches_followed.fill_(10**6)
    before = generator.mean_style.clone()
    generator.update_mean(first)
    torch.testing.assert_close(generator.mean_style, before.lerp(first.mean(0), 0.005))


def test_styles_decode_to_what_latents_do():
    gan = model("model.conditional=true", num_classes=3)
    latent, labels = torch.randn(3, 8), torch.arange(3)
    torch.testing.assert_close(gan.decode_style(gan.style(latent, labels)), gan.decode(latent, labels))
    assert gan.style(latent).shape == (3, 8)


class Linear(nn.Module):
    """Images that are a matrix times the style, the style being the latent."""

    def __init__(self, dim: int, shape: tuple[int, ...]):
        super().__init__()
        self.shape = shape
        self.matrix = nn.Parameter(torch.randn(torch.Size(shape).numel(), dim))

    def style(self, latent, labels=None):
        return latent.requires_grad_()

    def render(self, style):
        return (style @ self.matrix.t()).unflatten(1, self.shape)


def test_path_length_is_the_norm_of_the_transposed_jacobian_times_noise():
    generator = Linear(5, (2, 4, 6))
    penalty = PathLengthPenalty(2.0, batch_share=2, decay=0.9)
    round_ = Round(torch.zeros(6, 2, 4, 6), torch.zeros(6, 2, 4, 6), torch.randn(6, 5))
    torch.manual_seed(3)
    noise = torch.randn(3, 2, 4, 6).flatten(1) / 24**0.5  # of half the batch
    lengths = (noise @ generator.matrix).norm(dim=1)
    torch.manual_seed(3)
    value = penalty(Players(generator, None), round_)
    torch.testing.assert_close(penalty.mean_length, 0.1 * lengths.mean())
    expected = (lengths - penalty.mean_length).square().mean()
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value, generator.matrix)
    reference = (lengths - penalty.mean_length.detach()).square().mean()
    torch.testing.assert_close(gradient, torch.autograd.grad(reference, generator.matrix)[0])


def test_path_length_is_of_latents_where_there_are_no_styles():
    matrix = torch.randn(48, 5)
    round_ = Round(torch.zeros(6, 2, 4, 6), None, torch.randn(6, 5))
    penalty = PathLengthPenalty(2.0, decay=0.0)
    torch.manual_seed(3)
    lengths = (torch.randn(6, 48) / 24**0.5 @ matrix).norm(dim=1)
    torch.manual_seed(3)
    value = penalty(Players(lambda latent, labels: (latent @ matrix.t()).unflatten(1, (2, 4, 6)), None), round_)
    torch.testing.assert_close(value, lengths.var(correction=0))


def test_path_length_reaches_every_weight_behind_styles():
    gan = model()
    latent = torch.randn(4, 8)
    value = PathLengthPenalty(2.0)(Players(gan.generator, None), Round(torch.zeros(4, 1, 12, 10), None, latent))
    value.backward()
    assert gan.generator.decoder.mapping.layers[0].weight.grad.any()
    assert gan.generator.decoder.synthesis.levels[0].convs[0].conv.weight.grad.any()


def test_r1_differentiates_the_discriminator_twice():
    discriminator = StyleGAN2Discriminator((1, 12, 9), 1, width=4, largest=8, group_size=2).double()
    images = torch.randn(4, 1, 12, 9, dtype=torch.double)
    players = Players(None, lambda images, labels: discriminator(images)[:, 0])
    weight = discriminator.blocks[0].second.weight

    def value():
        return R1(1.0)(players, Round(images, None, None))

    (gradient,) = torch.autograd.grad(value(), weight)
    step = 1e-5 * torch.randn_like(weight)
    with torch.no_grad():
        weight += step
        above = value_of(value)
        weight -= 2 * step
        below = value_of(value)
    torch.testing.assert_close((gradient * step).sum(), (above - below) / 2, rtol=1e-3, atol=1e-12)


def value_of(function):
    with torch.enable_grad():
        return function().detach()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.mixing=2", "model.mixing"),
        ("model.generator.mapping_depth=0", "mapping_depth"),
        ("network@model.generator=dcgan_generator", "has no styles"),
    ],
)
def test_impossible_settings_are_user_errors(override, message):
    small = [] if override.startswith("network") else NARROW_STYLEGAN
    with pytest.raises(UserError, match=message):
        build_model(compose(["model=stylegan2", *small, override])["model"], (1, 12, 10), None)


@pytest.mark.slow
def test_lazy_penalties_train_and_resume():
    check_model(
        "stylegan2", *NARROW_STYLEGAN, "model.penalty.r1.every=2", "model.penalty.path_length.every=2", data="gray"
    )
