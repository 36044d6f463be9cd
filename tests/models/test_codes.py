"""Models of codes: probabilities that add up, sampling from memory, and one checkpoint for both stages."""

from itertools import product
from pathlib import Path

import pytest
import torch
from helpers.configs import composed
from helpers.runs import saved, train_with
from helpers.tiny_models import FAKE_DATA, TINY_VAE, UNTRAINED_CODES, write_checkpoint

from lightning_gen.batch import Batch
from lightning_gen.capabilities import CodeGrid
from lightning_gen.checkpoint import load_model
from lightning_gen.cli import main
from lightning_gen.config.instantiation import build_model, instantiate
from lightning_gen.config.options import list_options
from lightning_gen.errors import UserError
from lightning_gen.models.code_prior import CodePrior, GridsDistribution
from lightning_gen.networks.code_network import as_values

NETWORKS = [option.name for option in list_options("network") if option.name.startswith("pixel_")]
GRIDS = [CodeGrid(depth=2, height=1, width=1, num_codes=3), CodeGrid(depth=1, height=2, width=1, num_codes=2)]
SMALL = {"hidden": 4, "depth": 2, "width": 6}
SQUARE = [*FAKE_DATA, "data.image_shape=[1,8,8]"]
TINY_VQVAE = [
    *("model=vqvae", "model.quantizer.num_codes=8", "model.quantizer.dim=4", *SQUARE),
    *("model.encoder.width=8", "model.decoder.width=8"),
]
TINY_PRIOR = [
    "model=code_prior",
    "model.network.width=8",
    "model.network.depth=1",
    *SQUARE,
    "debug=smoke",
    "metrics=[]",
]


def network(name: str):
    config = composed("model=code_prior", f"network@model.network={name}").model.network
    return instantiate({**config, **{key: size for key, size in SMALL.items() if key in config}})


def distribution(name: str, grids: list[CodeGrid]) -> GridsDistribution:
    torch.manual_seed(0)
    return GridsDistribution(network(name), grids, dim=4, head_width=5, condition_dim=3).double().eval()


@pytest.mark.parametrize("name", ["pixel_transformer_network", "pixel_cnn_network"])
def test_probabilities_of_all_codes_of_two_grids_add_up_to_one(name):
    prior = distribution(name, GRIDS)
    codes = torch.tensor(list(product(range(3), range(3), range(2), range(2))))
    given = [codes[:, :2].view(-1, 2, 1, 1), codes[:, 2:].view(-1, 1, 2, 1)]
    condition = torch.randn(1, 3).double().expand(len(codes), 3)
    assert prior(given, condition).exp().sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_sampled_codes_have_the_logits_of_the_whole_grid(name):
    """The memory of the network, and vectors that are written one step later, change nothing."""
    grid = CodeGrid(depth=2, height=3, width=4, num_codes=5)
    level = distribution(name, [grid]).levels[0]
    condition = torch.randn(2, 3).double()
    values = as_values(torch.randint(5, (2, 2, 3, 4)), 5).double()
    whole = level(values, condition).unflatten(1, (-1, 2))  # (B, P, depth, H, W)
    state = level.network.start(2, condition)
    for row, column in product(range(3), range(4)):
        pixel = values[:, :, row, column]
        logits = level.head(level.network.step(state, row, column), pixel).float()
        torch.testing.assert_close(logits.mT, whole[..., row, column], atol=1e-6, rtol=0)
        state.images[:, :, row, column] = pixel


def test_the_bound_is_that_of_the_image_given_its_codes_and_of_the_codes():
    """Of all images together the bounds have less than probability one, as only one of an image's codes counts."""
    overrides = ["model=code_prior", *UNTRAINED_CODES, "model.codes.stride=2"]
    torch.manual_seed(0)
    model = build_model(composed(*overrides).model, (1, 2, 2), None).eval()
    images = torch.tensor(list(product([-1.0, 1.0], repeat=4))).view(16, 1, 2, 2)
    bounds = model.log_likelihood(images)
    assert 0 < bounds.exp().sum() < 1
    codes = model.codes(images)
    expected = model.likelihood.log_prob(model.autoencoder.decoder_output(codes), images) + model.prior(codes)
    torch.testing.assert_close(bounds, expected)


@pytest.mark.parametrize("name", ["vqvae", "vqvae2", "vqgan"])
def test_completion_keeps_what_is_given(name):
    torch.manual_seed(0)
    overrides = [text.replace("codes=vqvae", f"codes={name}") for text in UNTRAINED_CODES]
    model = build_model(composed("model=code_prior", *overrides).model, (1, 16, 8), None).eval()
    images = torch.randint(2, (3, 1, 16, 8)) * 2.0 - 1
    for rows in (0, 7):
        completed = model.complete(images, rows)
        assert torch.equal(completed[:, :, :rows], images[:, :, :rows])
        assert not torch.equal(completed, model.complete(images, rows))


