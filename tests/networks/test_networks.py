"""Encoders and decoders: any image size, every option, and a gradient for each weight."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lightning_gen.networks.conv import ConvDecoder, ConvEncoder, Gated
from lightning_gen.networks.layers import (
    Activation,
    Normalization,
    activation_layer,
    normalization_layer,
    pyramid,
    widths,
)
from lightning_gen.networks.mlp import MLPDecoder, MLPEncoder
from lightning_gen.networks.resnet import ResNetDecoder, ResNetEncoder

PAIRS = {
    "conv": (ConvEncoder, ConvDecoder),
    "resnet": (ResNetEncoder, ResNetDecoder),
    "mlp": (MLPEncoder, MLPDecoder),
}
CONVOLUTIONAL = ("conv", "resnet")
ACTIVATIONS, NORMALIZATIONS = Activation.__args__, Normalization.__args__


def make(kind: str, image_shape: tuple[int, int, int], **options) -> tuple[nn.Module, nn.Module]:
    """An encoder to 5 values and a decoder of 3."""
    torch.manual_seed(0)
    encoder, decoder = PAIRS[kind]
    options = {"width": 4, **options}
    return encoder(image_shape, 5, **options), decoder(3, image_shape, **options)


def check_shapes(kind: str, image_shape: tuple[int, int, int], **options) -> None:
    encoder, decoder = make(kind, image_shape, **options)
    with torch.no_grad():
        assert encoder(torch.randn(2, *image_shape)).shape == (2, 5)
        assert decoder(torch.randn(2, 3)).shape == (2, *image_shape)


def check_gradients(kind: str, image_shape: tuple[int, int, int], **options) -> None:
    """Every parameter gets a finite gradient, and one that isn't zero where no normalization cancels it."""
    encoder, decoder = make(kind, image_shape, **options)
    for network, values in ((encoder, torch.randn(3, *image_shape)), (decoder, torch.randn(3, 3))):
        for parameter in network.parameters():
            if not parameter.any():  # a block that starts as its skip passes nothing on to its first layers
                nn.init.normal_(parameter, std=0.1)
        network(values).square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, f"{name} has no gradient"
            assert parameter.grad.isfinite().all(), f"{name}: {parameter.grad}"
            cancelled = options.get("normalization", "none") != "none" and name.endswith("bias")
            assert cancelled or parameter.grad.any(), f"{name}: the gradient is zero"


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(PAIRS)),
    st.tuples(st.integers(1, 4), st.integers(5, 64), st.integers(5, 64)),
    st.integers(1, 2),
)
def test_shapes_of_any_image(kind, image_shape, depth):
    check_shapes(kind, image_shape, depth=depth)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("size", [28, 32, 64, 128])
def test_common_sizes(kind, size):
    check_shapes(kind, (3, size, size))


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
def test_large_images(kind):
    check_shapes(kind, (3, 256, 256), width=2, largest=8)


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalizations(kind, normalization):
    check_shapes(kind, (3, 17, 12), depth=2, normalization=normalization)
    check_gradients(kind, (3, 17, 12), depth=2, normalization=normalization)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(kind, activation):
    normalization = {} if kind == "mlp" else {"normalization": "none"}
    # Of few units one may be dead.
    check_gradients(kind, (2, 11, 16), width=16, depth=2, activation=activation, **normalization)


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
@pytest.mark.parametrize("image_shape", [(1, 5, 64), (3, 7, 7), (4, 8, 8), (1, 9, 31)])
def test_every_weight_gets_a_gradient(kind, image_shape):
    check_gradients(kind, image_shape, depth=2, normalization="none")


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("patch", [3, 4])
@pytest.mark.parametrize("image_shape", [(1, 5, 64), (3, 28, 28), (4, 9, 31)])
def test_patches_of_any_size(patch, image_shape, gated):
    check_gradients("conv", image_shape, patch=patch, depth=2, gated=gated)
    encoder, decoder = make("conv", image_shape, patch=patch)
    [map_before_head] = shapes_of(encoder.body[0], encoder, torch.randn(2, *image_shape))
    assert map_before_head == (2, 4, *(math.ceil(side / patch) for side in image_shape[1:]))
    [last_map] = shapes_of(decoder.out, decoder, torch.randn(2, 3))
    assert last_map == (2, *image_shape)


