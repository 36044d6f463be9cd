"""`model/likelihood=by_data`: the likelihood that suits the data."""

import pytest
from helpers.configs import composed
from helpers.tiny_models import tiny_vae, write_checkpoint

from lightning_gen.config.composition import compose
from lightning_gen.errors import UserError
from lightning_gen.training.checks import likelihood_notes
from lightning_gen.training.resume import start_of


def likelihood(*overrides: str) -> str:
    return composed(*overrides).model.likelihood._target_.rpartition(".")[2]


@pytest.mark.parametrize("data", ["mnist5k", "fashion_mnist", "stacked_mnist"])
def test_black_and_white_images_are_bernoulli(data):
    assert likelihood(f"data={data}") == "Bernoulli"


@pytest.mark.parametrize("data", ["cifar10", "svhn", "celeba", "fake"])
def test_other_images_are_gaussian(data):
    assert likelihood(f"data={data}") == "Gaussian"


@pytest.mark.parametrize("model", ["rgb_vae", "draw", "vrnn"])
def test_models_follow_the_data(model):
    assert likelihood(f"model={model}", "data=fake") == "Gaussian"
    assert likelihood(f"model={model}", "data=fake", "data.binarize=true") == "Bernoulli"


def test_pixel_models_follow_the_data():
    assert likelihood("model=pixel_cnn", "data=fake") == "DiscretizedLogistic"
    assert likelihood("model=pixel_cnn") == "Bernoulli"


def test_a_chosen_likelihood_counts():
    assert likelihood("data=fake", "model/likelihood=bernoulli") == "Bernoulli"
    assert likelihood("data=fake", "model.likelihood.others=l1") == "Laplace"
    assert likelihood("data=fake", "data.black_and_white=true") == "Bernoulli"


def test_an_unknown_likelihood_is_one_line():
    with pytest.raises(UserError, match=r"others=gausian: no such option; did you mean gaussian\?$"):
        compose(["data=fake", "model.likelihood.others=gausian"])


def test_weights_keep_their_likelihood_with_other_data(tmp_path):
    path = tmp_path / "digits.ckpt"
    write_checkpoint(path, "model=mlp_vae", "model.latent_dim=2")
    overrides = [f"init_from={path}", "data=fake", "data.image_shape=[1,28,28]"]
    start = start_of(compose(overrides), overrides)
    assert start.config.model.likelihood._target_.endswith("Bernoulli")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("model.beta=1", "likelihood Gaussian; "),
        ("model/likelihood=bernoulli", "likelihood Bernoulli: makes the values of data=fake black or white at "),
        ("data.binarize=true", "likelihood Bernoulli; "),
    ],
)
def test_a_line_names_the_likelihood_and_a_mismatch(override, line):
    (note,) = likelihood_notes(*tiny_vae("data.black_and_white=false", override))
    assert note.startswith(line)
