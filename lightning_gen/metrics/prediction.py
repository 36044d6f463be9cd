"""How well a model continues sequences: squared and absolute error, PSNR, SSIM, and the best of several draws."""

from typing import Any

import torch
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveInt
from lightning_gen.metrics.image_metric import PairedMetric

SMALLEST_FOR_SSIM = 6  # its window of 11 pixels is padded by reflection
SCORES = {"mse": "lower", "mae": "lower", "psnr": "higher", "ssim": "higher"}
NUMBERED = tuple(enumerate(SCORES))
WAYS = ("prediction", "prediction_best", "copy_last")


class Prediction(PairedMetric):
    """Errors of the frames after a context, of `[0, 1]`: means over frames and sequences.

    MSE and MAE are sums over a frame's values, as papers on Moving MNIST and OpenSTL give them; PSNR is in decibels and
    of each frame by itself. `copy_last` is what repeating the last frame of the context scores. Models that draw what
    they predict are also scored by the best of `draws`, chosen for each sequence and score by its mean over the frames,
    https://arxiv.org/abs/1802.07687. `context` is by default the model's. Frames under 6 pixels have no SSIM.
    """

    needs = "predict"
    better = {f"{way}_{score}": direction for way in WAYS for score, direction in SCORES.items()}

    def __init__(self, draws: PositiveInt = 10, context: PositiveInt | None = None):
        super().__init__()
        self.draws = draws
        self.context = context
        self.used: dict[str, Any] = {}
        self.by_frame: dict[str, Tensor] = {}
        for way in WAYS:
            # sums over sequences, by score and frame
            self.add_state(way, torch.zeros(len(SCORES), 0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for state in ("frames", "most_draws"):  # as a process with sequences has them
            self.add_state(state, torch.zeros((), dtype=torch.int64), dist_reduce_fx="max")

    def start(self, data: Any, split: str) -> None:
        # all frames there are, those of the context left at 0: processes exchange states of one shape
        for way in WAYS:
            zeros = torch.zeros(len(SCORES), data.image_shape[0], dtype=torch.float64, device=self.device)
            self.add_state(way, zeros, dist_reduce_fx="sum")
        super().start(data, split)

    def why_not(self, model: Any, data: Any) -> str | None:
        """Images are no sequences, and some frames must be left to predict."""
        if len(model.image_shape) != 4:
            return f"{type(model).__name__} makes single images"
        context, frames = self._context(model), model.image_shape[0]
        if not 0 < context < frames:
            return f"context={context}: the sequences have {frames} frames, some before and some after it are needed"
        return None

    def _context(self, model: Any) -> int:
        return getattr(model, "context_frames", model.image_shape[0] // 2) if self.context is None else self.context

    def observe(self, model: Any, batch: Batch) -> None:
        """Predict what follows the context of a batch."""
        images = model.to_support(batch.images)
        context = self._context(model)
        given, truth = images[:, :context], images[:, context:]
        draws = self.draws if getattr(model, "draws_predictions", False) else 1
        self.update([model.predict(given, truth.shape[1]) for _ in range(draws)], truth, given[:, -1:])
        self.used = {"context": context, "frames": truth.shape[1], "draws": draws}

    def update(self, predictions: list[Tensor], truth: Tensor, last: Tensor) -> None:
        """Take in draws of `(B, T, C, H, W)`, what they are of, and the frame before `(B, 1, C, H, W)`; in [-1, 1]."""
        found = torch.stack([self._scores(each, truth) for each in predictions])  # (draws, scores, B, T)
        signs = found.new_tensor([1 if direction == "lower" else -1 for direction in SCORES.values()])
        best = (found.mean(-1) * signs[:, None]).argmin(0)  # (scores, B)
        best = found.gather(0, best[None, ..., None].expand(1, *found.shape[1:]))[0]
        copied = self._scores(last.expand_as(truth), truth)
        for way, each in zip(WAYS, (found.mean(0), best, copied), strict=True):
            if getattr(self, way).shape[1] == 0:
                setattr(self, way, torch.zeros_like(each[:, 0]))
            getattr(self, way)[:, -truth.shape[1] :] += each.sum(1)
        self.count += len(truth)
        self.frames.fill_(truth.shape[1])
        self.most_draws.fill_(len(predictions))

    def _scores(self, prediction: Tensor, truth: Tensor) -> Tensor:
        """Of each frame, `(scores, B, T)`."""
        from torchmetrics.functional.image import structural_similarity_index_measure

        prediction, truth = ((each.float().clamp(-1, 1) + 1) / 2 for each in (prediction, truth))
        difference = (prediction - truth).flatten(2)
        squared = difference.square()
        ssim = truth.new_full(truth.shape[:2], torch.nan)
        if min(truth.shape[-2:]) >= SMALLEST_FOR_SSIM:
            frames = prediction.flatten(0, 1), truth.flatten(0, 1)
            ssim = structural_similarity_index_measure(*frames, data_range=1.0, reduction="none").view(truth.shape[:2])
        psnr = -10 * squared.mean(2).clamp(min=1e-10).log10()  # 100 dB is as good as equal
        return torch.stack([squared.sum(2), difference.abs().sum(2), psnr, ssim]).double().to(self.count.device)

    def compute(self) -> dict[str, Tensor]:
        """Means over frames."""
        frames = {way: getattr(self, way)[:, -int(self.frames) :] / self.count for way in self._ways}
        self.by_frame = {f"{way}_{score}": values[n] for way, values in frames.items() for n, score in NUMBERED}
        scores = {name: values.mean() for name, values in self.by_frame.items()}
        return {name: value for name, value in scores.items() if not ("ssim" in name and value.isnan())}

    @property
    def _ways(self) -> tuple[str, ...]:
        """Those that say something: the best of one draw doesn't."""
        return WAYS if self.most_draws > 1 else ("prediction", "copy_last")

    def curves(self) -> dict[str, list[float]]:
        """The scores of each predicted frame."""
        return {name: curve.tolist() for name, curve in self.by_frame.items() if not curve.isnan().any()}

    def protocol(self) -> dict[str, Any]:
        """What was given and predicted, and the range of values."""
        return {**self.used, "data_range": 1.0, "mse_and_mae": "sums over a frame"}
