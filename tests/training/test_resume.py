"""Resumed runs end bit for bit as runs that never stopped; hot starts and fine-tuning."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from helpers.commands import refused
from helpers.runs import resume, rows, run, same_weights, saved, train_with


def test_continuing_is_exact_at_any_checkpoint(tiny_run):
    straight = tiny_run("straight", images=128)
    stopped = tiny_run("stopped", images=40)
    assert same_weights(straight, resume(stopped, "trainer.max_images=128"))
    shown, kept = (
        {(r["images"], r["val/loss"]) for r in rows(folder) if r["val/loss"]} for folder in (straight, stopped)
    )
    assert shown <= kept  # and one more, at the end of the first part


def test_continuing_keeps_the_run_s_own_config(tmp_path):
    folder = run(tmp_path / "run", "model.latent_dim=5", images=32)
    resume(folder, "trainer.max_images=64")
    config = saved(folder)["lightning_gen"]["config"]
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
    assert saved(folder)["lightning_gen"]["images_seen"] == 128
    assert saved(folder, "best")["lightning_gen"]["images_seen"] == 32
    assert not (tmp_path / "here").exists()


def test_a_folder_named_as_another_value_can_be_moved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(Path("cpu"), images=32).rename("there")
    config = saved(resume(Path("there"), "trainer.max_images=64"))["lightning_gen"]["config"]
    assert config["trainer"]["accelerator"] == "cpu"
    assert config["logger"]["csv"]["folder"] == "there"


def test_optimizer_settings_can_be_changed_on_resuming(tiny_run):
    folder = tiny_run(images=32)
    before = saved(folder)["state_dict"]["decoder.out.weight"]
    resume(folder, "trainer.max_images=64", "model.optimizer.lr=0")
    assert torch.equal(before, saved(folder)["state_dict"]["decoder.out.weight"])


def test_a_resume_that_fails_leaves_the_run_as_it_was(tiny_run, capsys):
    folder = tiny_run(images=32)
    before = (folder / "config.yaml").read_bytes()
    error = refused(capsys, f"run_dir={folder}", "resume=true", "model.latent_dim=5", "trainer.max_images=64")
    assert "tensors don't fit this model" in error
    assert (folder / "config.yaml").read_bytes() == before
    resume(folder, "trainer.max_images=64")


def test_without_the_last_checkpoint_the_best_is_resumed(tiny_run):
    straight, folder = tiny_run("straight", images=96), tiny_run(images=64)
    (folder / "checkpoints" / "last.ckpt").unlink()
    assert same_weights(straight, resume(folder, "trainer.max_images=96"))


def test_warm_start_takes_the_whole_state_to_a_new_folder(tmp_path, tiny_run):
    straight = tiny_run("straight", images=64)
    first = tiny_run("first", images=32)
    before = (first / "checkpoints" / "last.ckpt").read_bytes()
    second = train_with(tmp_path / "second", f"resume={first}/checkpoints/last.ckpt", "trainer.max_images=64")
    assert same_weights(straight, second)
    assert (first / "checkpoints" / "last.ckpt").read_bytes() == before
    assert len(list((second / "samples").iterdir())) > 0


def test_finetuning_takes_weights_alone(tmp_path):
    first = run(tmp_path / "first", "model.latent_dim=5", images=32)
    second = run(tmp_path / "second", f"init_from={first}", "model.optimizer.lr=0", "seed=3", images=8)
    content = saved(second)
    assert content["lightning_gen"]["images_seen"] == 8
    assert content["lightning_gen"]["config"]["model"]["latent_dim"] == 5
    best = saved(first, "best")["state_dict"]
    assert torch.equal(content["state_dict"]["decoder.out.weight"], best["decoder.out.weight"])


def run_until(folder: Path, images: int, *overrides: str) -> None:
    """Train until a signal at this number of images."""
    from lightning_gen.callbacks.stopping import Stopping

    original, sent = Stopping.on_train_batch_end, []

    def signalled(self, trainer, model, *args):
        if model.images_seen == images and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))
        original(self, trainer, model, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stopping, "on_train_batch_end", signalled)
        with pytest.raises(SystemExit):
            run(folder, *overrides)


def test_logged_means_continue_within_their_interval(tmp_path):
    overrides = ["callbacks.log_terms.every_steps=3", "trainer.steps_per_call=1"]
    run(tmp_path / "straight", *overrides)
    run_until(tmp_path / "stopped", 40, *overrides)  # after two of three steps
    resume(tmp_path / "stopped")
    timed = {"images_per_second", "memory_gib"}
    straight, stopped = (
        [{name: value for name, value in row.items() if name not in timed} for row in rows(tmp_path / name)]
        for name in ("straight", "stopped")
    )
    assert [row["images"] for row in straight if row["train/loss"]] == ["24", "48", "64"]
    assert straight == stopped


def test_a_signal_on_a_validation_step_waits_for_the_validation(tmp_path, tiny_run):
    run_until(tmp_path / "run", 32)
    assert [row["images"] for row in rows(tmp_path / "run") if row["val/loss"]] == ["32"]
    assert saved(tmp_path / "run")["lightning_gen"]["images_seen"] == 32
    assert same_weights(tiny_run("straight"), resume(tmp_path / "run"))


def test_a_signal_in_the_last_step_comes_before_the_evaluation(tmp_path, tiny_run):
    from lightning_gen.callbacks.stopping import Stopping

    original = Stopping.on_train_batch_end

    def signalled(self, trainer, model, *args):
        original(self, trainer, model, *args)
        if model.images_seen == 64:
            os.kill(os.getpid(), signal.SIGTERM)

    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stopping, "on_train_batch_end", signalled)
        with pytest.raises(SystemExit, match="143"):
            run(folder, "metrics=[reconstruction]")
    assert not (folder / "evaluation.json").exists()
    assert saved(folder)["lightning_gen"]["images_seen"] == 64
    assert same_weights(tiny_run("straight"), folder)
    resume(folder)
    assert json.loads((folder / "evaluation.json").read_text())[-1]["scores"]
