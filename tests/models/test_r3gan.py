"""R3GAN: the derivatives of its convolutions, its networks' start, its loss, and the model on unlike data."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.dispatched import NOT_DETERMINISTIC, dispatched
from torch import nn

from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import instantiate
from lightning_gen.errors import UserError
from lightning_gen.losses.adversarial import Relativistic
from lightning_gen.losses.penalties import R1, Players, Round
from lightning_gen.networks.grouped_conv import Convolve, GroupedConv2d
from lightning_gen.networks.r3gan import R3GANDiscriminator, R3GANGenerator, ResidualBlock

SIZES = {"width": 8, "largest": 16, "depth": 2, "expansion": 2, "group_width": 4}


def scrambled(network: nn.Module) -> nn.Module:
    """With residual branches that do something."""
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            nn.init.normal_(module.narrow.weight, std=0.3)
    return network


@pytest.mark.parametrize(("groups", "size"), [(1, 3), (2, 3), (4, 1), (4, 5)])
def test_grouped_convolution_and_its_derivatives(groups, size):
    torch.manual_seed(0)
    maps = torch.randn(2, 4, 5, 3, dtype=torch.double, requires_grad=True)
    weight = torch.randn(4, 4 // groups, size, size, dtype=torch.double, requires_grad=True)

    def convolve(maps, weight):
        return Convolve.apply(maps, weight, groups)

    torch.testing.assert_close(convolve(maps, weight), F.conv2d(maps, weight, padding=size // 2, groups=groups))
    assert torch.autograd.gradcheck(convolve, (maps, weight))
    assert torch.autograd.gradgradcheck(convolve, (maps, weight))


def test_grouped_convolution_under_autocast():
    layer = GroupedConv2d(8, 3, groups=2)
    maps = torch.randn(2, 8, 6, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(maps)
    output.float().square().sum().backward()
    exact = F.conv2d(maps, layer.weight, padding=1, groups=2)
    by_maps, by_weight = torch.autograd.grad(exact.square().sum(), (maps, layer.weight))
    for value, reference in ((output, exact), (maps.grad, by_maps), (layer.weight.grad, by_weight)):
        assert (value.float() - reference).norm() < 0.02 * reference.norm()


def test_maps_stay_in_16_bits_under_autocast():
    torch.manual_seed(0)
    generator, discriminator = R3GANGenerator(5, (3, 20, 16), **SIZES), R3GANDiscriminator((3, 20, 16), 1, **SIZES)
    types = {}
    for name, layer in [*generator.named_modules(), *discriminator.named_modules()]:
        if isinstance(layer, ResidualBlock | nn.Conv2d):
            layer.register_forward_hook(lambda _, inputs, output, name=name: types.update({name: output.dtype}))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        discriminator(generator(torch.randn(2, 5)))
    assert len(types) > 12
    assert set(types.values()) == {torch.bfloat16}


def test_every_derivative_is_deterministic_on_cuda():
    generator, discriminator = R3GANGenerator(5, (3, 20, 16), **SIZES), R3GANDiscriminator((3, 20, 16), 1, **SIZES)
    players = Players(None, lambda images, labels: discriminator(images)[:, 0])

    def step():
        images = generator(torch.randn(2, 5))
        (R1(weight=1.0)(players, Round(images, images, None)) + discriminator(images).sum()).backward()

    assert not dispatched(step) & NOT_DETERMINISTIC


def test_r1_is_the_slope_of_finite_differences():
    torch.manual_seed(0)
    discriminator = scrambled(R3GANDiscriminator((2, 9, 8), 1, **SIZES)).double()
    images = torch.randn(1, 2, 9, 8, dtype=torch.double)
    steps = 1e-5 * torch.eye(images.numel(), dtype=torch.double).view(-1, *images.shape[1:])
    with torch.no_grad():
        slopes = (discriminator(images + steps) - discriminator(images - steps)) / 2e-5
    players = Players(None, lambda images, labels: discriminator(images)[:, 0])
    value = R1(weight=1.0)(players, Round(images, images, None))
    assert value.item() == pytest.approx(0.5 * slopes.square().sum().item(), rel=1e-6)
    value.backward()
    assert all(block.mix.weight.grad.any() for level in discriminator.levels for block in level)


def test_networks_start_as_their_skips_at_a_sane_scale():
    torch.manual_seed(0)
    sizes = {"width": 32, "largest": 64, "depth": 4, "expansion": 2, "group_width": 16}
    generator, discriminator = R3GANGenerator(64, (3, 32, 32), **sizes), R3GANDiscriminator((3, 32, 32), 64, **sizes)
    with torch.no_grad():
        images = generator(torch.randn(64, 64))
        outputs = discriminator(torch.randn(64, 3, 1, 1).expand(-1, -1, 32, 32))
        maps = torch.randn(2, 32, 8, 8)
        assert torch.equal(discriminator.levels[0](maps), maps)
        hidden = F.leaky_relu(discriminator.levels[0][0].widen(maps), 0.2)
    assert 0.2 < images.std() < 2
    assert 0.2 < outputs.std() < 2
    blocks = 4 * len(discriminator.sizes)
    assert hidden.square().mean().item() == pytest.approx(blocks**-0.5, rel=0.2)


@pytest.mark.parametrize("patch", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 36), (2, 5, 13), (1, 7, 7)])
def test_any_size(shape, patch):
    generator = scrambled(R3GANGenerator(5, shape, 3, **SIZES, patch=patch))
    discriminator = scrambled(R3GANDiscriminator(shape, 4, 3, **SIZES, patch=patch))
    condition = torch.randn(2, 3)
    images = generator(torch.randn(2, 5), condition)
    assert images.shape == (2, *shape)
    outputs = discriminator(images, condition)
    assert outputs.shape == (2, 4)
    outputs.square().sum().backward()
    for network in (generator, discriminator):
        assert all(p.grad.any() for p in network.parameters())


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="group_width=5"):
        R3GANDiscriminator((1, 8, 8), 1, **{**SIZES, "group_width": 5})


def test_relativistic_loss_by_hand():
    real, fake = torch.tensor([1.0, -0.5]), torch.tensor([0.0, 2.0])
    expected = (math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(2.5))) / 2
    assert Relativistic().discriminator(real, fake).item() == pytest.approx(expected)
    expected = (math.log(1 + math.exp(1.0)) + math.log(1 + math.exp(-2.5))) / 2
    assert Relativistic().generator(real, fake).item() == pytest.approx(expected)


def test_schedules_are_the_papers():
    model = compose(["experiment=cifar10/r3gan"]).model
    end = 20_000_000
    r1, r2, beta2, rate = map(
        instantiate, (model.penalty.r1.schedule, model.penalty.r2.schedule, model.beta2_schedule, model.schedule)
    )
    assert model.penalty.r2.weight * r2(end, 2**62) == pytest.approx(0.005) == model.penalty.r1.weight * r1(end, 2**62)
    assert model.optimizer.betas[1] * beta2(end, 2**62) == pytest.approx(0.99)
    assert model.discriminator_optimizer.lr * rate(end, 2**62) == pytest.approx(5e-5)
    for side in (model.generator, model.discriminator):
        assert (side.width * side.expansion / side.group_width, side.depth) == (96, 2)
