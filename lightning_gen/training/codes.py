"""`model.codes=CHECKPOINT` of a second stage: the first one, config and weights, becomes a part of the model."""

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_gen.capabilities import HasCodes
from lightning_gen.checkpoint import checkpoint_of, load_model, read_checkpoint, saved_config
from lightning_gen.data.image_data import ImageData
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.models.code_prior import HOW_TO_GIVE_CODES, CodePrior


def first_stage(config: DictConfig) -> ImageGenerator | None:
    """The model of the checkpoint `model.codes`, whose config takes its place in `config`; None without such a key.

    As a part it is not trained and has no averages: its weights are the averaged ones.
    """
    if "codes" not in config.model or isinstance(config.model.codes, DictConfig):
        return None
    if not config.model.codes:
        raise UserError(f"model.codes=null: {HOW_TO_GIVE_CODES}")
    path = checkpoint_of(config.model.codes, key="codes")
    saved = saved_config(read_checkpoint(path, key="codes"), f"codes={path}", "model")
    model = load_model(path)
    if not isinstance(model, HasCodes):
        raise UserError(f"codes={path}: {type(model).__name__} has no codes; {HOW_TO_GIVE_CODES}")
    part = saved | {"_partial_": True, "ema_decay": None, "compile": False}
    OmegaConf.update(config, "model.codes", part, merge=False)
    return model


def use_first_stage(first: ImageGenerator | None, model: ImageGenerator, data: ImageData) -> None:
    """Give a second stage the weights of its first one; UserError if that is for images of another shape."""
    if first is None:
        return
    data.check_shape(first.image_shape, "codes are for")
    assert isinstance(model, CodePrior)
    model.autoencoder.load_state_dict(first.state_dict())


def check_codebook(model: ImageGenerator, data: ImageData) -> None:
    """UserError for a codebook with more codes than the training images have positions of its grid."""
    for grid in model.grids if isinstance(model, HasCodes) else ():
        images = data.split_sizes["train"]
        positions = images * grid.height * grid.width
        if grid.num_codes > positions:
            few = f"the {images:,} training images have {positions:,} positions of its grid"
            raise UserError(f"model.quantizer: {grid.num_codes:,} codes, and {few}; give it fewer codes")


def keep_first_stage(config: DictConfig, saved: Mapping[str, Any], in_place: bool) -> None:
    """Let a run that starts from a saved one have its first stage; UserError if another one is typed.

    A requeued job types it again, and may find its file gone.
    """
    kept = saved["model"].get("codes")
    if not isinstance(kept, Mapping) or not isinstance(config.model.get("codes"), str):
        return
    if not in_place:
        fix = "leave out codes, or train anew without resume and init_from"
        raise UserError(f"codes={config.model.codes}: the run that this one starts from has its codes in it; {fix}")
    OmegaConf.update(config, "model.codes", kept, merge=False)
