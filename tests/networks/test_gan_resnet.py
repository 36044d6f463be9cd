"""The residual networks of SNGAN, SAGAN and BigGAN against references, and the models made of them."""

import pytest
import torch
from torch import nn

from lightning_gen.models.gan import normalize_spectrally
from lightning_gen.networks.attention import SelfAttention
from lightning_gen.networks.conditional_norm import ConditionalNorm
from lightning_gen.networks.gan_resnet import GANResNetDiscriminator, GANResNetGenerator

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 20, 36), (1, 5, 7), (3, 9, 17)]
NARROW_PLAYERS = [f"model.{side}.{key}=8" for side in ("generator", "discriminator") for key in ("width", "largest")]
GENERATOR = {
    "width": 8,
    "largest": 16,
    "normalization": "batch",
    "attention_at": None,
    "hierarchical": False,
    "init": "xavier",
}
DISCRIMINATOR = {
    "width": 8,
    "largest": 16,
    "halvings": None,
    "extra_blocks": 1,
    "attention_at": None,
    "pooling": "sum",
    "init": "xavier",
}


def test_conditional_norm_starts_as_the_plain_one():
    maps, condition = torch.randn(4, 6, 5, 5), torch.randn(4, 3)
    expected = nn.BatchNorm2d(6)(maps)
    assert torch.equal(ConditionalNorm("batch", 6, condition_dim=3)(maps, condition), expected)
    assert torch.equal(ConditionalNorm("batch", 6, condition_dim=0)(maps), expected)


def test_conditional_norm_has_gain_and_bias_linear_in_the_condition():
    norm = ConditionalNorm("batch", 2, condition_dim=1)
    with torch.no_grad():
        norm.slopes.copy_(torch.tensor([[0.5], [0.0], [0.0], [3.0]]))  # of two gains, then of two biases
    maps = torch.randn(4, 2, 5, 5)
    plain = nn.BatchNorm2d(2)(maps)
    output = norm(maps, torch.tensor([[0.0], [1.0], [2.0], [-2.0]]))
    for i, value in enumerate([0.0, 1.0, 2.0, -2.0]):
        torch.testing.assert_close(output[i, 0], plain[i, 0] * (1 + 0.5 * value))
        torch.testing.assert_close(output[i, 1], plain[i, 1] + 3 * value)


def test_attention_starts_as_the_identity_and_follows_the_paper():
    attention, maps = SelfAttention(16), torch.randn(2, 16, 3, 4)
    assert torch.equal(attention(maps), maps)
    nn.init.ones_(attention.gamma)
    f, g, h, v = (each.weight[:, :, 0, 0] for each in (attention.f, attention.g, attention.h, attention.v))
    for image, output in zip(maps, attention(maps), strict=True):
        x = image.flatten(1)  # (C, N)
        for j in range(12):  # eq. 1 and 2, place by place
            weights = torch.stack([(f @ x[:, i]) @ (g @ x[:, j]) for i in range(12)]).softmax(0)
            gathered = v @ sum(weights[i] * (h @ x[:, i]) for i in range(12))
            torch.testing.assert_close(output.flatten(1)[:, j], gathered + x[:, j])


def test_attention_has_second_derivatives():
    attention, maps = SelfAttention(8), torch.randn(2, 8, 3, 4, requires_grad=True)
    nn.init.ones_(attention.gamma)
    (gradient,) = torch.autograd.grad(attention(maps).square().sum(), maps, create_graph=True)
    gradient.square().sum().backward()
    assert attention.f.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("condition_dim", [0, 3])
def test_every_chunk_of_a_hierarchical_latent_changes_the_image(condition_dim):
    generator = GANResNetGenerator(11, (3, 32, 32), condition_dim, **{**GENERATOR, "hierarchical": True}).eval()
    assert generator.chunks == [3, 3, 3, 2]
    for block in generator.blocks:
        for norm in (block.norm1, block.norm2):
            nn.init.normal_(norm.slopes)
    latent, condition = torch.randn(2, 11), torch.randn(2, 3) if condition_dim else None
    image = generator(latent, condition)
    for start in (0, 3, 6, 9):
        changed = latent.clone()
        changed[:, start] += 1
        assert (generator(changed, condition) - image).abs().mean() > 1e-3
    if condition_dim:
        assert (generator(latent, condition + 1) - image).abs().mean() > 1e-3


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("attention_at", [None, 16])
def test_shapes(shape, attention_at):
    generator = GANResNetGenerator(10, shape, 3, **{**GENERATOR, "attention_at": attention_at})
    discriminator = GANResNetDiscriminator(shape, 2, 3, **{**DISCRIMINATOR, "attention_at": attention_at})
    images = generator(torch.randn(2, 10), torch.randn(2, 3))
    assert images.shape == (2, *shape)
    assert discriminator(images, torch.randn(2, 3)).shape == (2, 2)


def test_attention_stands_at_the_nearest_height():
    def attended(network):
        return [isinstance(each, SelfAttention) for each in network.attention]

    at_14 = {"attention_at": 16}
    assert attended(GANResNetGenerator(4, (1, 28, 28), **{**GENERATOR, **at_14})) == [True, False]
    assert attended(GANResNetDiscriminator((1, 28, 28), 1, **{**DISCRIMINATOR, **at_14})) == [True, False, False]


def test_discriminator_of_the_paper_for_32_pixels():
    chosen = {"width": 16, "halvings": 2, "extra_blocks": 2}
    discriminator = GANResNetDiscriminator((3, 32, 32), 1, **{**DISCRIMINATOR, **chosen})
    assert [block.down for block in discriminator.blocks] == [True, True, False, False]
    sizes = []
    for block in discriminator.blocks:
        block.register_forward_hook(lambda _, __, maps: sizes.append(tuple(maps.shape[1:])))
    discriminator(torch.randn(1, 3, 32, 32))
    assert sizes == [(16, 16, 16)] + 3 * [(16, 8, 8)]


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_the_pooled_features_come_out_where_as_many_are_wanted(pooling):
    chosen = {**DISCRIMINATOR, "pooling": pooling}
    features = GANResNetDiscriminator((3, 32, 32), 16, **chosen)
    logit = GANResNetDiscriminator((3, 32, 32), 1, **chosen)
    logit.blocks.load_state_dict(features.blocks.state_dict())
    images = torch.randn(2, 3, 32, 32)
    maps = images
    for block in features.blocks:
        maps = block(maps)
    pooled = maps.relu().flatten(2).sum(2) / (16 if pooling == "mean" else 1)
    torch.testing.assert_close(features(images), pooled)
    torch.testing.assert_close(logit(images), logit.head(pooled))


@pytest.mark.parametrize("init", ["xavier", "orthogonal"])
def test_spectral_norm_bounds_every_weight(init):
    shared = {"init": init, "attention_at": 16}
    generator = GANResNetGenerator(12, (3, 32, 32), 3, **{**GENERATOR, **shared, "hierarchical": True})
    discriminator = GANResNetDiscriminator((3, 32, 32), 1, **{**DISCRIMINATOR, **shared})
    for network in (generator, discriminator):
        normalize_spectrally(network)
    for _ in range(40):
        discriminator(generator(torch.randn(2, 12), torch.randn(2, 3)))
    for network in (generator.eval(), discriminator.eval()):
        weights = [each.weight.detach() for each in network.modules() if isinstance(each, nn.Linear | nn.Conv2d)]
        assert len(weights) > 9
        for weight in weights:
            assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)
