"""The length of the weights of each part of a model, at every validation."""

import torch
from lightning.pytorch import Callback

from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer


class MyOption(Callback):
    """Logs `weights/<part>`, the norm of all weights of a part: one that grows without end is a sign of divergence."""

    def on_validation_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Called by Lightning; any other hook of its callbacks can be used."""
        norms = {}
        for name, part in model.named_children():
            weights = [parameter for parameter in part.parameters() if parameter.requires_grad]
            if weights:
                norms[f"weights/{name}"] = torch.nn.utils.get_total_norm(weights).item()
        model.log_now(norms)
