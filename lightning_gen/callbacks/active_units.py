"""Active units during training: a falling number of used latent dimensions is posterior collapse."""

import logging

from lightning.pytorch import Callback

from lightning_gen.bounds import NonNegativeFloat, NonNegativeInt
from lightning_gen.capabilities import Encodes, Reconstructs
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.metrics.active_units import ActiveUnits as Metric
from lightning_gen.models.latent_variable_model import LatentVariableModel
from lightning_gen.models.vae import VAE
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.evaluation_mode import evaluation_mode
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.renames import renamed

__getattr__ = renamed(__name__)  # the callback's old name is that of the metric, so the metric is imported as Metric

log = logging.getLogger("lightning_gen")

NUM_IMAGES = 1000  # validation images to encode, over all processes
UNTRAINED = 5000  # images seen before which few latents say nothing


class LogActiveUnits(Callback):
    """Logs the number and fraction of latent dimensions that vary over validation images (`metrics=[active_units]`).

    Fewer than `least` are a collapse of the posterior, of which a line warns once, with what helps.
    """

    def __init__(self, threshold: NonNegativeFloat = 0.01, least: NonNegativeInt = 2):
        self.metric = Metric(threshold)
        self.least = least
        self._warned = False

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
        scores = {f"val/{name}": value.item() for name, value in self.metric.compute().items()}
        model.log_now(scores)
        self._warn(model, scores["val/active_units"])

    def _warn(self, model: ImageGenerator, active: float) -> None:
        collapsed = active < self.least and model.images_seen >= UNTRAINED
        if self._warned or not collapsed or not isinstance(model, LatentVariableModel):
            return
        self._warned = True
        warmup = max(50_000, 2 * model.beta_warmup_images)
        free = " or model.objective.free_nats=0.1" if isinstance(model, VAE) and model.has_closed_kl else ""
        log.info(
            "posterior collapse at %s images: %d latents are in use, the decoder works without the others; lower "
            "model.beta (now %g), or set model.beta_warmup_images=%d%s",
            *(f"{model.images_seen:,}", active, model.beta, warmup),
            free,
        )
