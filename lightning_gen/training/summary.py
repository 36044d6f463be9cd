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
    for *texts, count in rows:
        yield "  ".join(
            [*(text.ljust(width) for text, width in zip(texts, widths, strict=False)), count.rjust(widths[-1])]
        )
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
    shape = layer.out_size
    text = (
        "x".join(map(str, shape)) if isinstance(shape, list) and all(isinstance(n, int) for n in shape) else str(shape)
    )
    return layer.layer_type, text, f"{layer.num_parameters:,}"
