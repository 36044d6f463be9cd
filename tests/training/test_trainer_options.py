"""The trainer's options for several processes, as known before there is more than one."""

from datetime import timedelta

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import OmegaConf

from lightning_gen.config.composition import compose
from lightning_gen.data import image_data
from lightning_gen.data.source import StreamSource, TensorSource
from lightning_gen.trainer import UnwrappedDDP, processes_on_node
from lightning_gen.training.run import build_data, build_trainer

FAKE = ["data=fake", "data.num_images=64", "data.batch_size=8", "callbacks=[]", "debug=smoke", "trainer.max_images=64"]


def trainer_of(*overrides: str):
    config = compose([*FAKE, *overrides])
    return build_trainer(config, build_data(config.data), [])


@pytest.mark.parametrize("strategy", ["ddp", "ddp_find_unused_parameters_true", "auto"])
def test_ranks_wrap_no_model_and_wait_as_long_as_asked(strategy):
    strategy = trainer_of(f"trainer.strategy={strategy}", "trainer.devices=2", "trainer.timeout=1.5").strategy
    assert isinstance(strategy, UnwrappedDDP)
    assert strategy._timeout == timedelta(minutes=1.5)
    assert strategy.launcher is not None
    strategy.model = model = torch.nn.Linear(2, 2)
    strategy.configure_ddp()
    assert strategy.model is model


def test_one_process_has_no_ranks():
    trainer = trainer_of()
    assert not isinstance(trainer.strategy, DDPStrategy)
    assert trainer.batch_norm == "synced"


@pytest.mark.parametrize(
    ("devices", "processes"),
    [(1, 1), (3, 3), ("2", 2), ([0, 3], 2), ("0,3", 2), ("3,", 1), ("auto", 1), (-1, 1), (None, 1)],
)
def test_processes_of_a_node_are_known_before_the_trainer_is_made(devices, processes):
    config = OmegaConf.create({"accelerator": "cpu", "devices": devices})
    assert processes_on_node(config) == processes


@pytest.mark.parametrize("launched_by_slurm", [False, True])
@pytest.mark.parametrize(("processes", "fits"), [(1, True), (2, True), (3, False)])
def test_processes_share_the_memory_of_their_node(processes, fits, launched_by_slurm, monkeypatch):
    """Of all nodes' processes, which Slurm counts, only those here; the same decision whatever is free just then."""
    if launched_by_slurm:
        names = {"PROCID": "0", "NTASKS": "16", "JOB_ID": "1", "LOCALID": "0", "NODEID": "0"}
        for name, value in names.items():
            monkeypatch.setenv(f"SLURM_{name}", value)
    images = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
    monkeypatch.setattr(image_data, "main_memory", lambda: 8 * images.numel())
    monkeypatch.setattr(image_data, "free_memory", lambda device: 8 * images.numel() if processes == 1 else 0)
    data = build_data(compose(FAKE).data, processes)
    source = data._in_memory_or_not(StreamSource(list(images), None, 0))
    assert isinstance(source, TensorSource if fits else StreamSource)
