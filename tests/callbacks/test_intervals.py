"""When checkpoints and pictures are due by time, and what a run says of the time that it takes."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.runs import run, same_weights

from lightning_gen.callbacks import progress, time_estimate
from lightning_gen.callbacks.interval import Pause
from lightning_gen.callbacks.pictures import Pictures, SampleGrid
from lightning_gen.callbacks.progress import latest_losses
from lightning_gen.callbacks.stopping import Stopping
from lightning_gen.callbacks.time_estimate import TimeEstimate
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (119, "119 s"),
        (150, "2 min"),
        (3_000, "50 min"),
        (22_200, "6 h 10 min"),
        (7_220, "2 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


def test_a_pause_ends_by_the_trainers_clock():
    trainer = SimpleNamespace(seconds=299.0)
    pause, never = Pause(5), Pause(None)
    assert not pause.is_over(trainer)
    trainer.seconds = 300.0
    assert pause.is_over(trainer)
    assert not never.is_over(trainer)
    pause.restart(trainer, at_least=1_000)
    trainer.seconds = 1_299.0
    assert not pause.is_over(trainer)
    trainer.seconds = 1_300.0
    assert pause.is_over(trainer)


def test_pictures_and_checkpoints_by_time_leave_the_run_as_it_is(tmp_path, monkeypatch):
    """By a clock that goes on by a minute at each step."""
    plain = run(tmp_path / "plain", images=40)
    agree, save = Stopping._agree, ImageTrainer.save_checkpoint
    saved_at = []

    def by_steps(self, trainer, model):
        agree(self, trainer, model)
        trainer.seconds = 60.0 * model.batches_seen

    def noted(trainer, path, *rest):
        saved_at.append((Path(path).name, trainer.seconds / 60))
        save(trainer, path, *rest)

    monkeypatch.setattr(Stopping, "_agree", by_steps)
    monkeypatch.setattr(ImageTrainer, "save_checkpoint", noted)
    names = ("last", "sample_grid", "reconstructions")
    by_time = [f"callbacks.{name}.{key}" for name in names for key in ("every_minutes=2", "every_images=1_000_000")]
    timed = run(tmp_path / "timed", *by_time, images=40)
    assert [minutes for name, minutes in saved_at if name == "last.ckpt"] == [2, 4, 5]  # and at the end
    drawn = {path.name for path in (timed / "samples").glob("samples_*")}
    assert drawn == {f"samples_{images:010}.png" for images in (24, 40)}  # a step after the clock was set
    assert same_weights(plain, timed)


def test_the_last_picture_is_drawn_once(tmp_path, monkeypatch):
    drawn = []
    draw = SampleGrid.pictures

    def counted(self, trainer, model):
        drawn.append(model.images_seen)
        return draw(self, trainer, model)

    monkeypatch.setattr(SampleGrid, "pictures", counted)
    run(tmp_path / "run", "callbacks.sample_grid.every_images=16", images=32)
    assert drawn == [16, 32]


# What it says


def test_losses_come_with_bits_or_decibels():
    model = SimpleNamespace(latest={}, image_shape=(1, 8, 8))
    assert latest_losses(model) == ""
    model.latest = {"train/loss": 64.0, "train/negative_elbo": 44.3614, "val/loss": 3.0, "val/mse": 0.04}
    assert latest_losses(model) == "train/loss 64 (1 bits/dim)  val/loss 3 (PSNR 20 dB)"
    model.latest = {"train/loss": 2.0, "train/bits_per_dim": 0.5, "train/generator": 1.0}
    assert latest_losses(model) == "train/loss 2 (0.5 bits/dim)  train/generator 1"


class Clock:
    """What the modules take for the time."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        for module in (progress, time_estimate):
            monkeypatch.setattr(module.time, "monotonic", lambda: self.now)


def estimate(monkeypatch, steps: int, seconds: int = 1, **trainer) -> list[str]:
    """What is told after `steps` steps of ten images and so many seconds each, twice as many in the first four."""
    told: list[str] = []
    monkeypatch.setattr(time_estimate.log, "info", lambda text, *values: told.append(text % values))
    clock = Clock(monkeypatch)
    model = SimpleNamespace(
        images_seen=0,
        image_shape=(3, 64, 64),
        device=SimpleNamespace(type="cpu"),
        provenance={"config": {"data": {"size": 64}, "model": {"size": "base"}}},
    )
    data = SimpleNamespace(batch_size=10, split_sizes={"val": 60})
    pictures = Pictures("x", every_images=5_000, n=1, every_minutes=5)
    defaults = {"max_images": 1_000, "val_check_batch": 10, "num_val_batches": [6], "enable_validation": True}
    chosen = {"callbacks": [pictures], "datamodule": data, "steps_per_call": 1} | defaults | trainer
    timed = TimeEstimate(SimpleNamespace(**chosen), model)
    for step in range(steps):
        clock.now += seconds * (2 if step < 4 else 1)
        model.images_seen += 10
        if not timed.done:
            timed.after_step()
    return told


def test_an_estimate_from_a_few_steps(monkeypatch):
    assert estimate(monkeypatch, steps=6) == []
    # 11 s have passed; 930 images are left, at 10 a second, with 9 validations of 60 at a third of the time: 111 s
    told = "time: about 2 min on this machine (10 images/s); first picture after 2 min"
    assert estimate(monkeypatch, steps=20) == [told]


def test_slow_steps_are_few(monkeypatch):
    assert estimate(monkeypatch, steps=1, seconds=30) == []
    told = "time: about 100 min on this machine (0.17 images/s); first picture after 6 min"
    assert estimate(monkeypatch, steps=2, seconds=30, enable_validation=False)[0] == told


def test_a_long_run_is_told_how_to_be_shorter(monkeypatch):
    first, second = estimate(monkeypatch, steps=9, max_images=1_000_000, enable_validation=False)
    assert first == "time: about 27 h 47 min on this machine (10 images/s); first picture after 5 min"
    assert second == "shorter: trainer.max_images=20_070 (33 min), data.size=32, model.size=small"


def test_a_run_without_an_end_has_no_estimate(monkeypatch):
    told = "speed: 10 images/s on this machine; first picture after 5 min"
    assert estimate(monkeypatch, steps=9, max_images=None) == [told]
