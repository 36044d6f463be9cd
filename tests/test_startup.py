"""The command answers before anything heavy is imported."""

import gc
import subprocess
import sys
from types import SimpleNamespace

import pytest
from helpers import ROOT

from lightning_gen.cli import commands

HEAVY = {"torch", "lightning", "torchvision", "torchmetrics", "wandb", "numpy", "timm", "PIL", "rich"}


@pytest.mark.parametrize(
    "arguments", [["train", "--help"], ["train", "--cfg", "job"], ["list"], ["list", "model"], ["--version"], []]
)
def test_nothing_heavy_is_imported(arguments, tmp_path):
    code = (
        "import sys; from lightning_gen.cli import main; status = main(sys.argv[1:]); "
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout
    assert not HEAVY & set(done.stderr.decode().split())
    assert not list(tmp_path.iterdir())


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
