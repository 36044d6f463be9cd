"""Loggers: Lightning's own where they keep what a run logged, and each with `log_picture` for images and GIFs.

The step of every scalar and picture is the number of images seen.
"""

import csv
import io
import os
import uuid
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from lightning_gen.errors import UserError
from lightning_gen.utilities.atomic_files import atomic_write


class CSV(Logger):
    """Scalars in `metrics.csv`, a row a record, written as it comes.

    Lightning's CSVLogger deletes the file that a resumed run wrote and keeps 100 rows in memory, lost in a crash.
    """

    def __init__(self, folder: str):
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] | None = None

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Nothing: the run's folder holds config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Append a row."""
        if self._columns is None:
            self.rewind(step)
        new = [name for name in metrics if name not in self._columns]
        if new or not self.path.exists():
            rows = self._rows()
            self._columns += sorted(new)
            self._rewrite(rows)
        with open(self.path, "a", newline="") as file:
            row = {name: f"{value:.7g}" for name, value in metrics.items()}
            csv.DictWriter(file, self._columns).writerow({"images": step, **row})

    @rank_zero_only
    def rewind(self, images_seen: int) -> None:
        """Go back to a checkpoint at `images_seen`: what was logged after it is about to be logged again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = self._rows()
        self._columns = list(rows[0]) if rows else ["images"]
        if self.path.exists():
            self._rewrite([row for row in rows if int(row["images"]) <= images_seen])

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with open(self.path, newline="") as file:
            # A process killed, or a disk that is full, in the middle of a row leaves one without its end.
            return list(csv.DictReader(line for line in file if line.endswith("\n")))

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        atomic_write(self.path, text.getvalue())

    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Nothing: the picture is in the run's folder."""


class TensorBoard(TensorBoardLogger):
    """TensorBoard events in `<folder>/tensorboard`."""

    def __init__(self, folder: str):
        try:
            super().__init__(folder, name="", version="tensorboard", default_hp_metric=False)
        except ModuleNotFoundError as error:
            raise UserError(
                "logger=tensorboard: the package tensorboard is missing; pip install 'lightning-gen[tensorboard]'"
            ) from error

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """The config, as text."""
        from omegaconf import OmegaConf

        text = OmegaConf.to_yaml(OmegaConf.create(params))
        self.experiment.add_text("config", "    " + text.replace("\n", "\n    "), 0)

    @rank_zero_only
    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Show the PNG or GIF at `path`, which moves: the file goes into the event as it is."""
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(path) as image:
            width, height = image.size
        picture = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())
        self.experiment._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=name, image=picture)]), step)


class Wandb(WandbLogger):
    """Weights & Biases; offline unless `offline=false`. Its run id is kept, so a resumed run goes on in it."""

    def __init__(self, folder: str, project: str, offline: bool, name: str | None = None, **settings: Any):
        id_file = Path(folder) / "wandb_id.txt"
        if not id_file.exists() and rank_zero_only.rank == 0:
            atomic_write(id_file, uuid.uuid4().hex[:8])
        os.environ.setdefault("WANDB_SILENT", "true")
        run_id = id_file.read_text() if id_file.exists() else None
        super().__init__(name=name, save_dir=folder, project=project, offline=offline, id=run_id, **settings)
        self._wandb_init.pop("anonymous", None)  # wandb warns of it, even if it is None

    def open(self) -> None:
        """Start the run. UserError without an account, which is better known before training."""
        import wandb

        try:
            self.experiment.define_metric("*", step_metric="images")
        except (wandb.errors.UsageError, wandb.errors.CommError, wandb.errors.AuthenticationError) as error:
            message = str(error).splitlines()[0]
            raise UserError(f"logger.wandb.offline=false: {message}; run `wandb login`, or log offline") from error

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """The config, as wandb's config."""
        self.experiment.config.update(params, allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Scalars against `images`."""
        self.experiment.log({**metrics, "images": step})

    @rank_zero_only
    def log_picture(self, name: str, path: Path, step: int) -> None:
        """The PNG or GIF at `path`."""
        import wandb

        kind = wandb.Video if path.suffix == ".gif" else wandb.Image
        self.experiment.log({name: kind(str(path)), "images": step})

    @rank_zero_only
    def close(self) -> None:
        """End the wandb run, so that the next one of this process starts its own."""
        if self._experiment is not None:
            self._experiment.finish()
