"""Loggers that survive a resumed run, each with `log_picture` for PNGs and GIFs.

The step of every scalar and picture is the number of images seen.
"""

import csv
import io
import logging
import os
import uuid
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from lightning_gen.errors import UserError, missing_package
from lightning_gen.utilities.atomic_files import atomic_write
from lightning_gen.utilities.compat import add_encoded_image, is_rank_zero, started_run, unset_anonymous
from lightning_gen.utilities.launchers import SWEEP

log = logging.getLogger("lightning_gen")

Params = dict[str, Any] | Namespace  # of Lightning's loggers; ours get a dict
# Files of a run that tell what it was: config, code and machine, scores with their protocol.
RECORDS = ("config.yaml", "environment.json", "changes-*.diff", "evaluation.json")


def records_of(folder: Path) -> list[Path]:
    """The records in a run folder."""
    return [path for pattern in RECORDS for path in sorted(folder.glob(pattern))]


def checkpoints_of(folder: Path) -> list[Path]:
    """The checkpoints in a run folder that may be uploaded."""
    return [path for name in ("best", "last") if (path := folder / "checkpoints" / f"{name}.ckpt").is_file()]


def sweep_name() -> str | None:
    """The name of the sweep that this run is of, or the id that a wandb server has given it."""
    return os.environ.get(SWEEP) or os.environ.get("WANDB_SWEEP_ID")


class CSV(Logger):
    """Scalars in `metrics.csv`, a row for each call, written at once.

    Lightning's CSVLogger deletes the file of the run that is resumed, and keeps 100 rows in memory that a crash loses.
    """

    def __init__(self, folder: str):
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] = []  # empty before the first row

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Params, *args: Any, **kwargs: Any) -> None:
        """Nothing: the config is in the run's folder, in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row."""
        if not self._columns:
            self.rewind(step or 0)
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
        """Go back to a checkpoint at `images_seen`: remove the later rows, which will be logged again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            rows = self._rows()
            kept = [row for row in rows if int(row["images"]) <= images_seen]
        except (KeyError, ValueError, TypeError, csv.Error):
            raise UserError(f"{self.path}: is damaged, or no metrics.csv of a run; move it away, then resume") from None
        self._columns = list(rows[0]) if rows else ["images"]
        if self.path.exists():
            self._rewrite(kept)

    def _rows(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        with open(self.path, newline="") as file:
            # A killed process or a full disk leaves a row without its end.
            rows = list(csv.DictReader(line for line in file if line.endswith("\n")))
        if any(None in row for row in rows):
            raise ValueError("more values than columns")
        return rows

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        atomic_write(self.path, text.getvalue())

    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Nothing: the picture is a file in the run's folder."""


class TensorBoard(TensorBoardLogger):
    """TensorBoard events in `<folder>/tensorboard`."""

    def __init__(self, folder: str):
        try:
            super().__init__(folder, name="", version="tensorboard", default_hp_metric=False)
            self._config: dict[str, Any] = {}
        except ModuleNotFoundError as error:
            raise missing_package("logger=tensorboard", "tensorboard", "tensorboard") from error

    @rank_zero_only
    def log_hyperparams(self, params: Params, *args: Any, **kwargs: Any) -> None:
        """Log the config as text."""
        from omegaconf import OmegaConf

        config = vars(params) if isinstance(params, Namespace) else params
        text = OmegaConf.to_yaml(OmegaConf.create(config))
        self.experiment.add_text("config", "    " + text.replace("\n", "\n    "), 0)

        self._config = config

    @rank_zero_only
    def log_scores(self, scores: Mapping[str, float], step: int) -> None:
        """Log the final scores, and with them the config's values as hyperparameters, for the tab HPARAMS."""
        super().log_hyperparams(self._config, dict(scores), step)

    @rank_zero_only
    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Log the PNG or (moving) GIF at `path`: the event holds the file as it is."""
        from PIL import Image

        with Image.open(path) as image:
            width, height = image.size
        add_encoded_image(self.experiment, name, path.read_bytes(), (height, width), step)


class Wandb(WandbLogger):
    """Weights & Biases; offline unless `offline=false`. A resumed run continues its wandb run: the id is in a file.

    `group`: by default WANDB_RUN_GROUP, or the name of the sweep. `checkpoints`: upload best.ckpt and last.ckpt at the
    end, as artifacts.
    """

    def __init__(
        self,
        folder: str,
        project: str,
        offline: bool,
        name: str | None = None,
        group: str | None = None,
        checkpoints: bool = False,
        **settings: Any,
    ):
        self._folder, self._checkpoints = Path(folder), checkpoints
        if group := group or os.environ.get("WANDB_RUN_GROUP") or sweep_name():
            settings["group"] = group
        id_file = Path(folder) / "wandb_id.txt"
        if not id_file.exists() and is_rank_zero():
            given = os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None  # by `wandb agent`
            atomic_write(id_file, given or uuid.uuid4().hex[:8])
        os.environ.setdefault("WANDB_SILENT", "true")
        run_id = id_file.read_text() if id_file.exists() else None
        super().__init__(name=name, save_dir=folder, project=project, offline=offline, id=run_id, **settings)
        unset_anonymous(self)

    def open(self) -> None:
        """Start the wandb run, before training. UserError without an account."""
        import wandb

        try:
            self.experiment.define_metric("*", step_metric="images")
        except (wandb.errors.UsageError, wandb.errors.CommError, wandb.errors.AuthenticationError) as error:
            message = str(error).splitlines()[0]
            raise UserError(f"logger.wandb.offline=false: {message}; run `wandb login`, or log offline") from error

    @rank_zero_only
    def log_hyperparams(self, params: Params, *args: Any, **kwargs: Any) -> None:
        """Log the config as wandb's config."""
        self.experiment.config.update(params, allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scalars against `images`."""
        self.experiment.log({**metrics, "images": step})

    @rank_zero_only
    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Log the PNG or GIF at `path`."""
        import wandb

        kind = wandb.Video if path.suffix == ".gif" else wandb.Image
        self.experiment.log({name: kind(str(path)), "images": step})

    @rank_zero_only
    def close(self) -> None:
        """Add the records of the run to the wandb run, and end it, so that the next one in this process is another.

        Say how to upload it.
        """
        run = started_run(self)
        if run is not None:
            self._upload(run)
            run.finish()
            if run.offline:
                log.info("wandb was offline; to upload the run: wandb sync %s", run.sync_dir)

    def _upload(self, run: Any) -> None:
        import wandb

        for path in records_of(self._folder):
            run.save(str(path), base_path=str(self._folder), policy="now")
        for path in checkpoints_of(self._folder) if self._checkpoints else ():
            artifact = wandb.Artifact(f"checkpoint-{run.id}", type="model")
            artifact.add_file(str(path))
            run.log_artifact(artifact, aliases=[path.stem])
