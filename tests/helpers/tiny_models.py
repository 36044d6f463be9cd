"""Small untrained models on made-up data, with their checkpoints, by the options that choose them."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from helpers.configs import composed
from lightning_gen.checkpoint import provenance
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.data.image_data import ImageData
from lightning_gen.image_generator import KEY, ImageGenerator

FAKE_DATA = ["data=fake", "data.num_images=64", "data.num_classes=4", "data.batch_size=7", "data.black_and_white=true"]
TINY_VAE = ["model=mlp_vae", "model.latent_dim=3", "data.image_shape=[1,8,8]", *FAKE_DATA]
TINY_GAN = ["model=gan", "data.image_shape=[1,8,8]", *FAKE_DATA]
NARROW_PLAYERS = ["model.latent_dim=8", "model.generator.width=8", "model.discriminator.width=8"]
TINY_DCGAN = ["model=dcgan", *NARROW_PLAYERS, "data.image_shape=[1,16,16]", *FAKE_DATA]
TINY_STYLEGAN = ["model=stylegan2", *NARROW_PLAYERS, "data.image_shape=[1,16,16]", *FAKE_DATA]

# For models of codes, whose checkpoint is a path in a config: an untrained model in its place.
UNTRAINED_CODES = [
    *("+model@model.codes=vqvae", "+model.codes._partial_=true", "model/likelihood@model.codes.likelihood=bernoulli"),
    *("model.codes.encoder.width=8", "model.codes.decoder.width=8", "model.codes.quantizer.num_codes=16"),
]


def tiny_vae(*overrides: str) -> tuple[ImageGenerator, ImageData]:
    """A VAE of a few weights, and its data."""
    return _built(*TINY_VAE, *overrides)


def write_checkpoint(path: Path, *overrides: str) -> ImageGenerator:
    """Save the untrained model that `overrides` choose as after 640 images, and return it."""
    model, data = _built(*overrides)
    path.parent.mkdir(parents=True, exist_ok=True)
    config = OmegaConf.to_container(composed(*overrides), resolve=True)
    torch.save({"state_dict": model.state_dict(), KEY: provenance(config, data) | {"images_seen": 640}}, path)
    return model.eval()


def _built(*overrides: str) -> tuple[ImageGenerator, ImageData]:
    config = composed(*overrides)
    data = build_data(config.data)
    torch.manual_seed(0)
    return build_model(config.model, data.image_shape, data.num_classes), data
