"""Features of a classifier trained with `python train.py model=classifier`."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.capabilities import Classifies
from lightning_gen.checkpoint import checkpoint_of, load_model, read_checkpoint
from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.extractors.resizing import ResizeMode, resize
from lightning_gen.extractors.weights import file_hash

KEY = "extractor.classifier.checkpoint"


class ClassifierExtractor(Extractor):
    """Inputs of the last linear layer of the classifier in `checkpoint` (or a run's folder), and its logits.

    Images are converted to the channels and size of the classifier's training images; these pass unchanged.
    """

    name = "classifier"

    def __init__(self, checkpoint: str, resize: ResizeMode):
        super().__init__()
        path = checkpoint_of(checkpoint, KEY)
        read_checkpoint(path, KEY)  # its errors name the key
        model = load_model(path)
        if not isinstance(model, Classifies):
            raise UserError(f"{KEY}={checkpoint}: holds a {type(model).__name__}, give a run of model=classifier")
        self.channels, height, width = model.image_shape
        if self.channels not in (1, 3, 4):
            raise UserError(f"{KEY}={checkpoint}: takes images of {self.channels} channels, extractors 1, 3 or 4")
        self.sha256 = file_hash(path)
        self.resize = resize
        self.size = (height, width)
        self.network = model.get_submodule("encoder")
        self.head = _split_head(self.network, model.image_shape, checkpoint)
        self.num_features = self.head.in_features
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> Tensor:
        """The inputs of the last layer."""
        return self.network(resize(images, self.size, self.resize) / 127.5 - 1)

    def logits(self, features: Tensor) -> Tensor:
        """Logits of the classes of its training data."""
        return self.head(features)

    def protocol(self) -> dict[str, Any]:
        """Checkpoint and preprocessing."""
        return self._protocol(list(self.size), "x / 127.5 - 1", channels=self.channels)


@torch.no_grad()
def _split_head(network: nn.Module, image_shape: tuple[int, ...], checkpoint: str) -> nn.Linear:
    """Remove and return the last linear layer of a network; UserError unless its output is that of the network."""
    image = torch.zeros(1, *image_shape)
    calls, logits = _linear_calls(network, image)
    if calls:
        name, head, features, output = calls[-1]
        if name and torch.equal(output, logits):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, nn.Identity())
            if torch.equal(network(image), features):
                return head
    raise UserError(f"{KEY}={checkpoint}: its network does not end in a linear layer, so it has no features to give")


def _linear_calls(network: nn.Module, image: Tensor) -> tuple[list[tuple[str, nn.Linear, Tensor, Tensor]], Tensor]:
    """The calls of linear layers (name, layer, input, output) on an image, in order, and the network's output."""
    calls: list[tuple[str, nn.Linear, Tensor, Tensor]] = []

    def record(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if isinstance(layer, nn.Linear):
            calls.append((names[layer], layer, inputs[0], output))

    names = {layer: name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
    hooks = [layer.register_forward_hook(record) for layer in names]
    logits = network(image)
    for hook in hooks:
        hook.remove()
    return calls, logits
