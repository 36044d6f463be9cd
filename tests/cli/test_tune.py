"""`lightning-gen tune`; the trainings are pretended (`helpers.fake_train`)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.slurm import wait

from lightning_gen.cli import main
from lightning_gen.cli.search_space import default_values, flat, read_dimension, written_keys
from lightning_gen.config.composition import compose_unresolved
from lightning_gen.errors import UserError

optuna = pytest.importorskip("optuna")

from lightning_gen.cli.commands import tune  # noqa: E402
from lightning_gen.cli.trial import Pruner, scores_of  # noqa: E402

FAKES = ROOT / "tests" / "helpers" / "fake_train"
SEARCH = ["objective=m", "space.lr=log(1e-5,1e-2)", "space.latent_dim=int(1,8)", "name=search", "model=mlp_vae"]


@pytest.fixture
def pretended(monkeypatch, tmp_path):
    """Trainings are pretended, in this folder."""
    monkeypatch.chdir(tmp_path)
    paths = [str(FAKES), str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(tune, "_direction", lambda search: "lower")
    return tmp_path


def trials() -> list:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend("outputs/tune/search/journal.log"))
    return optuna.load_study(study_name="search", storage=storage).trials


def test_a_killed_worker_s_trial_is_taken_up(pretended, capfd):
    assert main(["tune", *SEARCH, "trials=2"]) == 0
    (pretended / "hang").touch()
    worker = subprocess.Popen(
        [sys.executable, "-m", "lightning_gen", "tune", *SEARCH, "trials=5"], start_new_session=True
    )
    wait((pretended / "outputs/tune/search/trial_002/config.yaml").exists, 60)
    assert trials()[2].state.name == "RUNNING"
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    (pretended / "hang").unlink()
    values = trials()[2].params
    capfd.readouterr()

    assert main(["tune", *SEARCH, "trials=5"]) == 0
    out = capfd.readouterr().out
    found = trials()
    assert [trial.state.name for trial in found] == 5 * ["COMPLETE"]
    assert found[2].params == values
    assert [trial.value for trial in found] == [trial.params["model.optimizer.lr"] for trial in found]
    best = min(found, key=lambda trial: trial.value)
    assert "trial 2: model.optimizer.lr=" in out
    assert f"run folder: outputs/tune/search/trial_{best.number:03}\n" in out
    repeat = f"model=mlp_vae model.optimizer.lr={best.value} model.latent_dim={best.params['model.latent_dim']}"
    assert f"to repeat it: lightning-gen train {repeat}\n" in out


def test_failures_end_the_search(pretended, capfd):
    assert main(["tune", *SEARCH, "seed=5", "trials=9"]) == 2
    assert capfd.readouterr().err.endswith("error: all of the first 3 trials have failed; their messages are above\n")
    assert [trial.state.name for trial in trials()] == 3 * ["FAIL"]


def test_the_folder_of_another_search_is_refused(pretended, capfd):
    assert main(["tune", *SEARCH, "trials=1"]) == 0
    assert main(["tune", *SEARCH, "trials=1", "seed=1"]) == 2
    assert "name=search: outputs/tune/search holds the study of another command" in capfd.readouterr().err


def test_a_mistyped_objective_is_refused_before_any_trial(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["data=fake", "data.image_shape=[1,8,8]", "metrics=[reconstruction]", "extractor=none"]
    assert main(["tune", "objective=recon_mse", "space.lr=log(1e-5,1e-2)", "model=mlp_vae", *small]) == 2
    error = capsys.readouterr().err
    assert (
        "error: objective=recon_mse: no metric of this run gives this score; did you mean reconstruction_mse?" in error
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    {
        "trials=3": "tune needs objective=SCORE",
        "objective=m": "tune needs a search space",
        "objective=m trials=0": "trials=0: give a number from 1",
        "objective=m run_dir=x": "run_dir=x: tune starts its runs itself",
        "objective=m -m": "-m: tune starts its runs itself",
        "objective=m name=a/b": "name=a/b: its folder is outputs/tune/NAME",
        "objective=m space.lr=lgo(1,2)": "space.lr=lgo(1,2): give log(low,high), uniform(low,high), int(low,high) or",
    }.items(),
)
def test_mistakes_of_a_search(capsys, arguments, told):
    assert main(["tune", *arguments.split()]) == 2
    assert capsys.readouterr().err.startswith(f"error: {told}")


@pytest.mark.parametrize("text", ["log(0,1)", "log(2,1)", "int(1,1.5)", "uniform(1)", "choice(a)", "choice(a,a)", "3"])
def test_no_space(text):
    with pytest.raises(UserError, match=r"^space\.a="):
        read_dimension("a", text)


def test_spaces():
    assert read_dimension("a", "choice([1,2],relu,'x,y')").choices == ("[1,2]", "relu", "'x,y'")
    assert read_dimension("a", "log(1e-5, 1e-2)").distribution() == optuna.distributions.FloatDistribution(
        1e-5, 1e-2, log=True
    )
    assert read_dimension("a", "int(1,8)").distribution() == optuna.distributions.IntDistribution(1, 8)
    assert dict(flat({"model": {"optimizer.lr": "a"}, "seed": "b"})) == {"model.optimizer.lr": "a", "seed": "b"}


def test_the_default_values_are_tried_first_if_the_space_has_them():
    texts = {"lr": "log(1e-5,1e-2)", "latent_dim": "int(1,99)", "model": "choice(vae,mlp_vae)"}
    config, node = compose_unresolved("train", ["model=mlp_vae"])
    space = written_keys({key: read_dimension(key, text) for key, text in texts.items()}, ["model=mlp_vae"])
    assert list(space) == ["model.optimizer.lr", "model.latent_dim", "model"]
    found = default_values(space, config, node.runtime.choices)
    assert found == {
        "model.optimizer.lr": config.model.optimizer.lr,
        "model.latent_dim": config.model.latent_dim,
        "model": "mlp_vae",
    }
    assert default_values({"seed": read_dimension("seed", "int(1,3)")}, config, {}) == {}


def test_a_run_worse_than_the_median_is_ended_once(tmp_path):
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=1))
    good = study.ask()
    for step in range(3):
        good.report(1.0, step)
    study.tell(good, 1.0)
    ended, metrics = [], Path(tmp_path, "metrics.csv")
    process = type("Process", (), {"terminate": lambda self: ended.append(True)})()
    pruner = Pruner(study.ask(), metrics, "val/m")
    pruner.watch(process)
    metrics.write_text("images,val/m,loss\n10,5,1\n15,,1\n")
    pruner.watch(process)
    assert not ended  # the first validation is too early
    metrics.write_text("images,val/m,loss\n10,5,1\n15,,1\n20,4,1\n30,3")
    pruner.watch(process)
    pruner.watch(process)
    assert ended == [True]
    assert scores_of(metrics, "val/m") == [5.0, 4.0]
