"""From configs to objects: models and data sets are built here, in training and from a checkpoint alike."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from lightning_gen.config.hydra_errors import explain_instantiation
from lightning_gen.config.plugins import discover
from lightning_gen.config.saved import trusted_packages
from lightning_gen.errors import UserError

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator

T = TypeVar("T")

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
    if not hasattr(model, "to_compile"):
        base = "super().__init__ with image_shape, num_classes and the keywords of its base"
        raise UserError(f"model._target_={config['_target_']}: its __init__ does not call {base}; add the call")
    model.setup_parts()
    return model


def build_data(config: Mapping[str, Any], processes: int = 1) -> "ImageData":
    """The data set of `config`, downloaded if needed, ready to use; `processes` of this machine load it."""
    from lightning_gen.data.image_data import ImageData

    data = instantiate(_with_target(config, "data"))
    if not isinstance(data, ImageData):
        raise UserError(f"data._target_={config['_target_']}: is no ImageData; name a class that extends it")
    data.processes = processes
    data.prepare_data()
    data.setup()
    return data


def build_each(config: Mapping[str, Any] | None, group: str, kind: type[T]) -> list[T]:
    """The objects of a group such as `callbacks`; UserError for one that is no `kind`."""
    objects = {name: instantiate(member) for name, member in (config or {}).items() if member}
    for name, made in objects.items():
        if not isinstance(made, kind):
            base = f"{kind.__module__}.{kind.__qualname__}"
            raise UserError(f"{group}.{name}: {type(made).__name__} is no {kind.__name__}; extend {base}")
    return list(objects.values())


def _with_target(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if not config or "_target_" not in config:
        raise UserError(f"{key}: its config names no _target_; choose another {key}, or fix its YAML file")
    return config
