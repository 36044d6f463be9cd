"""Active units: how many latent dimensions a model uses; a falling count is posterior collapse."""

import torch
from lightning.pytorch import Callback, Trainer

from lightning_gen.capabilities import Encodes, Reconstructs
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.randomness import seed_all
from lightning_gen.undisturbed import undisturbed


class ActiveUnits(Callback):
    """Logs how many latent dimensions vary over the validation images: Var(E[z | x]) > `threshold`.

    Burda et al., https://arxiv.org/abs/1509.00519, section 5.2.
    """

    def __init__(self, threshold: float = 0.01):
        self.threshold = threshold

    def on_validation_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Encode the validation images, as one rank sees them."""
        # A model that is inverted to encode, as flows are, keeps all of an image: only autoencoders leave units unused.
        if not (isinstance(model, Encodes) and isinstance(model, Reconstructs)):
            return
        with undisturbed(model):
            seed_all("active units", model.seed)
            batches = trainer.datamodule.batches("val", model.device, limit=1000)
            latents = torch.cat([model.encode(batch.images, batch.labels) for batch in batches])
        active = int((latents.var(dim=0) > self.threshold).sum())
        model.log_now({"val/active_units": active, "val/active_units_share": active / latents.shape[1]})
