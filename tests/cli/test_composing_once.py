"""Hydra composes the config of a single run once, and finds out about sweeps as without that."""

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from lightning_gen.cli import sweep
from lightning_gen.cli.hydra_app import Job, read_command_line
from lightning_gen.errors import UserError


@pytest.fixture
def composed(monkeypatch):
    """The modes of all compositions of Hydra's main."""
    modes, load = [], ConfigLoaderImpl.load_configuration

    def counted(self, config_name, overrides, run_mode, **options):
        modes.append(run_mode.name)
        return load(self, config_name, overrides, run_mode, **options)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    return modes


@pytest.fixture
def jobs(monkeypatch, tmp_path):
    """The seeds of the jobs that a multirun starts."""
    monkeypatch.chdir(tmp_path)
    seeds = []

    def run_point(config, node, flags, typed):
        seeds.append(config.seed)
        return 0, None

    monkeypatch.setattr(sweep, "run_point", run_point)
    return seeds


@pytest.mark.parametrize("arguments", [["seed=3"], ["hydra.mode=RUN"]])
def test_single_run_is_composed_once(composed, arguments):
    job = read_command_line("train", arguments)
    assert isinstance(job, Job)
    assert composed == ["RUN"]
    assert job.overrides == [each for each in arguments if each == "seed=3"]


@pytest.mark.parametrize(
    ("arguments", "seeds"),
    [
        (["-m", "seed=1,2"], [1, 2]),
        (["-m", "seed=3"], [3]),
        (["data=fake", "-m", "seed=1,2"], [1, 2]),
        (["experiment=sweep"], [4, 5]),
    ],
)
def test_multirun_wherever_it_is_asked_for(jobs, arguments, seeds, tmp_path):
    (tmp_path / "conf/experiment").mkdir(parents=True)
    settings = "# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 4,5\n"
    (tmp_path / "conf/experiment/sweep.yaml").write_text(settings)
    assert read_command_line("train", [f"--config-dir={tmp_path}/conf", *arguments]) == 0
    assert jobs == seeds


def test_sweep_without_multirun_is_a_mistake(composed):
    with pytest.raises(UserError, match="seed"):
        read_command_line("train", ["seed=1,2"])
