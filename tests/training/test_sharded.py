"""`trainer.sharded=true` on two processes against `ddp`: weights, files, and going on with either.

All trainings are in one pair of processes.
"""

import os
import re
import sys
from pathlib import Path

import pytest
import torch
from helpers.commands import refused
from helpers.processes import free_port, launched, on_two_ranks
from helpers.runs import rows, saved, train_with
from torch import nn

from lightning_gen.checkpoint import load_model
from lightning_gen.optim import sharding

linux = pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback")

IMAGES, HALF = 48, 24
RUN = [
    *("data=fake", "data.num_images=76", "data.batch_size=8", "debug=smoke", "seed=1", "logger=[csv]"),
    *("callbacks=[checkpoint,sample_grid]", "callbacks.sample_grid.n=4", "callbacks.sample_grid.every_images=24"),
    *("trainer.steps_per_call=1", "trainer.limit_val_batches=null", f"trainer.validate_every_images={HALF}"),
    *(f"callbacks.last.every_images={HALF}", "metrics=[]", "evaluation.num_samples=32", "evaluation.num_real=32"),
]
GRAY, COLOR = "data.image_shape=[1,12,12]", "data.image_shape=[3,16,16]"
PLAYERS = ("generator", "discriminator")
MODELS = {
    "vae": [
        *("model=vae", GRAY, "model.ema_decay=0.99", "model.gradient_clip=1.0", "model/likelihood=sigma_vae"),
        *("model.encoder.width=8", "model.decoder.width=8", "metrics=[diversity]"),
    ],
    "dcgan": [
        *("model=dcgan", GRAY, "model.latent_dim=8", *(f"model.{player}.width=8" for player in PLAYERS)),
        *("model/penalty=[r1]", "model.penalty.r1.every=2", "model.ema_decay=0.99", "model.accumulate=2"),
    ],
    "stylegan2": [
        *("model=stylegan2", COLOR, "model.generator.style_dim=16", "model.ema_decay=0.99"),
        *(f"model.{player}.{size}" for player in PLAYERS for size in ("width=8", "largest=16")),
        *(f"model.penalty.{penalty}.every=2" for penalty in ("path_length", "r1")),
    ],
}
RANKS = ["trainer.devices=2", "trainer.strategy=ddp"]
SHARDED = [*RANKS, "trainer.sharded=true"]


def trained(folder: Path, name: str, *overrides: str, images: int = IMAGES) -> Path:
    return train_with(folder / name, *RUN, *MODELS[name], f"trainer.max_images={images}", *overrides)


def train_as_a_rank(rank: int, folder: Path, size: int) -> None:
    torch.set_num_threads(1)
    sharding.SMALLEST = 200
    variables = launched(rank, size, folder)

    def train_both(part: str, name: str, *overrides: str, images: int = IMAGES) -> None:
        os.environ.update(variables)  # Lightning removes some of it at the end of a run
        trained(folder / part, name, *overrides, images=images)

    for name in MODELS:
        train_both("whole", name, *RANKS)
        train_both("sharded", name, *SHARDED)
    train_both("to_sharded", "vae", *RANKS, images=HALF)
    train_both("to_sharded", "vae", *SHARDED, "resume=true")
    train_both("from_sharded", "vae", *SHARDED, images=HALF)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    (folder / "port").write_text(str(free_port()))
    on_two_ranks(train_as_a_rank, folder)
    return folder


def worst(one: Path, other: Path) -> float:
    """The largest difference of weights, relative to the largest weight of the tensor or 1."""
    first, second = saved(one)["state_dict"], saved(other)["state_dict"]
    assert list(first) == list(second)
    return max(((first[k] - second[k]).abs().max() / first[k].abs().max().clamp(min=1)).item() for k in first)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_of_ddp(name, folder):
    runs = [folder / kind / name for kind in ("whole", "sharded")]
    assert worst(*runs) <= 1e-6
    files = [{file.name for part in ("samples", "checkpoints") for file in (run / part).iterdir()} for run in runs]
    assert files[0] == files[1]
    losses = [[row[key] for row in rows(run) for key in row if key.startswith("val/")] for run in runs]
    assert [float(x or 0) for x in losses[0]] == pytest.approx([float(x or 0) for x in losses[1]], rel=1e-4)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_checkpoints_are_those_of_one_process(name, folder):
    """With states of optimizers alike, and plain tensors."""
    whole, sharded = (saved(folder / kind / name)["optimizer_states"] for kind in ("whole", "sharded"))
    for one, other in zip(whole, sharded, strict=True):
        assert one["param_groups"] == other["param_groups"]
        assert list(one["state"]) == list(other["state"])
        for number, values in one["state"].items():
            assert all(type(value) is torch.Tensor for value in other["state"][number].values())
            assert {k: v.shape for k, v in values.items()} == {k: v.shape for k, v in other["state"][number].items()}
    images = load_model(folder / "sharded" / name).sample(2)
    assert images.isfinite().all()


@linux
@pytest.mark.slow
def test_a_run_goes_on_sharded_and_back(folder):
    whole = folder / "whole" / "vae"
    assert worst(whole, folder / "to_sharded" / "vae") <= 1e-6
    half = folder / "from_sharded" / "vae"
    one = ["trainer.devices=1", "trainer.strategy=auto", "trainer.sharded=false"]
    train_with(half, "resume=true", *one, f"trainer.max_images={IMAGES}")
    assert worst(whole, half) <= 1e-5  # of one process


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["trainer.strategy=fsdp"], "trainer.strategy=fsdp: of Lightning, .*; use trainer=fsdp"),
        (["trainer.strategy=deepspeed_stage_2"], "trainer.strategy=deepspeed_stage_2: .*; use trainer=fsdp"),
        (["trainer.sharded=true", "trainer.channels_last=true"], "trainer.channels_last=true: .*; use false"),
        (["trainer.sharded=true", "trainer.precision=16-mixed"], "trainer.precision=16-mixed: .*; use bf16-mixed"),
        (["trainer.sharded=true", "model.compile=true"], "model.compile: .*; use model.compile=false"),
    ],
)
def test_what_excludes_sharding_is_refused(tmp_path, monkeypatch, capsys, overrides, line):
    monkeypatch.chdir(tmp_path)
    assert re.search(line, refused(capsys, "data=fake", *overrides))
    assert not list(tmp_path.iterdir())


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.layers = nn.ModuleList([nn.Linear(20, 20), nn.Sequential(nn.Linear(20, 30)), nn.Linear(2, 2)])


def test_blocks_are_the_larger_members_of_lists(monkeypatch):
    monkeypatch.setattr(sharding, "SMALLEST", 100)
    stack = Stack()
    assert sharding.blocks_of(stack) == [stack.layers[0], stack.layers[1], stack]
    assert sharding.group_sizes(stack) == [420, 630, 12]


def test_a_network_names_its_blocks():
    class Named(Stack):
        def blocks(self):
            return [self.first]

    named = Named()
    assert sharding.blocks_of(named) == [named.first]
