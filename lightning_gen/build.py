"""From config to objects: the one way a model or a data set is made, in training and from a checkpoint alike."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning_gen.config import instantiate

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator


def build_model(config: Mapping[str, Any], image_shape: tuple[int, ...], num_classes: int | None) -> "ImageGenerator":
    """The model of `config`, for data with images of `image_shape` and `num_classes` (None without labels)."""
    model = instantiate(config, image_shape=tuple(image_shape), num_classes=num_classes)
    model.finish()
    return model


def build_data(config: Mapping[str, Any]) -> "ImageData":
    """The data set of `config`, downloaded where needed and ready to use."""
    data = instantiate(config)
    data.prepare_data()
    data.setup()
    return data
