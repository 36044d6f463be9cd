"""What a run says of itself: where it goes on, its layers, a warm-up that was too long, all of it in log.txt too."""

import json
import warnings

import pytest
from helpers.runs import resume, run
from omegaconf import OmegaConf

from lightning_gen.errors import UserError
from lightning_gen.runs.record import Run
from lightning_gen.training import run as training
from lightning_gen.training.run_log import log, run_log
from lightning_gen.training.warm_up import shorten_warm_ups
from lightning_gen.utilities.signals import Stopped


def test_the_log_holds_what_was_printed(tmp_path, capsys):
    folder = run(tmp_path / "run", "summary=true", "metrics=[reconstruction]", images=32)
    printed = capsys.readouterr().out
    assert (folder / "log.txt").read_text() == printed
    assert "reconstruction_mse" in printed
    assert ["encoder", "ConvEncoder", "2x64"] in [line.split()[:3] for line in printed.splitlines()]
    lines = printed.splitlines()
    assert not any(line.endswith(("; ", ";")) for line in lines)
    assert any("bits/dim" in line for line in lines if line.startswith("32 of 32 images"))
    resume(folder, "trainer.max_images=64", "metrics=[]")
    assert f"continues {folder} at 32 of 64 images, last.ckpt of " in capsys.readouterr().out


def test_warnings_and_errors_are_in_the_log_too(tmp_path, capsys):
    def fail() -> None:
        log.info("on both")
        warnings.warn("careful", stacklevel=1)
        raise UserError("key=value: wrong")

    with pytest.warns(UserWarning, match="careful"), pytest.raises(UserError), run_log(tmp_path):
        fail()
    text = (tmp_path / "log.txt").read_text()
    assert capsys.readouterr().out == "on both\n"
    assert "careful" in text
    assert text.endswith("error: key=value: wrong\n")


def test_an_interrupted_scoring_keeps_the_training(tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise Stopped(2)

    monkeypatch.setattr(training, "evaluate", stop)
    with pytest.raises(Stopped):
        run(tmp_path / "run", "metrics=[reconstruction]", images=8)
    line = next(line for line in capsys.readouterr().out.splitlines() if "the training is kept" in line)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert f"lightning-gen evaluate checkpoint={path};" in line
    assert path.is_file()
    monkeypatch.undo()
    assert Run(tmp_path / "run", "run").state == "stopped"
    resume(tmp_path / "run")  # as the line says
    assert [each["outcome"] for each in Run(tmp_path / "run", "run").starts] == ["stopped", "finished"]
    assert len(json.loads((tmp_path / "run" / "evaluation.json").read_text())) == 1


@pytest.mark.parametrize(
    ("overrides", "total", "kept"),
    [
        ([], {"max_images": 60_000}, 10_000),
        ([], {"max_images": 5_000}, 1_000),
        ([], {"max_images": 256_000, "max_epochs": 2}, 1_600),
        ([], {"max_images": None}, 10_000),
        ([], {"max_images": 256}, 10_000),  # nothing is learned in so few
        (["model.schedule.warmup_images=10_000"], {"max_images": 5_000}, 10_000),
        (["+model.schedule={warmup_images: 10000}"], {"max_images": 5_000}, 10_000),
        (["schedule@model.schedule=linear", "model.schedule.final=0.1"], {"max_images": 5_000}, 1_000),
    ],
)
def test_a_warm_up_takes_a_fifth_of_a_run_at_most(overrides, total, kept):
    model = {"schedule": {"warmup_images": 10_000}, "penalty": {"r1": {"schedule": {"warmup_images": 0}}}}
    config = OmegaConf.create({"model": model, "trainer": total})
    lines = shorten_warm_ups(config, overrides, images_per_epoch=4_000)
    assert config.model.schedule.warmup_images == kept
    assert config.model.penalty.r1.schedule.warmup_images == 0
    assert [line.partition(" ")[0] for line in lines] == ["model.schedule.warmup_images"] * (kept < 10_000)