def shapes_of(module: nn.Module, network: nn.Module, values: torch.Tensor) -> list[tuple[int, ...]]:
    """Shapes of what `module` gives in one pass through `network`."""
    shapes = []
    with torch.no_grad(), module.register_forward_hook(lambda _, inputs, out: shapes.append(tuple(out.shape))):
        network(values)
    return shapes


def test_gated_convolutions_are_residual():
    layer = Gated(4, "none")
    maps = torch.randn(2, 4, 5, 5)
    nn.init.zeros_(layer.convolution.weight)
    nn.init.zeros_(layer.convolution.bias)
    torch.testing.assert_close(layer(maps), maps)
    nn.init.constant_(layer.convolution.bias, 2.0)  # 2 * sigmoid(2) is added
    torch.testing.assert_close(layer(maps), maps + 2 * torch.tensor(2.0).sigmoid())


@pytest.mark.parametrize("hidden", [0, 6])
def test_hidden_units_of_convolutional_networks(hidden):
    check_gradients("conv", (1, 16, 20), hidden=hidden)
    linear = [m for network in make("conv", (1, 16, 20), hidden=hidden) for m in network.modules()]
    assert sum(isinstance(m, nn.Linear) for m in linear) == (4 if hidden else 2)


def test_an_mlp_of_no_layers_is_linear():
    encoder, decoder = make("mlp", (1, 6, 7), depth=0)
    for network, values in ((encoder, torch.randn(2, 1, 6, 7)), (decoder, torch.randn(2, 3))):
        zero = network(torch.zeros_like(values))
        torch.testing.assert_close(network(3 * values) - zero, 3 * (network(values) - zero), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
def test_decoders_start_near_nothing_and_see_their_input(kind):
    _, decoder = make(kind, (3, 32, 32), width=16)
    with torch.no_grad():
        images = decoder(torch.randn(8, 3))
    assert images.abs().max() < 10
    assert images.std(dim=0).min() > 0  # each pixel depends on the latent


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
def test_encoders_see_every_pixel(kind):
    encoder, _ = make(kind, (2, 13, 22), depth=2)
    images = torch.randn(1, 2, 13, 22, requires_grad=True)
    encoder(images).sum().backward()
    assert images.grad.ne(0).all()


@settings(deadline=None)
@given(st.integers(1, 600), st.integers(1, 600))
def test_pyramid_halves_down_to_four_to_seven(height, width):
    sizes = pyramid(height, width)
    assert sizes[0] == (height, width)
    for (above, beside), below in pairwise(sizes):
        assert below == (-(-above // 2), -(-beside // 2))
        assert min(above, beside) >= 8
    assert min(sizes[-1]) < 8
    assert min(sizes[-1]) >= min(4, height, width)


def test_pyramid_of_known_sizes():
    assert pyramid(28, 28) == [(28, 28), (14, 14), (7, 7)]
    assert pyramid(32, 20) == [(32, 20), (16, 10), (8, 5)]
    assert pyramid(7, 100) == [(7, 100)]


def test_widths_double_to_the_largest():
    assert widths(16, 5, 100) == [16, 32, 64, 100, 100]
    assert widths(16, 0, 100) == []


@pytest.mark.parametrize(("channels", "groups"), [(32, 4), (12, 1), (8, 1)])
def test_groups_are_of_eight_channels(channels, groups):
    assert normalization_layer("group", channels).num_groups == groups


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalization_layers_normalize(name):
    maps = torch.randn(16, 8, 9, 9) * 5 + 3
    normalized = normalization_layer(name, 8)(maps)
    assert normalized.shape == maps.shape
    if name != "none":
        assert normalized.mean().item() == pytest.approx(0, abs=1e-3)
        assert normalized.std().item() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_layers_are_torchs(name):
    values = torch.linspace(-3, 3, 13)
    expected = {
        "leaky_relu": lambda x: nn.functional.leaky_relu(x, 0.2),
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
    }.get(name) or getattr(nn.functional, name)
    torch.testing.assert_close(activation_layer(name)(values), expected(values))
