"""Features of a classifier that this project trained: `python train.py model=classifier`."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gen.checkpoint import checkpoint_of, load_model, read_checkpoint
from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.extractors.resizing import Protocol, resize
from lightning_gen.extractors.weights import file_hash

KEY = "extractor.classifier.checkpoint"


class ClassifierExtractor(Extractor):
    """What goes into the last linear layer of the classifier in `checkpoint` (or a run's folder), and its logits.

    Images are brought to the channels and the size that the classifier was trained with; those of its own data pass
    unchanged.
    """

    name = "classifier"

    def __init__(self, checkpoint: str, resize: Protocol):
        super().__init__()
        path = checkpoint_of(Path(checkpoint).expanduser(), KEY)
        read_checkpoint(path, KEY)  # its errors name the key
        model = load_model(path)
        if not hasattr(model, "classify"):
            raise UserError(f"{KEY}={checkpoint}: holds a {type(model).__name__}, give a run of model=classifier")
        self.channels, *self.size = model.image_shape
        if self.channels not in (1, 3, 4):
            raise UserError(f"{KEY}={checkpoint}: takes images of {self.channels} channels, extractors 1, 3 or 4")
        self.sha256 = file_hash(path)
        self.resize = resize
        self.network = model.encoder
        self.head = _behead(self.network, model.image_shape, checkpoint)
        self.num_features = self.head.in_features
        self.requires_grad_(False).eval()

    def features(self, images: Tensor) -> Tensor:
        """What the last layer gets."""
        return self.network(resize(images, tuple(self.size), self.resize) / 127.5 - 1)

    def logits(self, features: Tensor) -> Tensor:
        """Scores of the classes it learned."""
        return self.head(features)

    def protocol(self) -> dict[str, Any]:
        """Checkpoint and preprocessing."""
        return self.stated("x / 127.5 - 1", channels=self.channels)


def _behead(network: nn.Module, image_shape: tuple[int, ...], checkpoint: str) -> nn.Linear:
    """Take the last linear layer off a network, whose output must be the network's."""
    seen: list[tuple[str, Tensor, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda _, inputs, output, name=name: seen.append((name, inputs[0], output)))
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    image = torch.zeros(1, *image_shape)
    with torch.no_grad():
        logits = network(image)
    for hook in hooks:
        hook.remove()
    name, features, output = seen[-1] if seen else ("", image, image)
    if name and torch.equal(output, logits):
        head = network.get_submodule(name)
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, nn.Identity())
        with torch.no_grad():
            if torch.equal(network(image), features):
                return head
    raise UserError(f"{KEY}={checkpoint}: its network does not end in a linear layer, so it has no features to give")
