"""From configs to objects: models and data sets are built here, in training and from a checkpoint alike."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning_gen.config.hydra_errors import explain_instantiation
from lightning_gen.config.plugins import discover
from lightning_gen.config.saved import trusted_packages
from lightning_gen.errors import UserError

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator

# Hydra 1.4 calls only targets of the packages in a whitelist.
TRUSTED = ["lightning_gen", "torch", "lightning", "torchmetrics", "torchvision", "timm", "wandb", "pathlib", "hydra"]


def instantiate(config: Any, *args: Any, **kwargs: Any) -> Any:
    """The object that `config` describes, made with lists and mappings as plain Python.

    Raises UserError with the config key when the target refuses its arguments.
    """
    import inspect

    import hydra
    from hydra.errors import InstantiationException

    if "_execution_whitelist_" in inspect.signature(hydra.utils.instantiate).parameters:
        packages = [*TRUSTED, *trusted_packages(), *(plugin.package for plugin in discover())]
        kwargs["_execution_whitelist_"] = [f"{package}.*" for package in packages]
    try:
        return hydra.utils.instantiate(config, *args, _convert_="all", **kwargs)
    except InstantiationException as error:
        user_error = explain_instantiation(error)
        if user_error is None:
            raise
        raise user_error from None


def build_model(config: Mapping[str, Any], image_shape: tuple[int, ...], num_classes: int | None) -> "ImageGenerator":
    """The model of `config`, for images of `image_shape` with `num_classes` labels (None: without labels)."""
    model = instantiate(_with_target(config, "model"), image_shape=tuple(image_shape), num_classes=num_classes)
    if not hasattr(model, "setup_parts"):
        raise UserError(f"model._target_={config['_target_']}: is no ImageGenerator; name a model's class")
    model.setup_parts()
    return model


def build_data(config: Mapping[str, Any], processes: int = 1) -> "ImageData":
    """The data set of `config`, downloaded if needed, ready to use; `processes` of this machine load it."""
    data = instantiate(_with_target(config, "data"))
    data.processes = processes
    data.prepare_data()
    data.setup()
    return data


def _with_target(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if not config or "_target_" not in config:
        raise UserError(f"{key}: its config names no _target_; choose another {key}, or fix its YAML file")
    return config
