"""The precision of float32: chosen by the trainer, IEEE in evaluations, restored afterwards."""

import pytest
import torch
from torch.backends import cuda, cudnn

from lightning_gen.config.composition import compose
from lightning_gen.sampling.evaluation_mode import full_precision
from lightning_gen.trainer import ImageTrainer
from lightning_gen.utilities.float32 import ieee_float32, use_tf32


@pytest.fixture(autouse=True)
def restored():
    matmul, conv, rnn = torch.get_float32_matmul_precision(), cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    benchmark = cudnn.benchmark
    yield
    cudnn.benchmark = benchmark
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision(matmul)
    cudnn.allow_tf32 = conv == "tf32"
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = conv, rnn


def precisions() -> set[str]:
    """Those of all kinds of layers; RuntimeError if PyTorch's older and newer flags contradict each other."""
    older = cudnn.allow_tf32, cuda.matmul.allow_tf32
    newer = [backend.fp32_precision for backend in (cuda.matmul, cudnn.conv, cudnn.rnn)]
    assert older == (newer[1] == "tf32", newer[0] == "tf32")
    return set(newer)


def trainer(**options) -> ImageTrainer:
    sizes = {"batch_size": 1, "images_per_epoch": 1, "max_images": 1, "validate_every_images": 1}
    return ImageTrainer(**sizes, accelerator="cpu", logger=False, **options)


@pytest.mark.parametrize(("tf32", "expected"), [(True, "tf32"), (False, "ieee")])
def test_the_trainer_chooses_it_for_all_layers(tf32, expected):
    use_tf32(not tf32)
    trainer(tf32=tf32)
    assert precisions() == {expected}


@pytest.mark.parametrize("tf32", [True, False])
def test_evaluations_are_in_ieee_float32(tf32):
    use_tf32(tf32)
    with full_precision():
        assert precisions() == {"ieee"}
    assert precisions() == {"tf32" if tf32 else "ieee"}


def test_pytorchs_defaults_come_back():
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = True
    with ieee_float32():
        pass
    assert (torch.get_float32_matmul_precision(), cudnn.conv.fp32_precision, cudnn.allow_tf32) == (
        "highest",
        "tf32",
        True,
    )


def test_newer_flags_of_a_notebook_come_back():
    cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = "ieee", "tf32"  # which allow_tf32 can't express
    with ieee_float32():
        assert precisions() == {"ieee"}
    assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == ("ieee", "tf32")


def test_the_options_of_a_gpu_use_what_it_has():
    options = compose(["trainer=gpu", "trainer.deterministic=warn", "data=fake"]).trainer
    assert (options.tf32, options.benchmark, options.deterministic) == (True, True, "warn")


@pytest.mark.parametrize(("deterministic", "benchmark"), [(False, True), (True, False), ("warn", False)])
def test_a_deterministic_run_times_no_kernels(deterministic, benchmark):
    trainer(deterministic=deterministic, benchmark=True)
    assert cudnn.benchmark is benchmark
