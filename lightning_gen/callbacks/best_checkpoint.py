"""Keeps `best.ckpt`: the state with the best monitored score."""

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class BestCheckpoint(ModelCheckpoint):
    """Writes `folder/best.ckpt` whenever `monitor` improves; `mode` is min or max.

    Lightning's own forgets the best score when a run's folder has moved, and overwrites it with the next, worse state.
    """

    def __init__(self, folder: str, monitor: str, mode: str):
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor=monitor,
            mode=mode,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score along if its checkpoint is in this run's folder: a hotstart has none yet."""
        path = Path(self.dirpath, "best.ckpt")
        if not path.is_file() or state_dict["best_model_score"] is None:
            return
        score = state_dict["best_model_score"]
        moved = {"dirpath": self.dirpath, "best_model_path": str(path), "kth_best_model_path": str(path)}
        super().load_state_dict({**state_dict, **moved, "best_k_models": {str(path): score}})
