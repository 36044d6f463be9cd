"""`model/objective=perceptual`: the objective of a run gets the extractor that it names."""

import hashlib
import json
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_gen.config.instantiation import instantiate
from lightning_gen.errors import UserError
from lightning_gen.evaluation.building import check_extractor
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.models.perceptual import Perceptual
from lightning_gen.utilities.suggestions import did_you_mean

KEY = "model.objective.extractor"


def use_extractor(model: ImageGenerator, config: DictConfig) -> None:
    """Give a perceptual objective its extractor, and note its hash in `config`, for checkpoints.

    UserError for one that is not among those of the run, or that doesn't suit.
    """
    objective: Any = getattr(model, "objective", None)
    if not isinstance(objective, Perceptual):
        return
    name, chosen = objective.extractor_name, config.extractor or {}
    if not chosen.get(name):
        fix = did_you_mean(name, chosen) or f"; choose it with extractor=[+{name}]"
        raise UserError(f"{KEY}={name}: is no extractor of this run{fix}")
    extractor = instantiate(chosen[name])
    check_extractor(extractor, f"extractor.{name}")
    if reason := _why_not(extractor, model.image_shape):
        raise UserError(f"{KEY}={name}: {reason}; choose another extractor")
    objective.use(extractor.requires_grad_(False).eval(), hash_of_protocol(extractor))
    OmegaConf.update(config, "model.objective.extractor_hash", objective.extractor_hash)


def _why_not(extractor: Extractor, image_shape: tuple[int, ...]) -> str | None:
    if not extractor.takes_fractions:
        return "takes 8-bit images only, which have no gradients"
    return extractor.why_not(image_shape)


def hash_of_protocol(extractor: Extractor) -> str:
    """Of all that features depend on: weights, resizing, normalization."""
    text = json.dumps(extractor.protocol(), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
