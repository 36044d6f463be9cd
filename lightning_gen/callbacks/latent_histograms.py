"""Histograms of each latent: the aggregate posterior against the prior, which samples are drawn from."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from lightning_gen.bounds import PositiveFloat, PositiveInt
from lightning_gen.callbacks.pictures import Pictures
from lightning_gen.callbacks.traversals import Autoencodes, used
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.images import grid
from lightning_gen.models.posterior_samples import posterior_points
from lightning_gen.sampling.captions import font_for
from lightning_gen.trainer import ImageTrainer

NUM_IMAGES = 2000  # validation images
NUM_POINTS = 5000  # of the prior
BINS = 40
REACH = 0.001  # share of the points of either kind that may be left out at each end
WIDTH, HEIGHT, LINE, MARGIN, FONT = 160, 90, 16, 4, 12  # pixels of a panel
COLUMNS = 4
POSTERIOR, PRIOR, INK = (120, 165, 215), (190, 60, 30), (0, 0, 0)


class LatentHistograms(Pictures):
    """For each of the `n` latents that are used most, bars of posterior samples, and the prior as a line.

    Both are points of the prior, which are whitened where it allows. Where the two differ, the decoder gets latents
    from the prior that it has not learned, or has learned what it never gets.
    """

    def __init__(
        self, folder: str, every_images: PositiveInt, n: PositiveInt, every_minutes: PositiveFloat | None = None
    ):
        super().__init__(folder, every_images, n, every_minutes)

    def pictures(self, trainer: ImageTrainer, model: ImageGenerator) -> dict[str, Tensor]:
        """A panel for each latent; empty of a model that does not both encode and decode images."""
        if not isinstance(model, Autoencodes) or len(model.image_shape) != 3:
            return {}
        batches = list(trainer.datamodule.batches("val", model.device, limit=NUM_IMAGES))
        posterior = torch.cat([posterior_points(model, batch) for batch in batches]).float().cpu()
        prior = model.latent(NUM_POINTS).float().cpu()
        if not (posterior.isfinite().all() and prior.isfinite().all()):
            return {}
        names, uses = used(model, batches)
        chosen = uses.argsort(descending=True)[: self.n].tolist()
        panels = [_panel(posterior[:, n], prior[:, n], f"{n}: {names} {uses[n]:.2f}") for n in chosen]
        return {"latent_histograms": grid(torch.stack(panels), columns=min(COLUMNS, len(panels)))}


def densities(posterior: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    """Histograms `(BINS,)` of two samples `(N,)` and `(M,)` over the same range, each of area 1."""
    ends = torch.stack([part.quantile(torch.tensor([REACH, 1 - REACH])) for part in (posterior, prior)])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    high = max(high, low + 1e-6)
    counts = [torch.histc(part, BINS, low, high) for part in (posterior, prior)]
    first, second = (count / count.sum().clamp(min=1) * BINS / (high - low) for count in counts)
    return first, second


def _panel(posterior: Tensor, prior: Tensor, caption: str) -> Tensor:
    """A picture `(3, H, W)` in [-1, 1]."""
    bars, line = densities(posterior, prior)
    top = float(torch.stack([bars, line]).max().clamp(min=1e-12))
    picture = Image.new("RGB", (WIDTH, HEIGHT + LINE), "white")
    draw = ImageDraw.Draw(picture)
    draw.text((MARGIN, 1), caption, INK, font_for(caption, FONT))
    step, floor = (WIDTH - 2 * MARGIN) / BINS, HEIGHT + LINE - MARGIN
    heights = (torch.stack([bars, line]) / top * (HEIGHT - 2 * MARGIN)).tolist()
    for number, height in enumerate(heights[0]):
        left = MARGIN + number * step
        draw.rectangle((left, floor - height, left + step, floor), POSTERIOR)
    path = [(MARGIN + (number + 0.5) * step, floor - height) for number, height in enumerate(heights[1])]
    draw.line(path, PRIOR, 2)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1
