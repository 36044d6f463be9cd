"""Small models of either kind for tests."""

from functools import cache
from typing import Any

import torch
from omegaconf import OmegaConf

from lightning_gen.config import build_model, compose

NARROW = ["model.network.width=8"]


@cache
def config(name: str, *overrides: str) -> dict[str, Any]:
    composed = compose([f"model={name}", "data=fake", "callbacks=[]", "metrics=[]", *NARROW, *overrides])
    return OmegaConf.to_container(composed.model)


def build(name: str, *overrides: str, shape=(1, 8, 8), classes: int | None = None, random: bool = False):
    """`model=name`; `random` gives weights to the layers that begin with zeros, so that all of it has an effect."""
    torch.manual_seed(0)
    model = build_model(config(name, *overrides), shape, classes).eval()
    if random:
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
    return model
