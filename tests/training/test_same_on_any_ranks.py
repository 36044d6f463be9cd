"""The same run on any number of processes: weights, validation terms and scores of one process and of two.

All trainings of two ranks are in one pair of processes. The optimizers are as shipped: Adam could make a whole step of
the rounding error of a vanishing gradient, but none of these models has weights of that kind.
"""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from helpers.processes import free_port, launched, on_two_ranks
from helpers.runs import rows, saved, train_with

from lightning_gen.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback")]

IMAGES, HALF = 320, 160  # 40 steps
RUN = [
    *("data=fake", "data.num_images=76", "data.batch_size=8", "debug=smoke", "seed=1", "logger=[csv]"),
    *("callbacks=[checkpoint,log_terms]", "callbacks.log_terms.every_steps=10", "trainer.limit_val_batches=null"),
    *(f"callbacks.last.every_images={HALF}", f"trainer.validate_every_images={HALF}", "evaluation.half_samples=0"),
    *("evaluation.num_samples=32", "evaluation.num_real=32"),
]
SQUARE, SEQUENCES = "data.image_shape=[1,12,12]", "data.image_shape=[4,1,12,12]"
NARROW = [f"model.{network}.width=8" for network in ("generator", "discriminator")]
MODELS = {
    "vae": [
        *("model=vae", SQUARE, "metrics=[likelihood]", "data/augment=[flip,crop]", "model.schedule=null"),
        *(f"model.{network}.{size}" for network in ("encoder", "decoder") for size in ("width=8", "hidden=16")),
    ],
    "dcgan": [
        *("model=dcgan", SQUARE, "model.latent_dim=8", *NARROW, "metrics=[diversity]"),
        *("model/augment=ada", "model/penalty=[r1]", "model.penalty.r1.every=4"),
    ],
    "vqvae": [
        *("model=vqvae", SQUARE, "metrics=[reconstruction]", "model.quantizer.num_codes=16"),
        *(f"model.{network}.width=8" for network in ("encoder", "decoder")),
    ],
    "pixel_cnn": ["model=pixel_cnn", SQUARE, "model.network.width=8", "metrics=[likelihood]", "model.accumulate=2"],
    "frame_lstm": ["model=frame_lstm", SEQUENCES, "model.context_frames=2", "metrics=[prediction]"],
    "flow": ["model=flow_matching", SQUARE, "model.network.width=8", "model.network.dropout=0.1", "metrics=[]"],
}
RANKS = ["trainer.devices=2", "trainer.strategy=ddp"]
AGREE = "+callbacks.agree._target_=helpers.rank_agreement.RanksAgree"
ONE = ["trainer.devices=1", "trainer.strategy=auto"]


def use_the_plugin() -> None:
    os.environ["LIGHTNING_GEN_PLUGINS"] = "lightning_gen_flow"
    sys.path.append(str(ROOT / "plugins" / "lightning_gen_flow"))


def trained(folder: Path, name: str, *overrides: str, images: int = IMAGES) -> Path:
    return train_with(folder / name, *RUN, *MODELS[name], f"trainer.max_images={images}", *overrides)


def train_as_a_rank(rank: int, folder: Path, size: int) -> None:
    """All models; a VAE for half of its run; a DCGAN whose ranks have statistics of their own."""
    use_the_plugin()
    torch.set_num_threads(1)
    variables = launched(rank, size, folder)
    for name in MODELS:
        os.environ.update(variables)  # Lightning removes some of it at the end of a run
        trained(folder / "two", name, *RANKS, AGREE)
    os.environ.update(variables)
    trained(folder / "half", "vae", *RANKS, images=HALF)
    os.environ.update(variables)
    trained(folder / "local", "dcgan", *RANKS, AGREE, "trainer.batch_norm=local", "metrics=[]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "port").write_text(str(free_port()))
    on_two_ranks(train_as_a_rank, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_GEN_PLUGINS", "")
        patch.setattr(sys, "path", [*sys.path])
        use_the_plugin()
        for name in MODELS:
            trained(folder / "one", name)
        yield folder


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = saved(one)["state_dict"], saved(other)["state_dict"]
    assert first.keys() == second.keys()
    for name, value in first.items():
        error = (second[name] - value).abs().max() / value.abs().max().clamp(min=1e-30)
        assert error <= 1e-5, f"{name}: {error:.1e}"


def numbers(folder: Path) -> list[dict[str, float]]:
    """Those of metrics.csv that do not depend on the machine."""
    machine = ("images_per_second", "memory_gib")
    return [{key: float(text) for key, text in row.items() if text and key not in machine} for row in rows(folder)]


@pytest.mark.parametrize("name", MODELS)
def test_two_processes_train_as_one(name, folder):
    assert saved(folder / "two" / name)["lightning_gen"]["images_seen"] == IMAGES
    assert_same_weights(folder / "one" / name, folder / "two" / name)


@pytest.mark.parametrize("name", MODELS)
def test_terms_and_scores_are_equal(name, folder):
    one, two = (numbers(folder / number / name) for number in ("one", "two"))
    assert {key.partition("/")[0] for row in one for key in row} >= {"images", "train", "val"}
    for expected, found in zip(one, two, strict=True):
        assert found == pytest.approx(expected, rel=2e-5, abs=2e-6)


def test_one_process_evaluates_what_two_have_scored(folder, tmp_path):
    run = folder / "two" / "dcgan"
    [trained] = json.loads((run / "evaluation.json").read_text())
    out = tmp_path / "evaluation.json"
    last = run / "checkpoints" / "last.ckpt"
    arguments = [f"checkpoint={last}", "metrics=[diversity]", "half_samples=0", "num_samples=32", "device=cpu"]
    assert main(["evaluate", *arguments, f"out={out}", f"seed={trained['protocol']['seed']}"]) == 0
    [evaluated] = json.loads(out.read_text())
    assert evaluated["scores"] == pytest.approx(trained["scores"], rel=1e-6)


def test_a_run_may_change_its_number_of_processes(folder):
    half = folder / "half" / "vae"
    train_with(half, "resume=true", *ONE, f"trainer.max_images={IMAGES}")
    assert_same_weights(folder / "one" / "vae", half)


def test_local_statistics_are_others(folder):
    """Ranks end alike, or RanksAgree would have failed, and not as with statistics of the whole batch."""
    local, synced = (saved(folder / kind / "dcgan")["state_dict"] for kind in ("local", "two"))
    changed = [name for name in local if name.endswith("running_var")]
    assert changed
    assert not any(torch.allclose(local[name], synced[name], rtol=1e-3) for name in changed)
