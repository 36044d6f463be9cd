"""Multiruns that are killed and started again, under each launcher; their runs are pretended (`helpers.fake_train`)."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from helpers import ROOT
from helpers.slurm import cluster, missing, output, wait

from lightning_gen.cli import main, sweep, sweep_words
from lightning_gen.cli.hydra_app import read_command_line
from lightning_gen.runs.heartbeat import Heartbeat
from lightning_gen.runs.points import Point, find, hash_of, is_busy, name_of, read_points, running_since
from lightning_gen.utilities.atomic_files import place

FAKES = ROOT / "tests" / "helpers" / "fake_train"
SEEDS = ["-m", "seed=1,2,3,4,5,6", "sweep=seeds"]


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "WANDB_"))}
    paths = [str(FAKES), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-m", "lightning_gen", "train", *SEEDS, *arguments],
        cwd=folder,
        env=inherited | environment | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def pretended(monkeypatch, tmp_path):
    """Runs are pretended, in this folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FAKES), str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return tmp_path


def seeds_of_calls(folder: Path) -> list[int]:
    return [int(line.split()[0]) for line in (folder / "calls.txt").read_text().splitlines()]


def kill_at_third(folder: Path, process: subprocess.Popen) -> set[int]:
    """Kill a sweep, and the processes it has started, while seed 3 runs; the seeds that are finished by then."""
    wait(lambda: list(folder.glob("outputs/sweeps/seeds/seed_3-*/config.yaml")), 100)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return {int(path.parent.name[5]) for path in folder.glob("outputs/sweeps/seeds/*/evaluation.json")}


def check_second_start(folder: Path, done: set[int], process: subprocess.Popen) -> None:
    before = len(seeds_of_calls(folder))
    out, err = process.communicate(timeout=200)
    assert process.returncode == 1, err
    assert {1, 2} <= done
    assert set(seeds_of_calls(folder)[before:]) == {1, 2, 3, 4, 5, 6} - done
    assert "error: 1 of 6 runs have not finished" in err
    assert "  seed_5-" in err
    assert "exit status 2; outputs/sweeps/seeds/seed_5-" in err
    assert "5 seeds " in out
    states = {point.name[:6]: (point.status, point.scores) for point in read_points(folder / "outputs/sweeps/seeds")}
    assert states["seed_5"] == ("failed", {})
    assert states["seed_4"] == ("finished", {"m": 4.0})
    assert {line.split()[1] for line in (folder / "calls.txt").read_text().splitlines()} == {"seeds"}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "joblib"])
def test_a_killed_sweep_goes_on_with_what_is_left(tmp_path, launcher):
    if launcher == "joblib":
        pytest.importorskip("joblib")
    done = kill_at_third(tmp_path, start(tmp_path, f"launcher={launcher}"))
    check_second_start(tmp_path, done, start(tmp_path, f"launcher={launcher}"))


@pytest.mark.slow
def test_runs_of_joblib_save_when_the_sweep_is_stopped(tmp_path):
    pytest.importorskip("joblib")
    (tmp_path / "hang").touch()
    process = start(tmp_path, "launcher=joblib")
    wait(lambda: len(list(tmp_path.glob("outputs/sweeps/seeds/*/config.yaml"))) == 2, 100)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert err.endswith("stopped by SIGTERM; the same command with sweep=seeds runs what is left\n")
    assert (out + err).count("stopped by SIGTERM") == 1
    assert len(list(tmp_path.glob("outputs/sweeps/seeds/*/checkpoints/last.ckpt"))) >= 2


@pytest.mark.slow
@pytest.mark.tools
@pytest.mark.skipif(missing() is not None, reason=str(missing()))
def test_a_killed_sweep_of_slurm_jobs_goes_on_with_what_is_left(tmp_path):
    pytest.importorskip("submitit")
    few = ["launcher=slurm", "hydra.launcher.timeout_min=10", "hydra.launcher.array_parallelism=1"]
    with cluster() as environment:
        done = kill_at_third(tmp_path, start(tmp_path, *few, **environment))
        subprocess.run(["scancel", "--user", environment.get("USER", "root")], env=environment, check=True)
        wait(lambda: not output(environment, "squeue", "-h"), 60)
        check_second_start(tmp_path, done, start(tmp_path, *few, **environment))


def test_names_of_points():
    typed = ["model=vae", "seed=0,1", "optimizer@model.optimizer=adam,sgd", "+x=1_000", "trainer.max_images=range(1,9)"]
    point = ["model=vae", "seed=1", "optimizer@model.optimizer=sgd", "+x=1000", "trainer.max_images=2"]
    constant = sweep._constant(typed)
    assert constant == ["model", "+x"]
    assert name_of(point, constant) == f"seed_1-optimizer_sgd-max_images_2-{hash_of(point)}"
    assert name_of(["data.path=/a/b c"], []).startswith("path_a_b_c-")
    assert hash_of(reversed(point)) == hash_of(point) != hash_of(typed)
    assert name_of(point, [text.partition("=")[0] for text in point]) == hash_of(point)
    assert len(name_of(["a=" + 300 * "b"], [])) <= 70