def test_the_adversarial_gradient_is_scaled_to_that_of_the_reconstruction():
    """At the decoder's last layer, and not before the discriminator has learned."""
    narrow = [f"model.{part}.width=8" for part in ("encoder", "decoder", "discriminator")]
    torch.manual_seed(0)
    config = composed("model=vqgan", *narrow, "model.adversarial_weight=0.5", "model.adversarial_from=10").model
    model = build_model(config, (1, 8, 8), None)
    batch = Batch(torch.rand(4, 1, 8, 8) * 2 - 1, None)
    assert model.generator_terms(model.generator_round(model.forward_generator(batch)))["generator"] == 0
    model.images_seen, model.steppers = 10, []
    model.prepare()
    terms = model.generator_terms(model.generator_round(model.forward_generator(batch)))
    last = model.generator.decoder.layers[-1].weight
    adversarial, reconstruction = (
        torch.autograd.grad(terms[name], last, retain_graph=True)[0].norm() for name in ("generator", "reconstruction")
    )
    assert adversarial.item() == pytest.approx(0.5 * reconstruction.item(), rel=0.01)


@pytest.fixture
def vqvae(tmp_path) -> Path:
    write_checkpoint(tmp_path / "vqvae.ckpt", *TINY_VQVAE)
    return tmp_path / "vqvae.ckpt"


def test_one_checkpoint_has_both_stages(vqvae, tmp_path):
    first = load_model(vqvae)
    half, whole = (train_with(tmp_path / name, *TINY_PRIOR, f"model.codes={vqvae}") for name in ("half", "whole"))
    vqvae.unlink()
    model = load_model(whole)
    assert isinstance(model, CodePrior)
    weights = model.autoencoder.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in first.state_dict().items())
    torch.manual_seed(0)
    images = model.sample(3)
    assert images.shape == (3, 1, 8, 8)
    assert torch.equal(model.reconstruct(images.sign()), first.reconstruct(images.sign()))
    # A job that is requeued types the checkpoint again, which is gone.
    typed = [*TINY_PRIOR, f"model.codes={vqvae}", "trainer.max_images=96"]
    train_with(half, "resume=true", *typed)
    assert saved(half)["lightning_gen"]["images_seen"] == 98
    tuned = load_model(train_with(tmp_path / "tuned", f"init_from={half}", *TINY_PRIOR))
    assert all(torch.equal(value, weights[name]) for name, value in tuned.autoencoder.state_dict().items())
    with pytest.raises(UserError, match="has its codes in it"):
        train_with(tmp_path / "other", f"init_from={half}", *typed)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=code_prior"], r"model.codes=null: give the checkpoint"),
        (["model=code_prior", "model.codes=nowhere.ckpt"], r"codes=nowhere.ckpt: no such file"),
        (["model=code_prior", "model.codes={vae}"], r"VAE has no codes; give the checkpoint of a model with codes"),
        (["model=code_prior", "model.codes={vqvae}", "data.image_shape=[1,8,12]"], r"codes are for \(1, 8, 8\)"),
        (
            ["model=vqvae", "model.stride=3"],
            r"model.stride=3: images of 8x8 have no such grid; give one of \[2, 4, 8\]",
        ),
        (["model=vqvae", "data.image_shape=[1,7,8]"], r"give data whose height and width 2 divides"),
        (
            ["model=vqvae2", "data.image_shape=[1,12,8]"],
            r"model.stride=4: images of 12x8 have no such grid; give one of \[2\]",
        ),
        (["model=vqvae", "model.quantizer.num_codes=300"], r"300 codes, and the 64 training images have 256 positions"),
        (["model=vqvae", "model.conditional=true"], r"codes are those of all classes"),
        (["model=pixel_transformer", "model.network.heads=3"], r"does not divide width=64"),
    ],
)
def test_mistakes_are_told_before_a_run(overrides, message, vqvae, tmp_path):
    write_checkpoint(tmp_path / "vae.ckpt", *TINY_VAE)
    overrides = [text.format(vqvae=vqvae, vae=tmp_path / "vae.ckpt") for text in overrides]
    with pytest.raises(UserError, match=message):
        train_with(tmp_path / "run", *SQUARE, "debug=smoke", *overrides)
    assert not (tmp_path / "run").exists()


def test_sampling_codes_without_a_prior_tells_how_to_get_one(vqvae, tmp_path, capsys):
    assert main(["sample", f"checkpoint={vqvae}", f"out={tmp_path / 'out'}"]) == 2
    assert f"lightning-gen train model=code_prior codes={vqvae}" in capsys.readouterr().err
