"""Checkpoints of small untrained models on made-up data, by the options that choose them."""

from pathlib import Path

import torch
from omegaconf import OmegaConf

from lightning_gen.checkpoint import provenance
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.image_generator import KEY, ImageGenerator

FAKE = ["data=fake", "data.num_images=64", "data.num_classes=4", "data.batch_size=7"]
GAN = ["model=gan", "data.image_shape=[1,8,8]", *FAKE]
DCGAN = [
    *("model=dcgan", "model.latent_dim=8", "model.generator.width=8", "model.discriminator.width=8"),
    *("data.image_shape=[1,16,16]", *FAKE),
]


def write_model(path: Path, *overrides: str) -> ImageGenerator:
    config = compose(overrides)
    data = build_data(config.data)
    torch.manual_seed(0)
    model = build_model(config.model, data.image_shape, data.num_classes)
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = provenance(OmegaConf.to_container(config, resolve=True), data) | {"images_seen": 640}
    torch.save({"state_dict": model.state_dict(), KEY: ours}, path)
    return model.eval()
