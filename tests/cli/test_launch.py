"""Jobs of a multirun and ranks of a distributed run: each in its own process, doing the same as one started by hand."""

import os
import subprocess
import sys

import pytest
import yaml
from helpers import ROOT
from helpers.commands import run_command
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

import __main__
from lightning_gen.cli import launch
from lightning_gen.cli.hydra_app import read_command_line
from lightning_gen.cli.launch import command_arguments, relaunchable, should_print_error
from lightning_gen.config.text_values import quoted, with_quotes

SHORT_RUN = ["model=mlp_vae", "data=fake", "data.num_images=32", "data.batch_size=16", "data.image_shape=[1,8,8]"]
SHORT_RUN += ["trainer.max_images=32", "metrics=[]", "callbacks=[]", "logger=[]"]
TWO_PROCESSES = ["trainer.devices=2", "trainer.strategy=ddp"]


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=20).filter(lambda text: "$" not in text))
def test_quoted_text_comes_back(text):
    override = OverridesParser.create().parse_override(f"run_dir={quoted(text)}")
    assert override.value() == text


@pytest.mark.parametrize(
    ("typed", "value"),
    {
        "run_dir=кошки": "кошки",
        "run_dir=[猫 の 写真, fish,3]": ["猫 の 写真", "fish", 3],
        "run_dir=Photos (1)": "Photos (1)",
        "run_dir=Anna's & mine": "Anna's & mine",
        "run_dir=['é',\"a b\"]": ["é", "a b"],
        "run_dir=1e-3": 1e-3,
    }.items(),
)
def test_texts_need_no_quotes_of_hydra(typed, value):
    assert OverridesParser.create().parse_override(with_quotes(typed)).value() == value


@pytest.mark.parametrize("typed", ["run_dir='a", "run_dir=[é", "a={é:1}", "lr=interval(0,1)", "seed", "--cfg", "é"])
def test_what_has_no_text_to_quote_stays(typed):
    assert with_quotes(typed) == typed


def test_the_same_job_in_another_process():
    job = read_command_line("train", ["model=beta_vae", "seed=3", "+trainer.max_epochs=1"])
    arguments = command_arguments("train", job.config, job.overrides, job.flags)
    assert arguments[:4] == ["train", "model=beta_vae", "seed=3", "+trainer.max_epochs=1"]
    again = read_command_line(arguments[0], arguments[1:])
    assert again.config == job.config
    assert command_arguments("train", again.config, again.overrides, again.flags) == arguments


def test_flags_that_say_where_configs_are_go_along(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("defaults: [vae]\nbeta: 3.0\n")
    job = read_command_line("train", ["--config-dir", str(tmp_path), "model=mine"])
    assert job.config.model.beta == 3.0
    arguments = command_arguments("train", job.config, job.overrides, job.flags)
    assert arguments[:3] == ["train", f"--config-dir={tmp_path}", "model=mine"]
    job = read_command_line("train", [f"hydra.searchpath=[file://{tmp_path}]", "model=mine"])
    again = read_command_line("train", command_arguments("", job.config, job.overrides, job.flags)[1:])
    assert again.config.model.beta == 3.0


def test_lightning_relaunches_our_command(monkeypatch, tmp_path):
    from lightning.fabric.strategies.launchers.subprocess_script import _basic_subprocess_cmd

    monkeypatch.chdir(tmp_path)
    before = list(sys.argv), __main__.__spec__, dict(os.environ)
    with relaunchable(["train", "seed=1", "run_dir='a b'"]):
        command = _basic_subprocess_cmd()
        script = str(ROOT / "lightning_gen" / "__main__.py")
        assert command == [sys.executable, script, "train", "seed=1", "run_dir='a b'"]
        assert os.environ["LIGHTNING_GEN_PATH"].split(os.pathsep)[-1] == str(tmp_path)
        os.environ["LOCAL_RANK"] = "0"  # as the launcher does
    assert (sys.argv, __main__.__spec__, dict(os.environ)) == before


CANARIES = ["random", "torch", "json", "lightning", "subprocess", "hydra"]


@pytest.fixture
def folder_of_a_user(tmp_path):
    """A script, a module of its own, and files with the names of packages."""
    for name in CANARIES:
        (tmp_path / f"{name}.py").write_text(f"open('canary-{name}', 'w').close()")
    (tmp_path / "my_net.py").write_text(
        "from lightning.pytorch import Callback\n"
        "class Mine(Callback):\n"
        "    def on_train_start(self, trainer, model):\n"
        "        open(f'mine-{trainer.global_rank}', 'w').close()\n"
    )
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("processes", [[], TWO_PROCESSES], ids=["jobs", "ranks of jobs"])
def test_files_named_as_packages_are_not_run(folder_of_a_user, processes):
    own = "+callbacks.mine._target_=my_net.Mine"
    command = ["train", "-m", "seed=1", *SHORT_RUN, own, *processes]
    done = run_command(*command, cwd=folder_of_a_user)
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in folder_of_a_user.iterdir() if not path.suffix)
    assert [name for name in written if "-" in name] == (["mine-0", "mine-1"] if processes else ["mine-0"])


