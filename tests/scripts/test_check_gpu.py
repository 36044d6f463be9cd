"""The checks of a GPU, on a pretended one: what they say, and which faults fail them."""

import json
import sys
import time

import pytest
from helpers import ROOT

from lightning_gen.image_generator import ImageGenerator
from lightning_gen.models.vae import VAE
from lightning_gen.optim.stepper import Stepper
from lightning_gen.testing.pretended_tensor import WHY_NOT

if WHY_NOT is not None:
    pytest.skip(WHY_NOT, allow_module_level=True)

sys.path.append(str(ROOT / "scripts"))

import check_gpu
import gpu_trials


def check(capsys, *arguments: str) -> tuple[int, dict[str, str]]:
    """The exit status, and the row of each check."""
    status = check_gpu.main([*arguments, "--models", "vae", "--pretend"])
    *table, line = capsys.readouterr().out.splitlines()
    results = {row[0]: " ".join((row[2], *row[3])) for row in json.loads(line)["rows"]}
    assert [row.split()[0] for row in table[1:]] == list(results)
    return status, results


def test_all_checks_of_a_model(capsys):
    status, results = check(capsys, "graphs", "steps", "bf16", "waits", "speed")
    assert list(results) == ["steps", "bf16", "waits", "graphs", "speed"]
    assert status == 0
    assert all(result.startswith("ok") for result in results.values())
    assert "by hand" in results["speed"]


def test_a_gradient_that_differs_and_a_wait_fail_their_checks_alone(capsys, monkeypatch):
    backward, step = Stepper.backward, ImageGenerator.step

    def wrong(self, loss):
        backward(self, loss * 1.05 if loss.device.type != "cpu" else loss)

    def waiting(self, batch):
        batch.images.sum().item()
        step(self, batch)

    monkeypatch.setattr(Stepper, "backward", wrong)
    monkeypatch.setattr(ImageGenerator, "step", waiting)
    status, results = check(capsys, "steps", "waits", "bf16")
    assert status == 1
    assert results["steps"] == "FAILED AssertionError: weights differ by 0.05"
    assert results["waits"].startswith("FAILED RuntimeError: the host waits: _local_scalar_dense at")
    assert results["bf16"].startswith("ok")


def test_a_number_that_a_graph_keeps(capsys, monkeypatch):
    losses = VAE.losses

    def changing(self, batch):
        terms = losses(self, batch)
        return terms | {"loss": terms["loss"] * (1 + self.batches_seen / 1000)}

    monkeypatch.setattr(VAE, "losses", changing)
    status, results = check(capsys, "graphs")
    assert status == 1
    assert results["graphs"].startswith("FAILED AssertionError: step 6 of 8: ")


def test_steps_that_cannot_be_captured_are_no_fault(capsys, monkeypatch):
    monkeypatch.setattr(Stepper, "on_device", False)
    status, results = check(capsys, "graphs")
    assert status == 0
    assert results["graphs"].startswith("not done Adam is not fused")


def test_limits_of_time_within_one_another():
    start = time.monotonic()

    def run() -> dict[str, float]:
        with pytest.raises(gpu_trials.OutOfTime), gpu_trials.time_limit(0.05):
            time.sleep(20)
        time.sleep(20)
        return {}

    assert check_gpu.outcome("steps", "vae", run, 0.2).result == "no time"
    assert time.monotonic() - start < 10
