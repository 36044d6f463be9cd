"""Latent traversals: what each dimension of the latents changes, the most used one first."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.callbacks.pictures import Pictures
from lightning_gen.capabilities import Encodes, HasLatent
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.images import grid
from lightning_gen.models.latent_variable_model import Inference, LatentVariableModel
from lightning_gen.sampling.captions import row_captions
from lightning_gen.trainer import ImageTrainer

NUM_IMAGES = 500  # validation images whose latents are ranked


@runtime_checkable
class Autoencodes(Encodes, HasLatent, Protocol):
    """Maps images to latents and latents to images."""


class Traversals(Pictures):
    """A row for each of the `n` dimensions that are used most, named by number and use.

    In it one latent of the first validation image goes from -`reach` to `reach` in `columns` steps, in standard
    deviations of the prior. The use is the KL divergence in nats, or where that has no closed form the variance of the
    latent over images.
    """

    def __init__(
        self,
        folder: str,
        every_images: PositiveInt,
        n: PositiveInt,
        columns: PositiveInt,
        reach: PositiveFloat,
        every_minutes: PositiveFloat | None = None,
    ):
        super().__init__(folder, every_images, n, every_minutes)
        self.columns = columns
        self.reach = reach

    def pictures(self, trainer: ImageTrainer, model: ImageGenerator) -> dict[str, Tensor]:
        """The grid; empty of a model that does not both encode and decode images."""
        if not isinstance(model, Autoencodes) or len(model.image_shape) != 3:
            return {}
        batches = list(trainer.datamodule.batches("val", model.device, limit=NUM_IMAGES))
        names, uses = used(model, batches)
        images, labels = batches[0]
        first = Batch(images[:1], None if labels is None else labels[:1])
        chosen = uses.argsort(descending=True)[: self.n].tolist()
        rows = [self._row(model, first, place) for place in chosen]
        picture = grid(torch.cat(rows), columns=self.columns)
        return {"traversals": row_captions(picture, [f"{place}: {names} {uses[place]:.2f}" for place in chosen])}

    def _row(self, model: Autoencodes, first: Batch, place: int) -> Tensor:
        latent = model.encode(*first).repeat(self.columns, 1)
        latent[:, place] = torch.linspace(-self.reach, self.reach, self.columns, device=latent.device)
        return model.decode(latent, None if first.labels is None else first.labels.repeat(self.columns))


def used(model: Autoencodes, batches: list[Batch]) -> tuple[str, Tensor]:
    """What measures the use of each latent, and its values `(d,)`."""
    if isinstance(model, LatentVariableModel):
        inferences = [next(model.inferences(model.to_support(x), labels, samples=1)) for x, labels in batches]
        kls = [inference.kls for inference in inferences if isinstance(inference, Inference)]
        if kls:
            return "kl", torch.cat(kls).mean(0)
    return "variance", torch.cat([model.encode(*batch) for batch in batches]).var(0)
