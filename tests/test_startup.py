"""The command answers before anything heavy is imported."""

import gc
import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers import ROOT

from lightning_gen.cli import commands

HEAVY = {"torch", "lightning", "torchvision", "torchmetrics", "wandb", "numpy", "timm", "PIL", "rich"}


def run(arguments, folder):
    """A command in a process of its own: its end, and the heavy packages that it imported."""
    code = (
        "import sys; from lightning_gen.cli import main; status = main(sys.argv[1:]); "
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert not list(folder.iterdir())
    return done, HEAVY & set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments", [["train", "--help"], ["train", "--cfg", "job"], ["list"], ["list", "model"], ["--version"], []]
)
def test_nothing_heavy_is_imported(arguments, tmp_path):
    done, heavy = run(arguments, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not heavy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "modle=vae"], "modle=vae: no such key; did you mean model?"),
        (["train", "model=vea"], "model=vea: no such option; did you mean model=vae?"),
        (["train", "model.latnt_dim=3"], "model.latnt_dim=3: no such key; did you mean model.latent_dim?"),
        (["train", "latnt_dim=3"], "latnt_dim=3: no such key; did you mean model.latent_dim?"),
        (["train", "trainer.max_image=3"], "trainer.max_image=3: no such key; did you mean trainer.max_images?"),
        (["train", "resume=nowhere"], "resume=nowhere: no such file; lightning-gen runs lists your runs"),
        (["sample", "checkpoint=nowhere"], "checkpoint=nowhere: no such file; lightning-gen runs lists your runs"),
        (["evaluate", "checkpoint=."], "checkpoint=.: a folder without checkpoints/best.ckpt, "),
    ],
)
def test_mistakes_are_told_before_anything_heavy_is_imported(arguments, message, tmp_path):
    done, heavy = run(arguments, tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert not heavy


def test_parameters_of_optimizers_are_still_found(tmp_path):
    done, _ = run(["train", "nesterov=true", "optimizer=sgd", "--cfg", "job"], tmp_path)
    assert "nesterov: true" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train", "model=dcgan"], "lightning-gen: dcgan on mnist5k, cpu, outputs/dcgan/mnist5k/"),
        (["train", "run_dir=x", "resume=true"], "lightning-gen train: run_dir=x resume=true"),
        (["sample", "checkpoint=x", "n=2"], "lightning-gen sample: checkpoint=x n=2"),
        (["doctor"], "lightning-gen doctor: "),
    ],
)
def test_says_what_it_does_before_anything_heavy_is_imported(arguments, line, tmp_path):
    (tmp_path / "x").touch()
    code = (
        "import builtins, os, sys\nfrom lightning_gen.cli import main\n"
        "def show(line, **_):\n"
        "    os.write(1, f'{line}\\n{sorted(sys.modules)}'.encode())\n"
        "    os._exit(0)\n"
        "builtins.print = show\nmain(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    first, modules = done.stdout.splitlines()
    assert first.startswith(line)
    assert not [name for name in HEAVY if f"'{name}'" in modules]


def test_no_garbage_is_collected_while_a_command_is_imported(monkeypatch):
    monkeypatch.setattr(commands, "import_module", lambda name: SimpleNamespace(run=gc.isenabled()))
    assert not commands.load_run("sample")
    assert gc.isenabled()
