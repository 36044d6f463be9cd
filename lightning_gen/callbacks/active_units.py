"""Active units: how many latent dimensions a model uses; a falling count is posterior collapse."""

from lightning.pytorch import Callback, Trainer

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.capabilities import Encodes, Reconstructs
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.metrics.active_units import ActiveUnits as Metric
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.evaluation_mode import evaluation_mode


class ActiveUnits(Callback):
    """Logs how many latent dimensions vary over the validation images, as `metrics=[active_units]` counts them."""

    def __init__(self, threshold: NonNegativeFloat = 0.01):
        self.metric = Metric(threshold)

    def on_validation_end(self, trainer: Trainer, model: ImageGenerator) -> None:
        """Encode validation images, each process its share."""
        # A model that is inverted to encode, as flows are, keeps all of an image: only autoencoders leave units unused.
        if not (isinstance(model, Encodes) and isinstance(model, Reconstructs)):
            return
        self.metric.reset()
        with evaluation_mode(model):
            seed_all("active units", model.seed)
            for batch in trainer.datamodule.batches("val", model.device, limit=1000):
                self.metric.observe(model, batch)
        model.log_now({f"val/{name}": value.item() for name, value in self.metric.compute().items()})
