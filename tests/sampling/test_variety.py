"""Temperature of models: samples depend on it, likelihoods and training don't."""

import pytest
import torch
from helpers.configs import composed
from omegaconf import OmegaConf

from lightning_gen.capabilities import HasLikelihood, HasTemperature, Truncates
from lightning_gen.config.instantiation import build_model
from lightning_gen.errors import UserError
from lightning_gen.sampling.variety import Variety

IMAGES = {
    "vae": ["latent_dim=4"],
    "ladder_vae": ["latent_dim=4", "width=4", "vector=8"],
    "vdvae": ["width=4", "largest=8", "layers=1"],
    "draw": ["latent_dim=4", "steps=2", "hidden=8"],
    "vrnn": ["hidden=8"],
    "pixel_rnn_row": ["network.hidden=4"],
    "pixel_rnn_multi_scale": ["network.hidden=4", "small_network.hidden=4"],
    "pixel_transformer": ["network.width=8", "network.depth=1"],
}
SEQUENCES = {"vrnn": ["hidden=8"], "svg_lp": ["context_frames=1"]}


def made(name: str, settings: list[str], shape: tuple[int, ...], data: str):
    config = composed(f"model={name}", data, *(f"model.{each}" for each in settings)).model
    torch.manual_seed(0)
    return build_model(OmegaConf.to_container(config), shape, None).eval()


def spread(model, temperature: float) -> torch.Tensor:
    """The standard deviation over samples, averaged over values."""
    torch.manual_seed(0)
    with torch.no_grad(), Variety(temperature=temperature).within(model):
        return model.sample(32).std(0).mean()


@pytest.mark.parametrize("name", IMAGES)
def test_cold_samples_are_alike(name):
    model = made(name, IMAGES[name], (1, 8, 8), "data=fake")
    assert isinstance(model, HasTemperature)
    for parameter in model.parameters():  # away from a start at which latents and pixels say nothing
        torch.nn.init.normal_(parameter, std=0.3)
    assert spread(model, 1e-4) < 0.05 * spread(model, 1.0)
    assert model.temperature == 1


@pytest.mark.parametrize("name", SEQUENCES)
def test_cold_sequences_are_alike(name):
    model = made(name, SEQUENCES[name], (4, 1, 16, 16), "data=moving_digits")
    assert isinstance(model, HasTemperature)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    assert spread(model, 1e-4) < 0.05 * spread(model, 1.0)


@pytest.mark.parametrize("name", IMAGES)
def test_likelihoods_are_the_same_at_any_temperature(name):
    model = made(name, IMAGES[name], (1, 8, 8), "data=fake")
    assert isinstance(model, HasLikelihood)
    images, found = model.to_support(torch.rand(4, 1, 8, 8) * 2 - 1), []
    for temperature in (None, 0.1):
        torch.manual_seed(0)
        with torch.no_grad(), Variety(temperature=temperature).within(model):
            found.append(model.log_likelihood(images, samples=2))
    assert torch.equal(*found)


def test_values_are_restored_after_a_failure():
    model = made("gan", [], (1, 8, 8), "data=fake")
    assert isinstance(model, Truncates)
    with pytest.raises(ZeroDivisionError), Variety(truncation=0.5).within(model):
        model.truncation /= 0
    assert model.truncation is None


def test_what_has_neither_says_to_leave_it_out():
    model = made("frame_lstm", ["context_frames=1"], (4, 1, 16, 16), "data=moving_digits")
    for key, message in (("truncation", "does not truncate"), ("temperature", "has no temperature")):
        with pytest.raises(UserError, match=rf"{key}=0\.5: RecurrentPredictor {message}, leave it out"):
            Variety(**{key: 0.5}).use(model)
