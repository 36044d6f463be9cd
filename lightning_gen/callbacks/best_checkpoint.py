"""Keeps `best.ckpt`: the training state with the best monitored score."""

from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.suggestions import did_you_mean


class BestCheckpoint(ModelCheckpoint):
    """Writes `folder/best.ckpt` whenever `monitor` improves; `mode` is min or max.

    `monitor=None` is the validation loss, or for models whose loss does not measure quality (GANs) the first distance
    that the `scores` callback computes; without either, nothing is written.

    Unlike Lightning's, a resumed run in a moved folder keeps the best score, so a worse state does not overwrite it.
    """

    def __init__(self, folder: str, monitor: str | None, mode: Literal["min", "max"]):
        self._state_key = f"BestCheckpoint(monitor={monitor}, mode={mode})"
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor=monitor,
            mode=mode,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        """Key of this callback's state, as configured: Lightning's key changes once the monitor is known."""
        return self._state_key

    def on_validation_end(self, trainer: ImageTrainer, model: ImageGenerator) -> None:
        """Save if the score improved; UserError for an unknown `monitor`."""
        known = [name for name in trainer.callback_metrics if name.startswith("val/")]
        if self.monitor is None:
            distances = [name for name in known if name.startswith(("val/kid", "val/frechet", "val/fid"))]
            self.monitor = "val/loss" if model.validation_loss else next(iter(sorted(distances, reverse=True)), None)
        if self.monitor is None:
            return
        if self.monitor not in trainer.callback_metrics:
            fix = did_you_mean(self.monitor, known) or f"; there are {', '.join(known)}"
            raise UserError(f"callbacks.best.monitor={self.monitor}: no such score{fix}")
        super().on_validation_end(trainer, model)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score if its checkpoint is in this run's folder (a warm start has none yet)."""
        path = Path(str(self.dirpath), "best.ckpt")
        if not path.is_file() or state_dict.get("best_model_score") is None:
            return
        score = state_dict["best_model_score"]
        moved = {"dirpath": self.dirpath, "best_model_path": str(path), "kth_best_model_path": str(path)}
        super().load_state_dict({**state_dict, **moved, "best_k_models": {str(path): score}})
