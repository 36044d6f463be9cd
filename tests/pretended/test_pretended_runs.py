"""Whole runs on the pretended GPU, with their callbacks, checkpoints and scores, begun and continued on a CPU."""

import pytest
import torch
from helpers.runs import TINY_RUN, rows, run, saved, train_with

from lightning_gen.testing.pretended_tensor import WHY_NOT

if WHY_NOT is not None:
    pytest.skip(WHY_NOT, allow_module_level=True)

from lightning_gen.testing.pretended_accelerator import OVERRIDES
from lightning_gen.testing.pretended_device import PretendedDevice

CALLBACKS = (
    "callbacks=[log_terms,finite_guard,sample_grid,reconstructions,active_units,collapse_guard,checkpoint,scores]"
)
FEW = ["callbacks.sample_grid.n=4", "callbacks.reconstructions.n=4", "evaluation.half_samples=2"]
SCORES = "metrics=[likelihood,reconstruction]"


def test_a_run_gives_the_weights_and_scores_of_the_cpu(tmp_path):
    overrides = [SCORES, CALLBACKS, *FEW]
    run(tmp_path / "cpu", *overrides)
    with PretendedDevice() as device, device.trace() as trace:
        run(tmp_path / "gpu", *overrides, *OVERRIDES)
    assert trace.kernels > 1000
    cpu, gpu = (saved(tmp_path / name)["state_dict"] for name in ("cpu", "gpu"))
    torch.testing.assert_close(gpu, cpu)
    first, second = (rows(tmp_path / name) for name in ("cpu", "gpu"))
    assert [row.keys() for row in first] == [row.keys() for row in second]


def test_a_run_moves_from_cpu_to_gpu_and_back(tmp_path):
    run(tmp_path / "straight", images=96)
    folder = run(tmp_path / "moved", images=32)
    with PretendedDevice():
        train_with(folder, *TINY_RUN, "resume=true", "trainer.max_images=64", *OVERRIDES)
    on_cpu = ["trainer.accelerator=cpu", "trainer.strategy=auto"]
    train_with(folder, *TINY_RUN, "resume=true", "trainer.max_images=96", *on_cpu)
    torch.testing.assert_close(saved(folder)["state_dict"], saved(tmp_path / "straight")["state_dict"])


def test_mixed_precision_has_the_lists_of_cuda(tmp_path):
    with PretendedDevice() as device, device.trace() as trace:
        run(tmp_path / "run", "trainer.precision=bf16-mixed", "trainer.max_images=16", *OVERRIDES)
    assert trace.bytes_written()[torch.bfloat16] > 0
