"""A model's layers with the shapes of their outputs and their parameters, as `summary=true` prints them."""

from collections.abc import Iterator

from lightning.pytorch.utilities.model_summary import LayerSummary
from torch import nn

from lightning_gen.batch import Batch
from lightning_gen.data.image_data import ImageData
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.sampling.evaluation_mode import evaluation_mode

HEADER = ("layer", "type", "output", "parameters")


def summary_lines(model: ImageGenerator, data: ImageData) -> Iterator[str]:
    """A table of all layers, by a forward pass of the losses on two images; a layer that it leaves out has no shape."""
    layers = {name: LayerSummary(layer) for name, layer in model.named_modules() if name and _is_shown(name, layer)}
    _forward(model, data)
    rows = [HEADER, *((name, *_columns(layer)) for name, layer in layers.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        *texts, count = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join([*texts, count.strip().rjust(widths[-1])])
    total = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    yield f"{total:,} trained parameters; shapes are those of 2 images"


def _is_shown(name: str, layer: nn.Module) -> bool:
    """Averaged weights are copies of what is shown."""
    return not name.startswith("averages") and not isinstance(layer, nn.ModuleDict | nn.ModuleList)


def _forward(model: ImageGenerator, data: ImageData) -> None:
    images, labels = next(data.batches("train", model.device, limit=2))
    with evaluation_mode(model, ema=False):
        model.losses(Batch(images, labels))


def _columns(layer: LayerSummary) -> tuple[str, str, str]:
    return layer.layer_type, _shape_text(layer.out_size), f"{layer.num_parameters:,}"


def _shape_text(shape: str | list) -> str:
    """`2x3x32x32`; of several outputs the shapes of all, `?` for what is no tensor."""
    if isinstance(shape, str) or not shape:
        return "?"
    if isinstance(shape[0], int):
        return "x".join(map(str, shape))
    return ", ".join(map(_shape_text, shape))