def test_a_point_is_busy_while_its_run_or_its_process_lives(tmp_path):
    point = Point("a", [], str(tmp_path / "run"), "0")
    assert not is_busy(tmp_path, point)
    Point("a", [], point.folder, "0", process=f"{place()} {os.getppid()}").save(tmp_path)
    assert is_busy(tmp_path, point)
    assert running_since(tmp_path, time.time() - 60) == [os.getppid()]
    os.utime(tmp_path / "points/a.json", (0, 0))  # another process may have the number by now
    assert not is_busy(tmp_path, point)
    assert not running_since(tmp_path, time.time() - 60)
    (tmp_path / "run").mkdir()
    heartbeat = Heartbeat(tmp_path / "run")
    heartbeat.start()
    assert is_busy(tmp_path, point)
    heartbeat.stop()
    assert not is_busy(tmp_path, point)


def test_a_point_is_found_by_its_overrides(tmp_path):
    """As an earlier version has named it, with what does not vary."""
    old = Point("seed_1-max_images_8-01234567", ["seed=1", "trainer.max_images=8"], "old", "0")
    old.save(tmp_path)
    assert find(read_points(tmp_path), ["trainer.max_images=8", "seed=1"]) == old
    assert find(read_points(tmp_path), ["trainer.max_images=8", "seed=2"]) is None


def test_damaged_points_are_left_out(tmp_path):
    Point("a", ["seed=1"], "run", "0").save(tmp_path)
    for name, text in {"b": "", "c": "[]", "d": '{"name": 1}', "e": "nul"}.items():
        (tmp_path / "points" / f"{name}.json").write_text(text)
    assert [point.overrides for point in read_points(tmp_path)] == [["seed=1"]]


@pytest.mark.parametrize(
    ("arguments", "told"),
    {
        "-m sweep=../x seed=1": "sweep=../x: its runs are in outputs/sweeps/NAME",
        "sweep=x": "sweep=x: names a multirun, and this is a single run; add -m",
        "launcher=local": "launcher=local: starts the runs of a multirun, and this is a single run; add -m",
        "-m launcher=slrum seed=1": "slurm",
    }.items(),
)
def test_mistakes(capsys, monkeypatch, tmp_path, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments.split()]) == 2
    error = capsys.readouterr().err.strip()
    assert told in error
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_run_folders_that_are_typed(pretended, capfd):
    """Never two points in one, and never one that was there before the sweep."""
    assert main(["train", "-m", "seed=1,2", "run_dir=run_${seed}", "sweep=a"]) == 0
    assert main(["train", "-m", "seed=1,2", "run_dir=run_${seed}", "sweep=a"]) == 0
    assert seeds_of_calls(pretended) == [1, 2]
    assert main(["train", "-m", "seed=3,4", "run_dir=run", "sweep=b"]) == 1
    assert "error: run_dir=run: another run of this sweep has it; add what varies" in capfd.readouterr().err
    assert seeds_of_calls(pretended) == [1, 2, 3]
    assert [point.status for point in read_points(Path("outputs/sweeps/b"))] == ["finished", "failed"]


def command_of_wandb_agent(**values: object) -> list[str]:
    """That of docs/sweeps.md with the values of a trial, as wandb's agent puts it together."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/sweeps.md").read_text(), re.DOTALL)
    command = next(yaml.safe_load(block)["command"] for block in blocks if "args_no_hyphens" in block)
    words = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
    return [word for part in command for word in (words[part[2:-1]] if part.startswith("${") else [part])]


def test_the_command_of_a_wandb_agent():
    arguments = command_of_wandb_agent(**{"model.optimizer.lr": 0.000123, "seed": 2})
    assert arguments[:2] == ["lightning-gen", "train"]
    job = read_command_line("train", arguments[2:])
    assert (job.config.model.optimizer.lr, job.config.seed) == (0.000123, 2)
    assert job.config.logger.wandb.offline is False


@pytest.mark.slow
def test_a_trial_of_a_wandb_agent(tmp_path):
    """The process that an agent starts; offline, as there is no server."""
    values = {"model.optimizer.lr": 0.000123, "seed": 2}
    arguments = command_of_wandb_agent(**values)[2:]
    settings = tmp_path / "config-trial_id.yaml"
    settings.write_text(yaml.safe_dump({"wandb_version": 1} | {key: {"value": values[key]} for key in values}))
    small = ["data=fake", "data.image_shape=[1,16,16]", "data.num_classes=null", "debug=smoke", "metrics=[]"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "WANDB_"))}
    environment |= {"WANDB_SWEEP_ID": "sweep_id", "WANDB_RUN_ID": "trial_id", "HOME": str(tmp_path / "home")}
    environment |= {"WANDB_SWEEP_PARAM_PATH": str(settings)}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "lightning_gen", "train", *arguments, *small, "run_dir=run"]
    command += ["model.generator.width=8", "model.discriminator.width=8", "callbacks=[]", "logger.wandb.offline=true"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=180)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["model"]["optimizer"]["lr"], config["seed"]) == (0.000123, 2)
    assert len(list(tmp_path.glob("run/wandb/offline-run-*-trial_id/run-trial_id.wandb"))) == 1


@pytest.mark.parametrize("launcher", ["joblib", "slurm"])
def test_a_launcher_that_is_not_installed(capsys, monkeypatch, launcher):
    monkeypatch.setattr(sweep_words, "is_installed", lambda launcher: False)
    assert main(["train", "-m", f"launcher={launcher}", "seed=1,2"]) == 2
    assert capsys.readouterr().err.endswith(f"is missing: pip install 'lightning-gen[{launcher}]'\n")
