"""Pictures of predicted frames and of completed images."""

import torch
from torch import Tensor

from lightning_gen.capabilities import Completes, Predicts
from lightning_gen.images import beside, film, grid, moving_grid
from lightning_gen.sampling.captions import title

DRAWS = 4  # completions of each image
GRAY = 0.0  # value of the rows that are not given


def predictions(model: Predicts, sequences: Tensor, context: int, steps: int) -> Tensor:
    """A row for each of the sequences `(B, T, C, H, W)`: `context` frames, the true next frames, the predicted ones."""
    given, truth = sequences[:, :context], sequences[:, context : context + steps]
    parts = {"given": given, "true next": truth, "predicted": model.predict(model.to_support(given), steps)}
    return beside(title(film(part), words) for words, part in parts.items() if part.shape[1])


def moving_predictions(model: Predicts, sequences: Tensor, context: int, steps: int) -> Tensor:
    """The frames `(T, C, H', W')` of the true sequences and, beside them, of the predicted ones."""
    given = model.to_support(sequences[:, :context])
    predicted = torch.cat([given, model.predict(given, steps)], dim=1)
    last = sequences[:, -1:].expand(-1, max(0, context + steps - sequences.shape[1]), *sequences.shape[2:])
    truth = torch.cat([sequences[:, : context + steps], last], dim=1)  # stands still after its end
    return beside([title(moving_grid(truth), "true"), title(moving_grid(predicted), "predicted")])


def completions(model: Completes, images: Tensor, rows: int, labels: Tensor | None = None) -> Tensor:
    """A row for each image: itself, its first `rows` rows, and several completions of them."""
    images = model.to_support(images)
    given = images.clone()
    given[..., rows:, :] = GRAY
    repeated_labels = None if labels is None else labels.repeat_interleave(DRAWS, 0)
    completed = model.complete(images.repeat_interleave(DRAWS, 0), rows, repeated_labels)
    completed = completed.unflatten(0, (len(images), DRAWS))
    parts = {"original": images[:, None], "given": given[:, None], f"{DRAWS} completions": completed}
    return beside(title(grid(part.flatten(0, 1), part.shape[1]), words) for words, part in parts.items())
