"""A VAE of a few weights with its data and its checkpoint, for tests of what comes after training."""

from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from lightning_gen.checkpoint import provenance
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.data.image_data import ImageData
from lightning_gen.image_generator import KEY, ImageGenerator


def tiny_config(*overrides: str) -> DictConfig:
    small = ["model=mlp_vae", "model.latent_dim=3", "data=fake", "data.image_shape=[1,8,8]", "data.num_images=64"]
    return compose([*small, "data.num_classes=4", "data.batch_size=7", *overrides])


def tiny_vae(*overrides: str) -> tuple[ImageGenerator, ImageData, DictConfig]:
    config = tiny_config(*overrides)
    data = build_data(config.data)
    torch.manual_seed(0)
    return build_model(config.model, data.image_shape, data.num_classes), data, config


def write_checkpoint(path: Path, *overrides: str) -> ImageGenerator:
    model, data, config = tiny_vae(*overrides)
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = provenance(OmegaConf.to_container(config, resolve=True), data) | {"images_seen": 640}
    torch.save({"state_dict": model.state_dict(), KEY: ours}, path)
    return model
