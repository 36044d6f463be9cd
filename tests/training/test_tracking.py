"""One contract for all loggers, with the real clients: a run that goes on stays one run, with all that was logged."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.processes import free_port
from PIL import Image

from lightning_gen.errors import UserError
from lightning_gen.training.loggers import CSV, TensorBoard, Wandb

STEPS = (64, 128)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Nothing of this user's accounts, servers or home."""
    for name in os.environ:
        if name.startswith(("WANDB_", "MLFLOW_", "TRACKIO_")):
            monkeypatch.delenv(name)
    for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("LIGHTNING_GEN_SWEEP", "my_sweep")
    monkeypatch.chdir(tmp_path)
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()  # it remembers the environment
    os.environ.pop("WANDB_MODE", None)


def csv(folder: Path) -> CSV:
    return CSV(str(folder))


def tensorboard(folder: Path) -> TensorBoard:
    pytest.importorskip("tensorboard")
    return TensorBoard(str(folder))


def wandb(folder: Path) -> Wandb:
    return Wandb(str(folder), project="tests", offline=True, checkpoints=True)


def mlflow(folder: Path, uri: str | None = None) -> Any:
    pytest.importorskip("mlflow")
    from lightning_gen.training.mlflow_logger import MLflow

    return MLflow(str(folder), experiment="tests", checkpoints=True, tracking_uri=uri)


def trackio(folder: Path) -> Any:
    pytest.importorskip("trackio")
    from lightning_gen.training.trackio_logger import Trackio

    return Trackio(str(folder), project="tests", checkpoints=True)


def run_folder(folder: Path) -> Path:
    """A run's files, with two pictures."""
    (folder / "checkpoints").mkdir(parents=True)
    for name in (
        "config.yaml",
        "environment.json",
        "evaluation.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
    ):
        (folder / name).write_text(f"{name}\n")
    frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
    frames[0].save(folder / "samples.png")
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    return folder


def log_run(make: Callable[[Path], Any], folder: Path) -> list[str]:
    """Log a run that is resumed once, as `training.run` does; the identity of the run both times."""
    identities = []
    for step in STEPS:
        logger = make(folder)
        if hasattr(logger, "open"):
            logger.open()
        logger.log_hyperparams({"model": {"beta": 4.0, "step": step}, "seed": 1})
        logger.log_metrics({"train/loss": step / 2, "val/kid": float("nan")}, step)
        logger.log_picture("samples", folder / "samples.png", step)
        logger.log_picture("samples_moving", folder / "moving.gif", step)
        logger.finalize("success")
        getattr(logger, "log_scores", logger.log_metrics)({"test/kid/efficientnet_lite0": 0.25}, step)
        identities.append(str(logger.version))
        for _ in range(2):  # once more does no harm
            getattr(logger, "close", lambda: None)()
    return identities


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [csv, tensorboard, wandb, pytest.param(trackio, marks=pytest.mark.tools)], ids=lambda make: make.__name__
)
def test_a_resumed_run_stays_one_run(make, tmp_path):
    folder = run_folder(tmp_path / "run")
    first, second = log_run(make, folder)
    assert first == second
    other = run_folder(tmp_path / "other")
    if make in (wandb, trackio):
        assert make(other).version != first


@pytest.mark.slow
@pytest.mark.tools
def test_trackio_has_all_of_it(tmp_path):
    trackio_package = pytest.importorskip("trackio")
    before = {run["name"] for run in trackio_package.sqlite_storage.SQLiteStorage.get_run_records("tests")}
    name, _ = log_run(trackio, run_folder(tmp_path / "run"))
    storage = trackio_package.sqlite_storage.SQLiteStorage
    assert {run["name"] for run in storage.get_run_records("tests")} - before == {name}
    logs = storage.get_logs("tests", name)
    assert [(row["step"], row["train/loss"]) for row in logs if "train/loss" in row] == [(64, 32), (128, 64)]
    assert {row["samples"]["_type"] for row in logs if "samples" in row} == {"trackio.image"}
    assert {row["samples_moving"]["_type"] for row in logs if "samples_moving" in row} == {"trackio.video"}
    assert storage.get_run_config("tests", name)["model"]["beta"] == 4


def check_mlflow(folder: Path, uri: str | None) -> None:
    from mlflow import MlflowClient

    first, second = log_run(lambda folder: mlflow(folder, uri), folder)
    assert first == second == (folder / "mlflow_run_id.txt").read_text()
    client = MlflowClient(uri)
    run = client.get_run(first)
    assert run.info.status == "FINISHED"
    assert run.data.params["model.beta"] == "4.0"
    assert run.data.params["model.step"] == "64"  # MLflow keeps the first value
    assert run.data.metrics["test/kid/efficientnet_lite0"] == 0.25
    assert [(m.step, m.value) for m in client.get_metric_history(first, "train/loss")] == [(64, 32), (128, 64)]
    assert run.data.tags["lightning_gen.group"] == "my_sweep"
    found = {
        entry.path for place in ("", "samples/samples", "checkpoints") for entry in client.list_artifacts(first, place)
    }
    assert {"config.yaml", "evaluation.json", "environment.json", "samples/samples/samples.png"} <= found
    assert {"checkpoints/best.ckpt", "checkpoints/last.ckpt"} <= found


@pytest.mark.slow
@pytest.mark.tools
def test_mlflow_in_a_file(tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    check_mlflow(run_folder(tmp_path / "run"), None)
    assert (tmp_path / "mlflow.db").is_file()


@pytest.mark.slow
@pytest.mark.tools
def test_mlflow_on_a_server(tmp_path):
    pytest.importorskip("mlflow.server")
    port = free_port()
    options = f"--host 127.0.0.1 --port {port} --workers 1 --backend-store-uri sqlite:///server.db"
    command = ["timeout", "300", sys.executable, "-m", "mlflow", "server", *options.split()]
    command += ["--artifacts-destination", str(tmp_path / "store")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # a dozen further processes
    server = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, env=environment)
    try:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and server.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.5)
        assert server.poll() is None
        check_mlflow(run_folder(tmp_path / "run"), f"http://127.0.0.1:{port}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        server.wait(30)


@pytest.mark.tools
def test_a_server_that_does_not_answer_is_a_line(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"^logger\.mlflow\.tracking_uri: .*is there a server"):
        mlflow(tmp_path, "http://127.0.0.1:9").open()


@pytest.mark.parametrize("package", ["mlflow", "trackio"])
def test_a_missing_package_names_its_extra(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    module = __import__(f"lightning_gen.training.{package}_logger", fromlist=["MLflow", "Trackio"])
    logger = module.MLflow if package == "mlflow" else module.Trackio
    arguments = {"experiment": "x"} if package == "mlflow" else {"project": "x"}
    with pytest.raises(UserError, match=rf"pip install 'lightning-gen\[{package}\]'"):
        logger(str(tmp_path), **arguments)


@pytest.mark.slow
def test_wandb_has_the_group_the_records_and_the_checkpoints(tmp_path):
    folder = run_folder(tmp_path / "run")
    logger = wandb(folder)
    logger.open()
    run = logger.experiment
    assert run.group == "my_sweep"
    logger.close()
    files = Path(run.dir)
    assert {"config.yaml", "environment.json", "evaluation.json"} <= {path.name for path in files.iterdir()}
