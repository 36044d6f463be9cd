"""Shell completion: the words that fit, and the scripts in the shells that are here."""

import json
import shutil
import subprocess
import sys

import pytest
from helpers import ROOT

from lightning_gen.cli import main
from lightning_gen.cli.candidates import candidates
from lightning_gen.cli.commands.completion import SCRIPTS


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tr"], ["train"]),
        (["train", "model=dcg"], ["model=dcgan"]),
        (["train", "experiment=digits/sn"], ["experiment=digits/sngan"]),
        (["train", "model=dcgan", "model.lat"], ["model.latent_dim="]),
        (["train", "model=dcgan", "network@model.gen"], ["network@model.generator="]),
        (["train", "model/lo"], ["model/loss="]),
        (["train", "callbacks=[+ear"], ["callbacks=[+early_stopping"]),
        (["train", "metrics=[kid,frec"], ["metrics=[kid,frechet"]),
        (["train", "evaluation.sp"], ["evaluation.split="]),
        (["train", "summary="], ["summary=true", "summary=false"]),
        (["train", "model.conditional=t"], ["model.conditional=true"]),
        (["train", "--d"], ["--dry-run"]),
        (["evaluate", "--d"], []),
        (["evaluate", "checkpoint="], []),  # a path: the shell's own
        (["list", "model/pen"], ["model/penalty"]),
        (["completion", "f"], ["fish"]),
        (["nonsense", "x"], []),
    ],
)
def test_candidates(words, expected):
    assert candidates(words) == expected


@pytest.mark.parametrize("shell", SCRIPTS)
def test_scripts_are_of_the_shell(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "lightning-gen completion words" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script.encode(), check=True)


def test_bash_completes_what_follows_an_equals_sign(tmp_path, capsys):
    (tmp_path / "lightning-gen").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lightning_gen "$@"\n')
    (tmp_path / "lightning-gen").chmod(0o755)
    main(["completion", "bash"])
    line = "lightning-gen train seed=1 model=dcg"
    script = capsys.readouterr().out + f'COMP_LINE="{line}" COMP_POINT={len(line)}\n'
    script += '_lightning_gen\necho "${COMPREPLY[@]}"'
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "dcgan\n"


def test_options_as_json(capsys):
    assert main(["list", "logger", "--json"]) == 0
    options = {option["name"]: option for option in json.loads(capsys.readouterr().out)}
    assert options["csv"]["group"] == "logger"
    assert options["csv"]["description"] == "metrics.csv in the run folder."


def test_unknown_shell_is_a_line(capsys):
    assert main(["completion", "bsh"]) == 2
    assert "did you mean bash?" in capsys.readouterr().err
