"""Errors of predicted frames: MSE, MAE, PSNR and SSIM, on average and of the best of several samples."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveInt
from lightning_gen.capabilities import Predicts
from lightning_gen.metrics.image_metric import Direction, PairedMetric
from lightning_gen.metrics.structural_similarity import MIN_SIZE, ssim

SCORES: dict[str, Direction] = {"mse": "lower", "mae": "lower", "psnr": "higher", "ssim": "higher"}
KINDS = ("prediction", "prediction_best", "copy_last")


class Prediction(PairedMetric):
    """Errors of the frames after a context, with values in [0, 1]: means over frames and sequences.

    MSE and MAE are sums over a frame's values, as in papers on Moving MNIST and OpenSTL; PSNR is per frame, in
    decibels. `copy_last` is the baseline that repeats the last frame of the context. Stochastic models are also scored
    by the best of `draws` predictions, chosen per sequence and score by the mean over frames,
    https://arxiv.org/abs/1802.07687. `context` defaults to the model's. Frames under 6 pixels have no SSIM.
    """

    needs = "predict"
    better = {f"{kind}_{score}": direction for kind in KINDS for score, direction in SCORES.items()}

    count: Tensor  # sequences
    frames: Tensor  # predicted frames of each
    most_draws: Tensor  # predictions of each

    def __init__(self, draws: PositiveInt = 10, context: PositiveInt | None = None):
        super().__init__()
        self.draws = draws
        self.context = context
        self.used: dict[str, Any] = {}
        self.by_frame: dict[str, Tensor] = {}
        for kind in KINDS:
            # Sums over sequences, (scores, frames).
            self.add_state(kind, torch.zeros(len(SCORES), 0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for state in ("frames", "most_draws"):  # max: a process without sequences has zeros
            self.add_state(state, torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")

    def start(self, data: Any, split: str) -> None:
        # For all frames, with zeros for the context: processes reduce states of equal shape.
        for kind in KINDS:
            zeros = torch.zeros(len(SCORES), data.image_shape[0], dtype=torch.float64, device=self.device)
            self.add_state(kind, zeros, dist_reduce_fx="sum")
        super().start(data, split)

    def why_not(self, model: Any, data: Any) -> str | None:
        """The model must make sequences, with frames left to predict after the context."""
        if len(model.image_shape) != 4:
            return f"{type(model).__name__} makes single images"
        context, frames = self._context(model), model.image_shape[0]
        if not 0 < context < frames:
            return f"context={context}: the sequences have {frames} frames, some before and some after it are needed"
        return None

    def _context(self, model: Any) -> int:
        return getattr(model, "context_frames", model.image_shape[0] // 2) if self.context is None else self.context

    def update_from(self, model: Predicts, batch: Batch) -> None:
        """Predict the frames after the context of a batch."""
        images = model.to_support(batch.images)
        context = self._context(model)
        given, truth = images[:, :context], images[:, context:]
        draws = self.draws if getattr(model, "draws_predictions", False) else 1
        self.update([model.predict(given, truth.shape[1]) for _ in range(draws)], truth, given[:, -1:])
        self.used = {"context": context, "frames": truth.shape[1], "draws": draws}

    def update(self, predictions: list[Tensor], truth: Tensor, last: Tensor) -> None:
        """Add predictions `(B, T, C, H, W)`, true frames, and the frame before them `(B, 1, C, H, W)`, in [-1, 1]."""
        scores = torch.stack([self._scores(prediction, truth) for prediction in predictions])  # (draws, scores, B, T)
        signs = scores.new_tensor([1 if direction == "lower" else -1 for direction in SCORES.values()])
        best_draw = (scores.mean(-1) * signs[:, None]).argmin(0)  # (scores, B)
        best = scores.gather(0, best_draw[None, ..., None].expand(1, *scores.shape[1:]))[0]
        copied = self._scores(last.expand_as(truth), truth)
        for kind, added in zip(KINDS, (scores.mean(0), best, copied), strict=True):
            if getattr(self, kind).shape[1] == 0:
                setattr(self, kind, torch.zeros_like(added[:, 0]))
            getattr(self, kind)[:, -truth.shape[1] :] += added.sum(1)
        self.count += len(truth)
        self.frames.fill_(truth.shape[1])
        self.most_draws.fill_(len(predictions))

    def _scores(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """Scores `(scores, B, T)` of each frame."""
        prediction, truth = ((frames.float().clamp(-1, 1) + 1) / 2 for frames in (prediction, truth))
        difference = (prediction - truth).flatten(2)
        squared = difference.square()
        similarity = truth.new_full(truth.shape[:2], torch.nan)
        if min(truth.shape[-2:]) >= MIN_SIZE:
            similarity = ssim(prediction.flatten(0, 1), truth.flatten(0, 1))[0].view(truth.shape[:2])
        psnr = -10 * squared.mean(2).clamp(min=1e-10).log10()  # at most 100 dB
        return torch.stack([squared.sum(2), difference.abs().sum(2), psnr, similarity]).double().to(self.count.device)

    def compute(self) -> dict[str, Tensor]:
        """Means over frames."""
        self.by_frame = {}
        for kind in self._kinds:
            curves = getattr(self, kind)[:, -int(self.frames) :] / self.count  # (scores, T)
            self.by_frame |= {f"{kind}_{score}": curve for score, curve in zip(SCORES, curves, strict=True)}
        scores = {name: values.mean() for name, values in self.by_frame.items()}
        return {name: value for name, value in scores.items() if not ("ssim" in name and value.isnan())}

    @property
    def _kinds(self) -> tuple[str, ...]:
        """The kinds of scores; without `prediction_best` if there is one prediction only."""
        return KINDS if self.most_draws > 1 else ("prediction", "copy_last")

    def curves(self) -> dict[str, list[float]]:
        """The scores of each predicted frame."""
        return {name: curve.tolist() for name, curve in self.by_frame.items() if not curve.isnan().any()}

    def protocol(self) -> dict[str, Any]:
        """The context, the predicted frames and the range of values."""
        return {**self.used, "data_range": 1.0, "mse_and_mae": "sums over a frame"}
