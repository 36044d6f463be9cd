"""Captured steps: replays equal ordinary steps, and training goes on where a step can't be captured.

Every model's steps are compared on the pretended device by `check_model_on_device`.
"""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch
from helpers.tiny_models import TINY_DCGAN, TINY_VAE

from lightning_gen.optim import step_graphs
from lightning_gen.optim.step_graphs import WARM_UP, StepGraphs, obstacle
from lightning_gen.testing.on_device import Recorder, Run
from lightning_gen.testing.pretended_device import PretendedDevice
from lightning_gen.testing.pretended_tensor import WHY_NOT

pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


class Replays:
    """A recording whose replays do something else."""

    def __init__(self, replay: Callable[[], None]):
        self.replay = replay


@pytest.fixture
def told(monkeypatch) -> list[str]:
    """The lines of our log."""
    lines: list[str] = []
    monkeypatch.setattr(step_graphs.log, "info", lambda line, *values: lines.append(line % values))
    return lines


@pytest.fixture
def device() -> Iterator[PretendedDevice]:
    with PretendedDevice() as device:
        yield device


def trained(device: PretendedDevice, overrides: list[str], steps: int, recorder: object = None):
    """A tiny model after some steps, captured if there is a recorder."""
    run = Run(device, *overrides)
    for penalty in getattr(run.model, "penalties", {}).values():
        penalty.every = 4
    if recorder is not None:
        run.model.graphs = StepGraphs(run.model, recorder)
    for _ in range(steps):
        run.step()
    return run.model


def same_state(one, other) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a.cpu(), b.cpu()) for a, b in pairs)


SCHEDULED = [*TINY_DCGAN, "model/penalty=[r1]", "schedule@model.schedule=cosine"]


@pytest.mark.parametrize(
    ("overrides", "variants"),
    [
        ([*TINY_VAE, "model.beta_warmup_images=500"], 1),
        ([*SCHEDULED, "model/augment=ada", "model.augment.initial=0.5", "model.generator_every=2"], 3),
    ],
    ids=["vae", "dcgan"],
)
def test_replays_equal_ordinary_steps(device, overrides, variants):
    recorder, steps = Recorder(device), 4 * (WARM_UP + 3)
    captured = trained(device, overrides, steps, recorder)
    ordinary = trained(device, overrides, steps)
    assert same_state(captured, ordinary)
    assert captured.terms.flush() == ordinary.terms.flush()
    assert recorder.captures == variants


def test_the_first_steps_are_not_captured(device):
    recorder = Recorder(device)
    trained(device, TINY_VAE, WARM_UP, recorder)
    assert recorder.captures == 0


def test_a_step_that_waits_for_the_device_is_not_captured(device, monkeypatch, told):
    from lightning_gen.models.vae import VAE

    losses = VAE.losses

    def waiting(self, batch):
        return losses(self, batch) | {"brightest": batch.images.mean() * batch.images.max().item()}

    monkeypatch.setattr(VAE, "losses", waiting)
    captured = trained(device, TINY_VAE, WARM_UP + 3, Recorder(device))
    assert "a step can't be captured (operation not permitted when stream is capturing" in told[0]
    assert same_state(captured, trained(device, TINY_VAE, WARM_UP + 3))


def test_a_replay_that_differs_ends_the_captures(device, told):
    recorder = Recorder(device)
    recorder.record = lambda function: (device.record(function), Replays(lambda: None))[1]
    model = trained(device, TINY_VAE, WARM_UP + 4, recorder)
    assert "a captured step differs from an ordinary one by 100.0%; steps are not captured" in told[0]
    assert not model.graphs.enabled


class HostDraws(torch.nn.Module):
    draws_on_host = True


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"device": "cpu"}, "need a CUDA device, not cpu"),
        ({"processes": 2}, "several processes"),
        ({"compile_mode": "reduce-overhead"}, "compile_mode=reduce-overhead uses CUDA graphs itself"),
        ({"scaler": object()}, "16-mixed"),
        ({"module": HostDraws()}, "HostDraws draws random numbers on the CPU"),
        ({"on_device": False}, "SGD is not fused"),
    ],
)
def test_obstacles_are_named(change, reason):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    settings = {"device": "cuda", "module": torch.nn.Identity(), "processes": 1, "compile_mode": None}
    settings |= {"scaler": None, "on_device": True} | change
    stepper = SimpleNamespace(scaler=settings["scaler"], on_device=settings["on_device"], optimizer=optimizer)
    device, modules = torch.device(settings["device"]), [settings["module"]]
    found = obstacle(device, [stepper], modules, settings["processes"], settings["compile_mode"])
    assert found is None if reason is None else reason in found
