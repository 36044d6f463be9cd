"""Runs from start to end: what they keep, and what they refuse in one line before anything is lost."""

import json
import math
import os

import pytest
import torch
from helpers.commands import refused
from helpers.runs import TINY_RUN, rows, run, same_weights, saved

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


def test_seed_decides_everything(tmp_path, tiny_run):
    one, again, other = tiny_run("one"), run(tmp_path / "again"), run(tmp_path / "other", "seed=1")
    assert same_weights(one, again)
    assert not same_weights(one, other)


def test_lightning_counts_one_step_a_batch(tiny_run):
    content = saved(tiny_run())
    assert content["global_step"] == 8
    assert content["lightning_gen"]["images_seen"] == 64
    assert content["lightning_gen"]["batches_seen"] == 8


def test_averaged_weights_follow_the_trained_ones(tiny_run):
    weights = saved(tiny_run())["state_dict"]
    name = "decoder.out.weight"
    average, trained = weights[f"averages.{name.replace('.', '.module.', 1)}"], weights[name]
    torch.manual_seed(0)
    untrained = saved(tiny_run("untrained", images=8))["state_dict"][name]
    assert not torch.equal(average, trained)
    assert (average - trained).abs().mean() < (untrained - trained).abs().mean() * 2
    assert not torch.equal(average, untrained)


def test_last_is_last_when_the_monitor_worsens(tmp_path):
    # A loss that falls, monitored as if it should rise: the first validation stays the best.
    folder = run(tmp_path / "run", "callbacks.best.mode=max", "model.optimizer.lr=1e-2", images=128)
    assert saved(folder, "best")["lightning_gen"]["images_seen"] == 32
    assert saved(folder, "last")["lightning_gen"]["images_seen"] == 128


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


# Refusals: one line, exit status 2, nothing lost


def test_a_folder_that_holds_a_run_is_not_overwritten(tiny_run, capsys):
    folder = tiny_run(images=8)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "holds a run already; add resume=true" in refused(capsys, *TINY_RUN, f"run_dir={folder}")
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_in_use(tmp_path, capsys):
    from lightning_gen.training.run_folder import RunFolder

    other = RunFolder(tmp_path / "run")
    other.claim()
    assert "another process is using it" in refused(capsys, *TINY_RUN, f"run_dir={tmp_path / 'run'}")
    other.release()
    run(tmp_path / "run", images=8)


def test_files_that_were_there_stay(tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.txt").write_text("mine")
    refused(capsys, *TINY_RUN, f"run_dir={tmp_path / 'run'}", "data.batch_size=65")
    assert [(path.name, path.read_text()) for path in (tmp_path / "run").iterdir()] == [("log.txt", "mine")]


def test_refused_before_training_leaves_no_folder(tmp_path, capsys):
    folder = tmp_path / "run"
    assert "data.batch_size=65" in refused(capsys, *TINY_RUN, f"run_dir={folder}", "data.batch_size=65")
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
        (["metrics=[frechet]", "evaluation.split=tets"], "evaluation.split=tets: no such split; did you mean test"),
        (
            ["metrics=[kid]", "objective=kid"],
            "gives this score; there are kid/efficientnet_lite0",
        ),
        (["objective=kid"], "objective=kid: no metric of this run gives this score; there are none"),
        (["objective=iwae"], "what a VAE minimizes is model/objective=iwae"),
        (["data.num_classes=null", "model.conditional=true"], "the data has no labels"),
    ],
)
def test_bad_input(arguments, expected, tmp_path, capsys):
    if torch.cuda.is_available() and "gpu" in expected:
        pytest.skip("there is a GPU")
    error = refused(capsys, *TINY_RUN, f"run_dir={tmp_path / 'run'}", *arguments)
    assert any(part in error for part in expected.split("|")), error
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert "Permission denied" in refused(capsys, *TINY_RUN, f"run_dir={tmp_path / 'run'}")


def test_weights_of_another_size(tmp_path, capsys, tiny_run):
    first = tiny_run("first", images=8)
    error = refused(capsys, *TINY_RUN, f"run_dir={tmp_path / 'b'}", f"init_from={first}", "model.latent_dim=3")
    assert "tensors don't fit this model" in error
    assert "in the checkpoint" in error


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(tiny_run, capsys):
    folder = tiny_run(images=32)
    error = refused(capsys, f"run_dir={folder}", "resume=true", "trainer.max_images=640", "model.beta=1e38")
    assert "training diverged" in error
    assert "model.gradient_clip" in error
    content = saved(folder)
    assert all(tensor.isfinite().all() for tensor in content["state_dict"].values() if tensor.is_floating_point())
