"""How models go on from the first frames of a sequence, or the upper rows of an image: pictures, and two commands."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_gen.images import beside, film, grid, moving_grid

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

DRAWS = 4  # completions of each image
GRAY = 0.0  # of what is not given


def observed(model: "ImageGenerator", images: Tensor) -> Tensor:
    """Images as the model sees them."""
    return model.observe(images) if hasattr(model, "observe") else images


def predictions(model: "ImageGenerator", sequences: Tensor, context: int, steps: int) -> Tensor:
    """A row for each of the sequences `(B, T, C, H, W)`: `context` frames, those that follow, the predicted ones."""
    given, truth = sequences[:, :context], sequences[:, context : context + steps]
    parts = [given, truth, model.predict(observed(model, given), steps)]
    return beside(film(part) for part in parts if part.shape[1])


def moving_predictions(model: "ImageGenerator", sequences: Tensor, context: int, steps: int) -> Tensor:
    """The frames `(T, C, H', W')` of the true sequences and, beside them, of the predicted ones."""
    given = observed(model, sequences[:, :context])
    predicted = torch.cat([given, model.predict(given, steps)], dim=1)
    last = sequences[:, -1:].expand(-1, max(0, context + steps - sequences.shape[1]), *sequences.shape[2:])
    truth = torch.cat([sequences[:, : context + steps], last], dim=1)  # stands still where it has ended
    return beside([moving_grid(truth), moving_grid(predicted)])


def completions(model: "ImageGenerator", images: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
    """A row for each image: itself, its first `rows` rows, and a few ways in which they may go on."""
    images = observed(model, images)
    given = images.clone()
    given[..., rows:, :] = GRAY
    repeated = (None if each is None else each.repeat_interleave(DRAWS, 0) for each in (images, labels))
    drawn = model.complete(next(repeated), rows, next(repeated)).unflatten(0, (len(images), DRAWS))
    return grid(torch.cat([images[:, None], given[:, None], drawn], 1).flatten(0, 1), columns=2 + DRAWS)
