"""Quantizers: each against its definition, its gradient, and what its codes become again."""

import math
from itertools import product

import pytest
import torch
from helpers.configs import composed

from lightning_gen.config.instantiation import instantiate
from lightning_gen.config.options import list_options
from lightning_gen.errors import UserError
from lightning_gen.networks.ema_codebook import EMACodebook
from lightning_gen.networks.finite_scalar import FiniteScalar
from lightning_gen.networks.lookup_free import LookupFree
from lightning_gen.networks.quantizer import usage
from lightning_gen.networks.residual_quantizer import ResidualQuantizer

NAMES = [option.name for option in list_options("model/quantizer")]


def grid(vectors: list[list[float]]) -> torch.Tensor:
    """Features `(1, D, 1, N)` of N vectors."""
    return torch.tensor(vectors).T[None, :, None]


@pytest.mark.parametrize("name", NAMES)
def test_codes_become_their_latents_and_the_gradient_passes_straight(name):
    torch.manual_seed(0)
    quantizer = instantiate(composed("model=vqvae", f"model/quantizer={name}").model.quantizer)
    quantizer(torch.randn(8, quantizer.dim, 6, 6))  # which starts a codebook
    quantizer.eval()
    features = torch.randn(2, quantizer.dim, 3, 4, requires_grad=True)
    latents, codes, terms = quantizer(features)
    assert codes.shape == (2, quantizer.depth, 3, 4)
    assert codes.dtype == torch.int64
    assert codes.min() >= 0
    assert codes.max() < quantizer.num_codes
    torch.testing.assert_close(quantizer.lookup(codes), latents.detach())
    [gradient] = torch.autograd.grad(latents.sum(), features, retain_graph=True)
    if name == "fsq":  # that of tanh
        assert (gradient > 0).all()
    else:
        assert torch.equal(gradient, torch.ones_like(features))
    assert all(term.requires_grad for term in terms.values())


def test_the_codebook_follows_the_means_of_what_it_stands_for():
    codebook = EMACodebook(num_codes=2, dim=2, decay=0.5, commitment=2.0, restart_below=0)
    codebook.codebook.copy_(torch.tensor([[0.0, 0.0], [10.0, 10.0]]))
    latents, codes, terms = codebook(grid([[1.0, 0.0], [0.0, 3.0], [8.0, 10.0]]))
    assert codes.flatten().tolist() == [0, 0, 1]
    assert latents[0, :, 0].T.tolist() == [[0, 0], [0, 0], [10, 10]]  # of the codebook before
    assert terms["commitment"].item() == 2 * (1 + 9 + 4)
    codebook(grid([[2.0, 1.0]]))
    # Sums (1, 3) / 2 and counts 2 / 2 of the first batch decay by a half, and half of (2, 1) and of 1 is added.
    expected = torch.tensor([[0.25 + 1, 0.75 + 0.5], [8.0, 10.0]]) / torch.tensor([[0.5 + 0.5], [1.0]])
    torch.testing.assert_close(codebook.codebook, expected)
    codebook.eval()
    codebook(grid([[5.0, 5.0]]))
    torch.testing.assert_close(codebook.codebook, expected)


def test_codes_that_are_not_used_start_again_from_features():
    torch.manual_seed(0)
    codebook = EMACodebook(num_codes=64, dim=8)
    codebook.codebook.add_(100)  # nearest to all features is the same code
    features = torch.randn(16, 8, 4, 4)
    codebook(features)
    _, codes, _ = codebook(features)
    assert len(codes.unique()) > 40
    assert codebook.codebook.abs().max() < 10


def test_finite_scalars_are_all_combinations_of_their_levels():
    quantizer = FiniteScalar(levels=[4, 3])
    values = [[-1, -0.5, 0, 0.5], [-1, 0, 1]]
    found = quantizer.lookup(torch.arange(12).view(12, 1, 1, 1))[:, :, 0, 0].tolist()
    assert found == [[a, b] for b, a in product(*values[::-1])]
    # tanh(z + shift) (L - 1) / 2 - offset, rounded: 0 stays 0, large values reach the outer levels
    latents = quantizer(grid([[0.0, 0.0], [9.0, 9.0], [-9.0, -9.0]])).latents[0, :, 0].T
    assert latents.tolist() == [[0, 0], [0.5, 1], [-1, -1]]


def test_lookup_free_codes_are_the_bits_of_signs_and_the_entropy_is_that_of_its_softmax():
    torch.manual_seed(0)
    quantizer = LookupFree(dim=3, entropy=1.0, diversity=0.5, commitment=0.0).eval()
    features = torch.randn(4, 3, 1, 1)
    latents, codes, terms = quantizer(features)
    assert torch.equal(latents, features.sign())
    signs = features[:, :, 0, 0] > 0
    assert codes.flatten().tolist() == [int(a) + 2 * int(b) + 4 * int(c) for a, b, c in signs]
    table = torch.tensor(list(product([-1.0, 1.0], repeat=3)))
    softmax = (-torch.cdist(features[:, :, 0, 0], table).square()).softmax(1)
    single = -(softmax * softmax.log()).sum(1).mean()
    mean = softmax.mean(0)
    assert terms["entropy"].item() == pytest.approx((single + 0.5 * (mean * mean.log()).sum()).item(), abs=1e-5)


def test_each_residual_code_is_that_of_what_is_left():
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(depth=3, quantizer=lambda: EMACodebook(num_codes=16, dim=4))
    features = torch.randn(8, 4, 5, 5)
    for _ in range(3):
        quantizer(features)
    quantizer.eval()
    left = features
    for step, codes in zip(quantizer.steps, quantizer(features).codes.split(1, 1), strict=True):
        assert torch.equal(step(left).codes, codes)
        error = left.square().mean()
        left = left - step.lookup(codes)
        assert left.square().mean() < error


def test_usage_and_perplexity():
    codes = torch.tensor([0, 0, 1, 1, 2, 2, 2, 2]).view(2, 1, 2, 2)
    found = usage(codes, 4)
    entropy = 2 * 0.25 * math.log(4) + 0.5 * math.log(2)
    assert found["perplexity"].item() == pytest.approx(math.exp(entropy))
    assert found["usage"].item() == 0.75


@pytest.mark.parametrize("levels", [[], [8, 1]])
def test_levels_that_quantize_nothing_are_refused(levels):
    with pytest.raises(UserError, match="levels"):
        FiniteScalar(levels=levels)
