"""Logs as lines of JSON, in the run's folder."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only


class MyOption(Logger):
    """Appends `{"images": 64, "train/loss": 12.3}` to `<folder>/my_option.jsonl`; steps are images seen."""

    name = "my_option"
    version = ""

    def __init__(self, folder: str):
        super().__init__()
        self.path = Path(folder) / "my_option.jsonl"

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """The run's whole config, at its start: it is in the folder already."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Losses, scores, speed and memory by name."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps({"images": step, **metrics}) + "\n")

    @rank_zero_only
    def log_picture(self, name: str, path: Path, step: int) -> None:
        """A PNG or GIF that was written to `path`. This method may be left out, as the next one."""

    @rank_zero_only
    def rewind(self, images_seen: int) -> None:
        """Forget what a resumed run logged after its checkpoint: it will be logged again."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        kept = [line + "\n" for line in lines if json.loads(line)["images"] <= images_seen]
        if len(kept) < len(lines):
            self.path.write_text("".join(kept))
