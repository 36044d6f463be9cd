"""MLflow: runs on a tracking server, or in MLflow's file in the working folder."""

import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only

from lightning_gen.config.yaml_comments import dotted
from lightning_gen.errors import UserError, missing_package
from lightning_gen.training.loggers import Params, checkpoints_of, records_of, sweep_name
from lightning_gen.utilities.atomic_files import atomic_write

GROUP = "lightning_gen.group"  # the tag by which runs of a sweep are found


class MLflow(MLFlowLogger):
    """MLflow's tracking; a resumed run continues its MLflow run, whose id is in the run folder `folder`.

    `tracking_uri`: a server; None: MLflow's own, which MLFLOW_TRACKING_URI names, else the file `mlflow.db` in the
    working folder. `group`: a tag, by default the name of the sweep. `checkpoints`: upload best.ckpt and last.ckpt.
    """

    def __init__(
        self,
        folder: str,
        experiment: str,
        tracking_uri: str | None = None,
        name: str | None = None,
        group: str | None = None,
        checkpoints: bool = False,
    ):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would send how it is used to its makers
        self._folder, self._checkpoints = Path(folder), checkpoints
        self._open = False
        self._id_file = self._folder / "mlflow_run_id.txt"
        group = group or sweep_name()
        try:
            import mlflow

            super().__init__(
                experiment_name=experiment,
                run_name=name or self._folder.absolute().name,
                tracking_uri=tracking_uri or mlflow.get_tracking_uri(),
                tags={GROUP: group} if group else None,
                run_id=self._id_file.read_text() if self._id_file.exists() else None,
            )
        except ModuleNotFoundError as error:
            raise missing_package("logger=mlflow", "mlflow", "mlflow") from error

    @rank_zero_only
    def open(self) -> None:
        """Start the MLflow run, or go on with it. UserError if the server does not answer."""
        from mlflow.exceptions import MlflowException

        try:
            run_id = self.run_id
            assert run_id
            self.experiment.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            why = str(error).splitlines()[0]
            raise UserError(f"logger.mlflow.tracking_uri: {why}; is there a server, or an older mlflow.db?") from error
        if not self._id_file.exists():
            atomic_write(self._id_file, run_id)
        self._open = True

    @rank_zero_only
    def log_hyperparams(self, params: Params, *args: Any, **kwargs: Any) -> None:
        """Log the config as parameters; MLflow keeps the first value of each, a resumed run may only add some."""
        known = self.experiment.get_run(self.run_id).data.params
        values = dotted(params if isinstance(params, dict) else vars(params))
        super().log_hyperparams({key: value for key, value in values if key not in known})

    @rank_zero_only
    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Log the PNG or GIF at `path`, as an artifact in the folder of its name."""
        self.experiment.log_artifact(self.run_id, str(path), f"samples/{name}")

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Nothing: scores come after training, and `close` ends the run."""

    @rank_zero_only
    def close(self) -> None:
        """Upload the run's records, and the checkpoints if they are wanted; end the MLflow run."""
        if not self._open:
            return
        for path in records_of(self._folder):
            self.experiment.log_artifact(self.run_id, str(path))
        for path in checkpoints_of(self._folder) if self._checkpoints else ():
            self.experiment.log_artifact(self.run_id, str(path), "checkpoints")
        self.experiment.set_terminated(self.run_id, "FINISHED")
        self._open = False
