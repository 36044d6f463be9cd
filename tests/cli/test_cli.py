"""The command as it is used: what it prints, what it runs, and its exit status."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
import yaml
from helpers import ROOT
from helpers.processes import Printing
from omegaconf import DictConfig

from lightning_gen import cli
from lightning_gen.cli import main
from lightning_gen.cli.commands import COMMANDS, has_config
from lightning_gen.config.composition import compose, conf_dir
from lightning_gen.errors import UserError

DONE = subprocess.CompletedProcess([], 0)


@pytest.fixture
def work(monkeypatch):
    """Stands in for what the commands do: a list of the arguments it was called with, and what it raises."""

    class Work:
        def __init__(self):
            self.calls, self.error = [], None

        def __call__(self, *arguments):
            self.calls.append(arguments)
            if self.error:
                raise self.error

    stand_in = Work()
    real = cli.load_run
    monkeypatch.setattr(cli, "load_run", lambda command: stand_in if has_config(command) else real(command))
    return stand_in


def test_no_arguments_is_help(capsys):
    assert main([]) == 0
    short = capsys.readouterr().out
    assert all(command in short for command in ("train", "evaluate", "sample", "inspect", "list", "doctor"))
    assert len(short.splitlines()) < 32


def test_version(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"lightning-gen \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(("command", "meant"), [("trian", "train"), ("evalute", "evaluate"), ("lst", "list")])
def test_unknown_command(command, meant, capsys):
    assert main([command, "model=vae"]) == 2
    assert capsys.readouterr().err == f"error: {command}: no such command; did you mean {meant}?\n"


def test_unknown_command_like_none(capsys):
    assert main(["xyz"]) == 2
    assert f"commands: {', '.join(COMMANDS)}" in capsys.readouterr().err


@pytest.mark.parametrize("command", [command for command in COMMANDS if has_config(command)])
def test_help_has_examples_that_compose(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    examples = [line for line in text.splitlines() if re.match(r"  (python train.py|lightning-gen \w+)", line)]
    assert len(examples) >= (5 if command == "train" else 1)
    for example in examples:
        words = shlex.split(re.split(r"\s{3,}", example.strip())[0])
        overrides = [word.split(",")[0] if "[" not in word else word for word in words if "=" in word]
        compose(overrides, command if words[0] == "python" else words[1])
    if command not in ("sample", "interpolate", "classify", "export", "convert"):  # they take no data set of ours
        assert re.search(r"^  data +.*mnist5k", text, re.MULTILINE)


@pytest.mark.parametrize("command", [command for command in COMMANDS if has_config(command)])
def test_primary_configs_choose_our_hydra_settings(command):
    defaults = yaml.safe_load((conf_dir() / f"{command}.yaml").read_text())["defaults"]
    assert {"hydra": "command"} in defaults


def test_train_gets_config_and_overrides(work, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "model=beta_vae", "seed=3"]) == 0
    ((job,),) = work.calls
    config, overrides, *_ = job
    assert isinstance(config, DictConfig)
    assert (config.seed, overrides) == (3, ["model=beta_vae", "seed=3"])
    assert "/beta_vae/" in config.run_dir
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["evaluate", "sample"])
def test_other_commands_get_the_config(command, work, tmp_path):
    path = tmp_path / "a.ckpt"
    path.touch()
    assert main([command, f"checkpoint={path}"]) == 0
    ((job,),) = work.calls
    assert job.config.checkpoint == str(path)


def test_config_is_ready_without_hydra(work):
    from hydra.core.hydra_config import HydraConfig

    work.error = None
    assert main(["train"]) == 0
    assert not HydraConfig.initialized()
    assert "${" not in str(work.calls[0][0])


def test_user_errors_of_the_work_are_one_line(work, capsys):
    work.error = UserError("data=x: no such folder")
    assert main(["train"]) == 2
    assert capsys.readouterr().err == "error: data=x: no such folder\n"


@pytest.mark.parametrize("variable", ["LIGHTNING_GEN_TRACEBACK", "HYDRA_FULL_ERROR"])
def test_traceback_on_request(variable, monkeypatch, capsys):
    monkeypatch.setenv(variable, "1")
    assert main(["train", "seed=abc"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("UserError: seed=abc: expected int\n")


def test_bugs_are_not_hidden(work):
    work.error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        main(["train"])


def test_interrupt(work, capsys):
    work.error = KeyboardInterrupt()
    assert main(["train"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_list(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.match(r"model +.*\bvae\b", line) for line in lines)
    assert any(line.startswith("model/likelihood ") for line in lines)
    assert not any("_base" in line or line.startswith("hydra") for line in lines)


def test_list_group(capsys):
    assert main(["list", "model/likelihood"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(
        path.stem for path in conf_dir().glob("model/likelihood/*.yaml")
    )
    assert all("  core " in line for line in lines)
    assert len({line.index("  core ") for line in lines}) == 1


def test_list_experiments(capsys):
    assert main(["list", "experiment"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"cifar10/r3gan", "digits/sngan"} <= set(names)
    assert not any("_base" in name for name in names)
    assert main(["list", "experiment/gaussians"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["gaussians/gan", "gaussians/r3gan"]
    assert main(["list"]) == 0
    assert re.search(r"^experiment .*gaussians/{gan, r3gan}", capsys.readouterr().out, re.MULTILINE)


def test_list_unknown_group(capsys):
    assert main(["list", "modle"]) == 2
    assert capsys.readouterr().err == "error: there is no group modle; did you mean model?\n"


def test_every_option_says_what_it_is():
    from lightning_gen.config.options import list_groups, list_options

    missing = [f"{group}={o.name}" for group in list_groups() for o in list_options(group) if not o.description]
    assert not missing


def test_list_into_a_closed_pipe(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m lightning_gen list | true; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr


def test_doctor(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "gone")
    assert main(["doctor"]) == 2
    printed = capsys.readouterr().out
    assert re.search(r"^  torch \d", printed, re.MULTILINE)
    assert "  core " in printed
    assert "! gone is left out: package gone is not installed; fix LIGHTNING_GEN_PLUGINS" in printed
    assert f"{tmp_path / 'cache'}, empty" in printed


def test_doctor_without_a_required_package(monkeypatch, capsys):
    from lightning_gen.cli.commands import doctor

    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda package: None if package == "lightning" else real(package))
    assert main(["doctor"]) == 1
    assert "! lightning is missing: pip install lightning" in capsys.readouterr().out


def test_doctor_repairs(tmp_path, monkeypatch, capsys):
    from lightning_gen.cli import repairs

    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path))
    left, other = tmp_path / "set" / ".data.npz.1.tmp", tmp_path / "set" / "data.npz"
    left.parent.mkdir()
    for file in (left, other):
        file.touch()
    os.utime(left, (0, 0))
    installed = []
    monkeypatch.setattr(repairs.subprocess, "run", lambda command: installed.append(command) or DONE)
    removed, install = repairs.repair(["torch"])
    assert removed == f"removed 1 unfinished files from {tmp_path}"
    assert install.startswith("not installed: ")  # nobody was there to agree
    assert not installed
    assert [path.name for path in left.parent.iterdir()] == ["data.npz"]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert list(repairs.repair(["torch"])) == ["no unfinished files", "installed torch"]
    assert installed[0][-2:] == ["install", "torch"]
    assert main(["doctor", "fix"]) == 2
    assert "takes fix=true" in capsys.readouterr().err


def test_train_py_is_the_train_command(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "train.py", "modle=vae"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "error: modle=vae: no such key; did you mean model?\n")
    assert not list(tmp_path.iterdir())


def works_for_a_minute() -> int:
    cli.load_run = lambda command: lambda *arguments: (print("working", flush=True), time.sleep(60))
    return main(["train"])


@pytest.mark.slow
def test_interrupt_of_a_real_process(tmp_path):
    process = Printing(works_for_a_minute, folder=tmp_path)
    process.signal_when(lambda: process.out == "working\n", signal.SIGINT)
    assert (process.wait(), process.err) == (130, "interrupted\n")
