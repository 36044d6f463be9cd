"""Active units during training: a falling number of used latent dimensions is posterior collapse."""

from lightning.pytorch import Callback

from lightning_gen.bounds import NonNegativeFloat
from lightning_gen.capabilities import Encodes, Reconstructs
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.metrics.active_units import ActiveUnits as Metric
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.evaluation_mode import evaluation_mode
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.renames import renamed

__getattr__ = renamed(__name__)  # the callback's old name is that of the metric, so the metric is imported as Metric

NUM_IMAGES = 1000  # validation images to encode, over all processes


class LogActiveUnits(Callback):
    """Logs the number and fraction of latent dimensions that vary over validation images (`metrics=[active_units]`)."""

    def __init__(self, threshold: NonNegativeFloat = 0.01):
        self.metric = Metric(threshold)

    def on_validation_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Encode this process's validation images."""
        # Models that encode by inversion (flows) preserve all information: only autoencoders leave units unused.
        if not (isinstance(model, Encodes) and isinstance(model, Reconstructs)):
            return
        self.metric.reset()
        with evaluation_mode(model):
            seed_all("active units", model.seed)
            for batch in trainer.datamodule.batches("val", model.device, limit=NUM_IMAGES):
                self.metric.update_from(model, batch)
        model.log_now({f"val/{name}": value.item() for name, value in self.metric.compute().items()})
