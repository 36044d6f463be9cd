"""Whole runs of GANs: several processes, a plugin's model, compiled parts, mixed precision, averages."""

import inspect
from functools import partialmethod
from pathlib import Path

import pytest
import torch
from helpers import ROOT
from helpers.runs import train_with

from lightning_gen.checkpoint import load_model
from lightning_gen.models import infogan
from lightning_gen.testing import check_model

SHORT_RUN = [
    *("data=fake", "data.image_shape=[1,12,12]", "data.num_images=64", "data.batch_size=8", "debug=smoke"),
    *("trainer.max_images=64", "trainer.validate_every_images=32", "callbacks.sample_grid.n=4", "metrics=[]"),
]
NARROW = ["model.generator.width=8", "model.discriminator.width=8"]
# Batch statistics are each process's own, and Adam turns rounding into steps.
PLAIN = [
    *("model.generator.normalization=none", "model.discriminator.normalization=none", "model.optimizer.lr=0.05"),
    *("optimizer@model.optimizer=sgd", "optimizer@model.discriminator_optimizer=sgd", "model.init_std=0.2"),
]


def run(folder: Path, *overrides: str, images: int) -> Path:
    """Train a tiny GAN in this process."""
    return train_with(folder, *SHORT_RUN, "model=dcgan", *NARROW, f"trainer.max_images={images}", *overrides)


@pytest.fixture
def gan_plugin(monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "gan_plugin")
    monkeypatch.syspath_prepend(str(ROOT / "tests" / "helpers"))


@pytest.mark.usefixtures("gan_plugin")
def test_a_plugin_adds_a_gan_by_its_terms():
    from gan_plugin import OwnLSGAN

    check_model("own_lsgan", *NARROW)
    assert len(inspect.getsource(OwnLSGAN).splitlines()) <= 10
    assert len(Path(infogan.__file__).read_text().splitlines()) <= 40


def test_averages_and_last_weights_differ_after_a_run(tmp_path):
    """With two optimizers Lightning's own averaging never updates at even intervals."""
    folder = run(tmp_path / "run", images=128)
    averaged, raw = (load_model(folder / "checkpoints" / "last.ckpt", ema=ema) for ema in (True, False))
    torch.manual_seed(0)
    initial = load_model(run(tmp_path / "initial", images=8), ema=False)
    one, other, start = (next(m.generator.decoder.parameters()) for m in (averaged, raw, initial))
    assert not torch.equal(one, other)
    assert not torch.equal(one, start)


@pytest.mark.parametrize(
    "extra", ["model.compile=[generator]", "trainer.precision=bf16-mixed", "model.gradient_clip=1.0"]
)
def test_penalties_run_in_float32_and_eagerly(extra, tmp_path, monkeypatch):
    # It is torch's tracing of gradients that cannot be differentiated twice; machine code would only take its time.
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(torch.nn.Module.compile, backend="aot_eager"))
    run(tmp_path / "run", "model/penalty=[r1]", extra, images=32)


def test_other_optimizers_can_be_chosen(tmp_path):
    run(tmp_path / "run", "optimizer@model.optimizer=adamw", images=16)
