"""Composing, run names, and making objects."""

import re
from functools import partial

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from lightning_gen.config.composition import compose, conf_dir
from lightning_gen.config.instantiation import instantiate
from lightning_gen.config.run_id import reset_run_id, run_id
from lightning_gen.errors import UserError


@pytest.fixture(autouse=True)
def no_scheduler(monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "LSB_JOBID", "PBS_JOBID", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


def test_composes_resolved_and_without_hydra_left_behind():
    config = compose(["seed=3", "model=beta_vae"])
    assert config.seed == 3
    assert "hydra" not in config
    assert re.fullmatch(r"outputs/beta_vae/mnist5k/\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-[0-9a-f]{4}", config.run_dir)
    assert OmegaConf.to_container(config, resolve=False) == OmegaConf.to_container(config, resolve=True)
    assert not GlobalHydra.instance().is_initialized()
    assert not HydraConfig.initialized()


def test_composing_leaves_an_outer_hydra_alone():
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        compose()
        assert GlobalHydra.instance().is_initialized()


def test_hydra_node_on_request():
    assert compose(["model=beta_vae"], return_hydra_config=True).hydra.runtime.choices.model == "beta_vae"


def test_every_command_composes():
    assert compose(command="inspect").data._target_
    assert compose(["checkpoint=a.ckpt"], command="sample").checkpoint == "a.ckpt"
    assert compose(["checkpoint=a.ckpt"], command="evaluate").checkpoint == "a.ckpt"


def test_empty_choice_of_several_is_an_empty_mapping():
    config = compose(["logger=[]", "metrics=[]", "callbacks=[]"])
    assert config.logger == config.metrics == config.callbacks == {}


def test_run_id_is_one_per_composed_config():
    first, second = compose().run_dir, compose().run_dir
    assert first != second
    reset_run_id()
    assert run_id() == run_id()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"SLURM_JOB_ID": "7"}, "slurm-7"),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}, "slurm-7_2"),
        ({"LSB_JOBID": "7", "LSB_JOBINDEX": "0"}, "lsf-7"),
        ({"LSB_JOBID": "7", "LSB_JOBINDEX": "3"}, "lsf-7_3"),
        ({"PBS_JOBID": "7.server"}, "pbs-7"),
        ({"TORCHELASTIC_RUN_ID": "abc"}, "torchrun-abc"),
    ],
)
def test_run_id_under_a_scheduler(monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert compose().run_dir.endswith(f"/{expected}")


@pytest.mark.parametrize(
    "environment", [{"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "interactive"}, {"TORCHELASTIC_RUN_ID": "none"}]
)
def test_run_id_where_many_runs_share_one_allocation(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert re.search(r"/\d{4}-[^/]*-[0-9a-f]{4}$", compose().run_dir)


class Part:
    def __init__(self, size: int, inner: object = None):
        if size < 0:
            raise ValueError(f"size is {size}\nand more")
        if size == 13:
            raise UserError("part.size=13: bad luck")
        if size == 14:
            raise RuntimeError("a bug")
        if size == 15:
            raise TypeError("a bug")
        self.size, self.inner = size, inner


def part(**keys) -> DictConfig:
    return OmegaConf.create({"part": {"_target_": f"{__name__}.Part", **keys}}).part


def test_instantiate_gives_plain_python():
    made = instantiate(part(inner={"a": [1, {"b": 2}]}), size=3)
    assert made.size == 3
    assert made.inner == {"a": [1, {"b": 2}]}
    assert type(made.inner) is dict
    assert type(made.inner["a"]) is list


def test_instantiate_partial_takes_arguments_later():
    made = instantiate(part(_partial_=True))
    assert isinstance(made, partial)
    assert made(size=2).size == 2


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, r"^part: .*missing 1 required positional argument: 'size'; give part.size=VALUE$"),
        ({"size": 1, "sise": 2}, r"^part: .*unexpected keyword argument 'sise'"),
        ({"size": -1}, r"^part: size is -1$"),
        ({"size": 13}, r"^part\.size=13: bad luck$"),
        ({"size": 1, "inner": {"_target_": f"{__name__}.Part"}}, r"^part\.inner: .*missing 1 required"),
        ({"size": 1, "inner": {"_target_": f"{__name__}.Part", "size": 13}}, r"^part\.size=13: bad luck$"),
    ],
)
def test_refused_arguments_are_the_users(keys, message):
    with pytest.raises(UserError, match=message):
        instantiate(part(**keys))


@pytest.mark.parametrize("size", [14, 15])
def test_failures_inside_are_bugs(size):
    with pytest.raises(Exception, match="a bug") as caught:
        instantiate(part(size=size))
    assert not isinstance(caught.value, UserError)


def test_targets_that_hydra_does_not_run_are_the_users():
    with pytest.raises(UserError, match=r"os\.system"):
        instantiate(OmegaConf.create({"_target_": "os.system", "command": "true"}))
