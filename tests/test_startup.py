"""The command answers before anything heavy is imported."""

import resource
import subprocess
import sys

import pytest
from helpers import ROOT

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


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_answers_at_once(arguments, tmp_path):
    seconds = []
    while len(seconds) < 12 and min(seconds, default=1) > 0.9:  # processor time, at its best: other tests are running
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, ROOT / "train.py", *arguments], cwd=tmp_path, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.9
    assert not list(tmp_path.iterdir())
