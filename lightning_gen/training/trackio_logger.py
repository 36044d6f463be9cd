"""trackio: runs in files of this machine, shown by `trackio show`, without an account."""

import contextlib
import io
import logging
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from lightning_gen.errors import missing_package
from lightning_gen.training.loggers import Params, checkpoints_of, sweep_name
from lightning_gen.utilities.atomic_files import atomic_write

log = logging.getLogger("lightning_gen")


class Trackio(Logger):
    """trackio's tracking; a resumed run continues its trackio run, whose name is in the run folder `folder`.

    Its files are in trackio's own folder (the environment variable TRACKIO_DIR). `group`: by default the name of the
    sweep. `checkpoints`: also keep best.ckpt and last.ckpt, as artifacts.
    """

    def __init__(
        self,
        folder: str,
        project: str,
        name: str | None = None,
        group: str | None = None,
        checkpoints: bool = False,
    ):
        super().__init__()
        try:
            import trackio
        except ModuleNotFoundError as error:
            raise missing_package("logger=trackio", "trackio", "trackio") from error
        self._trackio = trackio
        self._folder, self._project, self._checkpoints = Path(folder), project, checkpoints
        self._name, self._group = name, group or sweep_name()
        self._run: Any = None
        self._config: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The project."""
        return self._project

    @property
    def version(self) -> str:
        """The name of the run, which trackio knows it by: that of the folder, and a few letters."""
        file = self._folder / "trackio_name.txt"
        if not file.exists():
            atomic_write(file, f"{self._name or self._folder.absolute().name}-{uuid.uuid4().hex[:6]}")
        return file.read_text()

    @property
    def experiment(self) -> Any:
        """The trackio run, begun or continued."""
        if self._run is None:
            with contextlib.redirect_stdout(io.StringIO()):  # advice for notebooks
                self._run = self._trackio.init(
                    self._project,
                    self.version,
                    group=self._group,
                    config=self._config,
                    resume="allow",
                    embed=False,
                    auto_log_gpu=False,
                    auto_log_cpu=False,
                )
        return self._run

    @rank_zero_only
    def log_hyperparams(self, params: Params, *args: Any, **kwargs: Any) -> None:
        """Begin the run with this config."""
        self._config = params if isinstance(params, dict) else vars(params)
        self.experiment.config.update(self._config)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log scalars."""
        self.experiment.log(dict(metrics), step=step)

    @rank_zero_only
    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Log the PNG or GIF at `path`."""
        kind = self._trackio.Video if path.suffix == ".gif" else self._trackio.Image
        self.experiment.log({name: kind(str(path))}, step=step)

    @rank_zero_only
    def close(self) -> None:
        """End the trackio run; say how to look at it."""
        if self._run is None:
            return
        with contextlib.redirect_stdout(io.StringIO()):
            for path in checkpoints_of(self._folder) if self._checkpoints else ():
                artifact = self._trackio.Artifact(f"{self.version}-{path.stem}", type="model")
                artifact.add_file(str(path))
                self._run.log_artifact(artifact)
            self._trackio.finish()
        self._run = None
        log.info("trackio: to look at the run: trackio show --project %s", self._project)
