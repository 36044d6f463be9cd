"""Runs from start to end: what is kept, resumed, refused and stopped."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lightning_gen.cli import main
from lightning_gen.config.composition import compose
from lightning_gen.training.run import train

ROOT = Path(__file__).parent.parent
TINY = [
    *("data=fake", "data.image_shape=[1,12,12]", "data.num_images=64", "data.batch_size=8", "debug=smoke"),
    *("model.encoder.width=8", "model.decoder.width=8", "model.encoder.hidden=16", "model.decoder.hidden=16"),
    *("trainer.validate_every_images=32", "callbacks.last.every_images=32", "metrics=[]"),
    *("callbacks.sample_grid.n=4", "callbacks.reconstructions.n=4", "callbacks.log_terms.every_steps=2"),
]


def run(folder: Path, *overrides: str, images: int = 64) -> Path:
    """Train a tiny VAE in this process."""
    arguments = [*TINY, f"run_dir={folder}", f"trainer.max_images={images}", *overrides]
    train(compose(arguments), arguments)
    return folder


def resume(folder: Path, *overrides: str) -> Path:
    arguments = [f"run_dir={folder}", "resume=true", *overrides]
    train(compose(arguments), arguments)
    return folder


def state(folder: Path, name: str = "last") -> dict:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def same_weights(one: Path, other: Path) -> bool:
    first, second = state(one)["state_dict"], state(other)["state_dict"]
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lightning_gen", "train", *arguments]


# What a run leaves behind


def test_run_folder(tmp_path):
    folder = run(tmp_path / "run", "metrics=[reconstruction]")
    assert {"config.yaml", "metrics.csv", "evaluation.json", "log.txt", "samples", "checkpoints"} <= {
        path.name for path in folder.iterdir()
    }
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert len(list((folder / "samples").glob("samples_*.png"))) == 1
    assert json.loads((folder / "evaluation.json").read_text())[-1]["protocol"]["n_real"] == 16
    images = [int(row["images"]) for row in rows(folder) if row["train/loss"]]
    assert images == [16, 32, 48, 64]  # every 2 steps of 8 images: the x axis is images
    assert all(math.isfinite(float(row["val/loss"])) for row in rows(folder) if row["val/loss"])
    assert any(row["test/reconstruction_mse"] for row in rows(folder))


def test_seed_decides_everything(tmp_path):
    one, again, other = run(tmp_path / "one"), run(tmp_path / "again"), run(tmp_path / "other", "seed=1")
    assert same_weights(one, again)
    assert not same_weights(one, other)


def test_lightning_counts_one_step_a_batch(tmp_path):
    content = state(run(tmp_path / "run"))
    assert content["global_step"] == 8
    assert content["lightning_gen"]["images_seen"] == 64
    assert content["lightning_gen"]["batches_seen"] == 8


def test_averaged_weights_follow_the_trained_ones(tmp_path):
    weights = state(run(tmp_path / "run"))["state_dict"]
    name = "decoder.out.weight"
    average, trained = weights[f"averages.{name.replace('.', '.module.', 1)}"], weights[name]
    torch.manual_seed(0)
    untrained = state(run(tmp_path / "untrained", images=8))["state_dict"][name]
    assert not torch.equal(average, trained)
    assert (average - trained).abs().mean() < (untrained - trained).abs().mean() * 2
    assert not torch.equal(average, untrained)


def test_last_is_last_when_the_monitor_worsens(tmp_path):
    # A loss that falls, monitored as if it should rise: the first validation stays the best.
    folder = run(tmp_path / "run", "callbacks.best.mode=max", "model.optimizer.lr=1e-2", images=128)
    assert state(folder, "best")["lightning_gen"]["images_seen"] == 32
    assert state(folder, "last")["lightning_gen"]["images_seen"] == 128


def test_no_sync_between_logs(tmp_path, monkeypatch):
    """A training step reads nothing back from the device; only a flush does."""
    from lightning_gen.image_generator import ImageGenerator

    reads: list[str] = []
    within = False
    for name in ("item", "tolist", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        original = getattr(torch.Tensor, name)

        def counted(self, *args, _original=original, _name=name, **kwargs):
            if within:
                reads.append(_name)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    step = ImageGenerator.training_step

    def watched(self, *args):
        nonlocal within
        within = True
        step(self, *args)
        within = False

    monkeypatch.setattr(ImageGenerator, "training_step", watched)
    run(tmp_path / "run", "model.gradient_clip=1.0", "optimizer@model.optimizer=sgd", "schedule@model.schedule=linear")
    assert reads == []


# Resuming


def test_continuing_is_exact_at_any_checkpoint(tmp_path):
    straight = run(tmp_path / "straight", images=128)
    stopped = run(tmp_path / "stopped", images=40)
    assert same_weights(straight, resume(stopped, "trainer.max_images=128"))
    shown, kept = (
        {(r["images"], r["val/loss"]) for r in rows(folder) if r["val/loss"]} for folder in (straight, stopped)
    )
    assert shown <= kept  # and one more, at the end of the first part


def test_continuing_keeps_the_run_s_own_config(tmp_path):
    folder = run(tmp_path / "run", "model.latent_dim=5", images=32)
    resume(folder, "trainer.max_images=64")
    config = state(folder)["lightning_gen"]["config"]
    assert config["model"]["latent_dim"] == 5
    assert config["data"]["batch_size"] == 8
    assert config["trainer"]["max_images"] == 64


def test_continuing_an_ended_run_only_scores(tmp_path, capsys):
    folder = run(tmp_path / "run", "metrics=[reconstruction]")
    before = (folder / "checkpoints" / "last.ckpt").read_bytes()
    resume(folder)
    assert "nothing to train: 64 of 64 images seen" in capsys.readouterr().out
    assert (folder / "checkpoints" / "last.ckpt").read_bytes() == before
    shown = [row["images"] for row in rows(folder) if row["train/loss"] or row["val/loss"]]
    assert shown == ["16", "32", "32", "48", "64", "64"]  # scoring again loses nothing
    first, second = json.loads((folder / "evaluation.json").read_text())
    assert first["scores"] == pytest.approx(second["scores"])


def test_a_run_folder_can_be_moved(tmp_path):
    # The first validation is the best one, and stays so.
    run(tmp_path / "here", "callbacks.best.mode=max", "model.optimizer.lr=1e-2", images=64).rename(tmp_path / "there")
    folder = resume(tmp_path / "there", "trainer.max_images=128")
    assert state(folder)["lightning_gen"]["images_seen"] == 128
    assert state(folder, "best")["lightning_gen"]["images_seen"] == 32
    assert not (tmp_path / "here").exists()


def test_optimizer_settings_can_be_changed_on_resuming(tmp_path):
    folder = run(tmp_path / "run", images=32)
    before = state(folder)["state_dict"]["decoder.out.weight"]
    resume(folder, "trainer.max_images=64", "model.optimizer.lr=0")
    assert torch.equal(before, state(folder)["state_dict"]["decoder.out.weight"])


def test_a_resume_that_fails_leaves_the_run_as_it_was(tmp_path, capsys):
    folder = run(tmp_path / "run", images=32)
    before = (folder / "config.yaml").read_bytes()
    error = refused(capsys, f"run_dir={folder}", "resume=true", "model.latent_dim=5", "trainer.max_images=64")
    assert "tensors don't fit this model" in error
    assert (folder / "config.yaml").read_bytes() == before
    resume(folder, "trainer.max_images=64")


def test_without_the_last_checkpoint_the_best_is_resumed(tmp_path):
    straight, folder = run(tmp_path / "straight", images=96), run(tmp_path / "run", images=64)
    (folder / "checkpoints" / "last.ckpt").unlink()
    assert same_weights(straight, resume(folder, "trainer.max_images=96"))


def test_a_signal_on_a_validation_step_waits_for_the_validation(tmp_path):
    from lightning_gen.callbacks.stopping import Stopping

    original, sent = Stopping.on_train_batch_end, []

    def signalled(self, trainer, model, *args):
        if model.images_seen == 32 and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))
        original(self, trainer, model, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stopping, "on_train_batch_end", signalled)
        with pytest.raises(SystemExit):
            run(tmp_path / "run")
    assert [row["images"] for row in rows(tmp_path / "run") if row["val/loss"]] == ["32"]
    assert state(tmp_path / "run")["lightning_gen"]["images_seen"] == 32
    assert same_weights(run(tmp_path / "straight"), resume(tmp_path / "run"))


def test_hotstart_takes_the_whole_state_to_a_new_folder(tmp_path):
    straight = run(tmp_path / "straight", images=64)
    first = run(tmp_path / "first", images=32)
    before = (first / "checkpoints" / "last.ckpt").read_bytes()
    arguments = [f"resume={first}/checkpoints/last.ckpt", f"run_dir={tmp_path}/second", "trainer.max_images=64"]
    train(compose(arguments), arguments)
    assert same_weights(straight, tmp_path / "second")
    assert (first / "checkpoints" / "last.ckpt").read_bytes() == before
    assert len(list((tmp_path / "second" / "samples").iterdir())) > 0


def test_finetuning_takes_weights_alone(tmp_path):
    first = run(tmp_path / "first", "model.latent_dim=5", images=32)
    second = run(tmp_path / "second", f"init_from={first}", "model.optimizer.lr=0", "seed=3", images=8)
    content = state(second)
    assert content["lightning_gen"]["images_seen"] == 8
    assert content["lightning_gen"]["config"]["model"]["latent_dim"] == 5
    best = state(first, "best")["state_dict"]
    assert torch.equal(content["state_dict"]["decoder.out.weight"], best["decoder.out.weight"])


def test_killed_runs_end_as_undisturbed_ones():
    script = [sys.executable, str(ROOT / "scripts" / "kill_test.py"), "2", *TINY, "trainer.max_images=512"]
    result = subprocess.run(script, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert len(report["killed_at"]) == 2
    assert report["bit_identical"] == report["runs"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_saves_and_says_how_to_go_on(number, tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(
            *TINY, f"run_dir={folder}", "trainer.max_images=100_000_000", "callbacks.last.every_images=100_000_000"
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(rows(folder) if (folder / "metrics.csv").exists() else []) < 3:
        time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 128 + number, err
    assert f"stopped by {number.name} at" in out
    assert f"go on: lightning-gen train run_dir={folder} resume=true" in out
    assert "Traceback" not in err
    seen = state(folder)["lightning_gen"]["images_seen"]
    resume(folder, f"trainer.max_images={seen + 64}")
    assert same_weights(folder, run(tmp_path / "straight", images=seen + 64))


# Several processes


@pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback")
def test_two_processes_train_as_one(tmp_path):
    """Twice the processes, the same run: ranks end alike, and score as one process with the whole batch does."""
    scores = {}
    options = ["metrics=[reconstruction,likelihood]", "metrics.likelihood.samples=2", "model/likelihood=mse"]
    for name, devices in (("one", ["trainer.devices=1"]), ("two", ["trainer.devices=2", "trainer.strategy=ddp"])):
        agree = ["+callbacks.agree._target_=rank_agreement.RanksAgree"]
        arguments = command(*TINY, *options, *devices, *agree, f"run_dir={tmp_path / name}", "trainer.max_images=256")
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "OMP_NUM_THREADS": "1"}
        result = subprocess.run(arguments, capture_output=True, text=True, timeout=300, env=environment)
        assert result.returncode == 0, result.stderr[-2000:]
        assert result.stdout.count("256 of 256 images") == 1
        scores[name] = json.loads((tmp_path / name / "evaluation.json").read_text())[-1]["scores"]
    assert scores["two"] == pytest.approx(scores["one"], rel=0.02)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


# Refusals: one line, exit status 2, nothing lost


def refused(capsys, *arguments: str) -> str:
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    return error


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path, capsys):
    folder = run(tmp_path / "run", images=8)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "holds a run already; add resume=true" in refused(capsys, *TINY, f"run_dir={folder}")
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_in_use(tmp_path, capsys):
    from lightning_gen.training.run_folder import RunFolder

    other = RunFolder(tmp_path / "run")
    other.claim()
    assert "another process is using it" in refused(capsys, *TINY, f"run_dir={tmp_path / 'run'}")
    other.release()
    run(tmp_path / "run", images=8)


def test_files_that_were_there_stay(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.txt").write_text("mine")
    refused(capsys, *TINY, f"run_dir={tmp_path / 'run'}", "data.batch_size=65")
    assert [(path.name, path.read_text()) for path in (tmp_path / "run").iterdir()] == [("log.txt", "mine")]


def test_a_forked_child_does_not_keep_the_folder(tmp_path):
    script = (
        "import os, signal, sys, time\n"
        "from lightning_gen.training.run_folder import RunFolder; RunFolder(sys.argv[1]).claim()\n"
        "if os.fork() == 0: time.sleep(60)\n"
        "print('claimed', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "run")], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout.readline() == b"claimed\n"
        process.kill()
        process.wait()
        run(tmp_path / "run", images=8)
    finally:
        os.killpg(process.pid, signal.SIGKILL)


def test_refused_before_training_leaves_no_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    assert "data.batch_size=65" in refused(capsys, *TINY, f"run_dir={folder}", "data.batch_size=65")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trainer.accelerator=gpu"], "trainer.accelerator=gpu: no such device here; use trainer=cpu"),
        (["resume=true"], "nothing|no run to resume there"),
        (["resume=nowhere.ckpt"], "resume=nowhere.ckpt: no such file"),
        (["init_from=nowhere.ckpt"], "init_from=nowhere.ckpt: no such file"),
        (["init_from=a.ckpt", "resume=b.ckpt"], "use one of them"),
        (["+trainer.gradient_clip_val=1"], "use model.gradient_clip"),
        (["trainer.precision=bf16-true"], "use 32-true, bf16-mixed or 16-mixed"),
        (["+trainer.accumulate_grad_batches=2"], "use model.accumulate"),
        (["model.compile=[encodr]"], "no such part"),
        (["model.optimizer.lr=-1"], "model.optimizer: Invalid learning rate: -1"),
        (["+data.num_classes=null", "model.conditional=true"], "the data has no labels"),
    ],
)
def test_bad_input(arguments, expected, tmp_path, capsys):
    if torch.cuda.is_available() and "gpu" in expected:
        pytest.skip("there is a GPU")
    if arguments[0] == "+data.num_classes=null":
        arguments = ["data.num_classes=null", *arguments[1:]]
    error = refused(capsys, *TINY, f"run_dir={tmp_path / 'run'}", *arguments)
    assert any(part in error for part in expected.split("|")), error
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert "Permission denied" in refused(capsys, *TINY, f"run_dir={tmp_path / 'run'}")


def test_weights_of_another_size(tmp_path, capsys):
    first = run(tmp_path / "first", images=8)
    error = refused(capsys, *TINY, f"run_dir={tmp_path / 'b'}", f"init_from={first}", "model.latent_dim=3")
    assert "tensors don't fit this model" in error
    assert "in the checkpoint" in error


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, capsys):
    folder = run(tmp_path / "run", images=32)
    error = refused(capsys, f"run_dir={folder}", "resume=true", "trainer.max_images=640", "model.beta=1e38")
    assert "training diverged" in error
    assert "model.gradient_clip" in error
    content = state(folder)
    assert all(tensor.isfinite().all() for tensor in content["state_dict"].values() if tensor.is_floating_point())


def test_full_disk(tmp_path):
    """A limit on file size stands in for it: the run ends in one line, and what was saved before is kept."""
    folder = run(tmp_path / "run", images=32)
    before = (folder / "checkpoints" / "last.ckpt").read_bytes()
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); "
        "from lightning_gen.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", limited, "train", f"run_dir={folder}", "resume=true", "trainer.max_images=96"]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2, result.stderr[-2000:]
    assert "make room, then go on with resume=true" in result.stderr
    assert "Traceback" not in result.stderr
    assert (folder / "checkpoints" / "last.ckpt").read_bytes() == before
    assert not list(folder.rglob("*.tmp"))
