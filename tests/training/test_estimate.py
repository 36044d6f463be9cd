"""`lightning-gen estimate`: what a training takes, against the model and against arithmetic."""

import json
from contextlib import nullcontext

import pytest
import torch
from helpers.runs import TINY_RUN, run, saved
from torch import nn

from lightning_gen.callbacks import time_estimate
from lightning_gen.cli import main
from lightning_gen.training import estimate
from lightning_gen.training.estimate import Gathered, Parts, Steps, memory, network
from lightning_gen.utilities.compat import without_data
from lightning_gen.utilities.computation import Computation

TINY = [override for override in TINY_RUN if not override.startswith(("trainer.max_images", "callbacks.", "logger"))]


@pytest.fixture
def printed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(estimate, "speed", lambda *_: {"images_per_second": 100.0, "hours": 1.0})
    monkeypatch.chdir(tmp_path)

    def estimated(*overrides: str) -> dict:
        assert main(["estimate", *overrides, "--json"]) == 0
        assert not list(tmp_path.iterdir())
        return json.loads(capsys.readouterr().out)

    return estimated


def test_of_a_run(printed, tmp_path_factory):
    guess = printed(*TINY)
    folder = run(tmp_path_factory.mktemp("run"), images=8)
    content = saved(folder)
    weights = [content["state_dict"][name] for name in content["state_dict"] if not name.startswith("averages")]
    assert guess["memory"]["weights"] == sum(tensor.nbytes for tensor in weights)
    assert guess["parameters"] == sum(guess["parameters_of"].values())
    size = (folder / "checkpoints" / "last.ckpt").stat().st_size
    assert guess["checkpoint_bytes"] == pytest.approx(size, rel=0.15)
    assert guess["network_bytes_per_step"] == 0


def test_the_device_is_tried(monkeypatch, capsys):
    monkeypatch.setattr(time_estimate, "LEAST_SECONDS", 0.0)
    assert main(["estimate", *TINY, "trainer.max_images=8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("speed:") and line.endswith("s") for line in lines)
    assert any(line.startswith("  at its peak:") for line in lines)


def test_of_penalties_by_how_often_they_are_due(printed):
    gan = ["model=dcgan", "data=fake", "data.image_shape=[1,12,12]", "data.batch_size=8", "model/penalty=[r1]"]
    gan += [f"model.{player}.width=8" for player in ("generator", "discriminator")]
    each, seldom, never = (
        printed(*gan, f"model.penalty.r1.every={every}")["gflops_per_image"] for every in (1, 4, 1_000_000)
    )
    assert never < seldom < each
    assert seldom - never == pytest.approx((each - never) * 15 / 63, rel=1e-3)  # of 64 steps 16, 64 and 1 have it


def test_of_several_processes(printed):
    whole = printed(*TINY, "trainer.devices=2", "trainer.strategy=ddp")
    sharded = printed(*TINY, "trainer.devices=2", "trainer.strategy=ddp", "trainer.sharded=true")
    assert whole["images_per_process"] == 4
    assert whole["network_bytes_per_step"] == 4 * whole["parameters"]
    assert sharded["memory"]["weights"] == pytest.approx(whole["memory"]["weights"] / 2, rel=0.01)


def test_a_mistake_is_one_line(capsys):
    assert main(["estimate", "model=nothing"]) == 2
    assert capsys.readouterr().err.startswith("error: model=nothing: no such option")
    assert main(["estimate", "-m", "seed=1,2"]) == 2
    assert "-m: no such flag" in capsys.readouterr().err


PARTS = Parts(weights=400, gradients=400, averages=200, optimizer=800)


def test_memory_of_one_process_and_of_shards():
    steps = Steps(flops=0.0, peak=3_000, largest=300)
    assert memory(PARTS, steps, 1, None)["peak"] == 3_000
    assert memory(PARTS, steps._replace(peak=1_500), 2, None)["peak"] == 1_400 + 2 * 300
    rows = memory(PARTS, steps, 4, Gathered(trained=400, averages=200, at_a_time=60))
    assert [rows[name] for name in ("weights", "gradients", "averages", "optimizer")] == [100, 100, 50, 200]
    assert rows["activations"] == 3_000 - 1_400 - 400
    assert rows["peak"] == 100 + 50 + 200 + 100 + 60 + rows["activations"]


def test_bytes_by_rings():
    assert network(PARTS, 1, None) == 0
    assert network(PARTS, 4, None) == 600
    assert network(PARTS, 4, Gathered(trained=300, averages=0, at_a_time=0)) == round(0.75 * (3 * 300 + 2 * 100))


def test_operations_and_memory_of_a_computation():
    layer, images = nn.Linear(10, 20, bias=False), torch.zeros(5, 10)
    with Computation(layer.parameters()) as computation:
        output = layer(images)
        assert computation.now == 4 * (200 + 100)
        del output
    assert computation.flops == 2 * 5 * 10 * 20
    assert computation.now == 4 * 200
    assert computation.peak == 4 * 300


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="LSTM layers are those of oneDNN")
@pytest.mark.parametrize(("steps", "inputs"), [(1, 64), (10, 64), (10, 512)])
def test_an_lstm_keeps_what_no_tensor_without_data_shows(steps, inputs):
    """Counted without data as with data, where the workspace of the layer is a tensor."""
    peaks = []
    for context in (nullcontext(), without_data(layer := nn.LSTM(inputs, 256))):
        with context, Computation() as computation:
            layer(torch.zeros(steps, 16, inputs))
        peaks.append(computation.peak)
    assert peaks[1] == pytest.approx(peaks[0], rel=0.1)