@pytest.mark.slow
def test_modules_beside_a_script_are_found_by_its_ranks(folder_of_a_user, tmp_path_factory):
    """`python train.py` searches its folder first, so the canaries must not be there, but in the working folder."""
    scripts, work = tmp_path_factory.mktemp("scripts"), folder_of_a_user
    (scripts / "train.py").write_text((ROOT / "train.py").read_text())
    (work / "my_net.py").rename(scripts / "my_net.py")
    command = [*SHORT_RUN, "+callbacks.mine._target_=my_net.Mine", *TWO_PROCESSES]
    done = subprocess.run(
        [sys.executable, scripts / "train.py", *command],
        cwd=work,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in work.iterdir() if "-" in path.name) == ["mine-0", "mine-1"]


@pytest.mark.slow
def test_multirun_of_distributed_jobs(tmp_path):
    done = run_command("train", "-m", "seed=1,abc,2", "sweep=a", *SHORT_RUN, *TWO_PROCESSES, cwd=tmp_path)
    assert done.returncode == 1
    assert "error: seed=abc: expected int\n" in done.stderr
    assert "job 1 failed with exit status 2\n" in done.stderr
    failed = "error: 1 of 3 runs have not finished; the same command with sweep=a runs what is left:\n  seed_abc-"
    assert failed in done.stderr
    assert "Traceback" not in done.stderr
    # Neither the second ranks nor the failed job left a folder.
    runs = sorted(path for path in (tmp_path / "outputs/sweeps/a").iterdir() if path.is_dir() and path.name != "points")
    assert [yaml.safe_load((run / "config.yaml").read_text())["seed"] for run in runs] == [1, 2]
    assert [run.name[:7] for run in runs] == ["seed_1-", "seed_2-"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]


@pytest.mark.slow
@pytest.mark.parametrize("rank", ["null", "1"])
def test_an_error_of_all_ranks_or_one_is_printed_once(tmp_path, rank):
    site = tmp_path / "site"
    site.mkdir()
    (site / "lg_fail.py").write_text(
        "from lightning.pytorch import Callback\n"
        "from lightning_gen.errors import UserError\n"
        "class Fail(Callback):\n"
        "    def __init__(self, rank: int | None):\n"
        "        self.rank = rank\n"
        "    def on_fit_start(self, trainer, model):\n"
        "        if self.rank is None or trainer.global_rank == self.rank:\n"
        "            raise UserError('no luck')\n"
    )
    callback = f"+callbacks.fail={{_target_: lg_fail.Fail, rank: {rank}}}"
    done = run_command("train", *SHORT_RUN, *TWO_PROCESSES, callback, cwd=tmp_path, path=site)
    assert done.returncode == 2
    assert done.stderr == "error: no luck\n"


def test_a_relaunched_rank_speaks_when_rank_0_lives_on(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(launch.RELAUNCHED, "1")
    monkeypatch.setattr(launch.time, "sleep", lambda seconds: None)
    clock = iter(range(100))
    monkeypatch.setattr(launch.time, "monotonic", lambda: next(clock))
    assert should_print_error()
    parents = iter([5, 5, 1])
    monkeypatch.setattr(launch.os, "getppid", lambda: next(parents))
    assert not should_print_error()


def test_objective_of_a_sweep(tmp_path):
    config = OmegaConf.create({"run_dir": str(tmp_path), "objective": "kid"})
    assert launch.objective_of(config) is None
    (tmp_path / "evaluation.json").write_text('[{"scores": {"kid": 0.5}}]')
    assert launch.objective_of(config) == 0.5
    assert launch.objective_of(OmegaConf.create({"run_dir": str(tmp_path)})) is None
