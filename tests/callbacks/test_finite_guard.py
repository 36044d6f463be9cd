"""The guard stops runs that diverged, keeps the last good checkpoint, and leaves healthy runs alone."""

import math
from types import SimpleNamespace

import pytest
import torch
from helpers.commands import refused
from helpers.runs import TINY_RUN, saved

from lightning_gen.callbacks.finite_guard import FiniteGuard
from lightning_gen.errors import UserError
from lightning_gen.utilities.running_means import RunningMeans


def guarded(first: dict[str, float], *logged: dict[str, float], end: bool = False) -> FiniteGuard:
    """A guard that has seen the terms of a first step, then logged values."""
    terms = RunningMeans()
    if first:
        terms.add({name: torch.tensor(value) for name, value in first.items()})
    guard, model = FiniteGuard(), SimpleNamespace(terms=terms, latest={}, images_seen=64)
    guard.on_train_batch_end(None, model, None, None, 0)
    for values in logged:
        model.latest = {**model.latest, **values}
        (guard.on_validation_end if "val/loss" in values else guard._check)(*([None] * ("val/loss" in values)), model)
    if end:
        guard.on_train_end(None, model)
    return guard


@pytest.mark.parametrize(
    ("first", "values"),
    [
        (1e-8, [1.0, 1e5, 1e8]),  # critics without bounds drift; a penalty that begins at nothing
        (0.0, [2e7, 1.7e7]),  # the log-determinant of a million dimensions begins at 0
        (-3e5, [-2.9e11, -1e11]),  # a likelihood of the other sign
        (1e12, [1e13, 1e4, 10.0]),  # a VAE that starts badly
        (500.0, [1e14, 480.0, 1e13, 470.0]),  # steps that explode, and recover
    ],
)
def test_healthy_losses(first, values):
    guard = guarded({"loss": first}, *({"train/loss": value} for value in values), end=True)
    assert guard.suspects == {}


@pytest.mark.parametrize(
    ("first", "values", "shown"),
    [
        (500.0, [3e22, 4e22], "4e[+]22"),
        (-0.1, [-2e9, -3e9], "-3e[+]09"),
        (1e30, [1e30, 2e30], "2e[+]30"),  # several steps in the first call: the first value is none
    ],
)
def test_losses_that_went_wild(first, values, shown):
    logged = [{"train/loss": value} for value in values]
    with pytest.raises(UserError, match=rf"training diverged: train/loss is {shown} at 64 images"):
        guarded({"loss": first}, *logged)
    assert guarded({"loss": first}, logged[0]).suspects == {"train/loss": values[0]}
    with pytest.raises(UserError, match="training diverged"):
        guarded({"loss": first}, logged[0], end=True)


def test_values_logged_once_count_once():
    guard = guarded({"loss": 1.0}, {"train/loss": 1e20}, {"val/loss": 2.0}, {"val/loss": 3.0})
    assert guard.suspects == {"train/loss": 1e20}


def test_validation_counts_too():
    with pytest.raises(UserError, match=r"val/loss is 2e[+]20"):
        guarded({"loss": 1.0}, {"val/loss": 1e20}, {"val/loss": 2e20})


def test_other_values_have_any_size():
    assert guarded({"loss": 1.0}, *[{"images_per_second": 1e20, "val/score": 1e25}] * 3, end=True).suspects == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite(value):
    with pytest.raises(UserError, match=f"val/kid is {value}"):
        guarded({}, {"val/kid": value})


def test_a_run_that_went_wild_keeps_its_last_good_checkpoint(tiny_run, capsys):
    folder = tiny_run(images=32)
    good = (folder / "checkpoints" / "last.ckpt").read_bytes()
    error = refused(capsys, f"run_dir={folder}", "resume=true", "trainer.max_images=640", "model.optimizer.lr=1e9")
    assert "training diverged: " in error
    assert (folder / "checkpoints" / "last.ckpt").read_bytes() == good
    assert saved(folder)["lightning_gen"]["images_seen"] == 32


def test_a_run_that_is_wild_at_its_end(tmp_path, capsys):
    folder = tmp_path / "run"
    error = refused(
        capsys,
        *TINY_RUN,
        f"run_dir={folder}",
        "model.optimizer.lr=1e9",
        "callbacks.log_terms.every_steps=999",
        "trainer.limit_val_batches=0",
    )
    assert "training diverged: " in error
    assert not (folder / "checkpoints" / "last.ckpt").exists()
