"""The types of every command's own keys: declared once, and refused in one line."""

import re

import pytest

from lightning_gen.cli.commands import COMMANDS, has_config
from lightning_gen.config.composition import compose
from lightning_gen.config.keys import KEYS, annotation_of
from lightning_gen.config.plugins import conf_dir
from lightning_gen.config.signatures import fits
from lightning_gen.config.validation import primary_keys
from lightning_gen.errors import UserError

WITH_CONFIG = [command for command in COMMANDS if has_config(command)]
CHECKPOINT = ["checkpoint=a.ckpt"]


def keys_of(command: str) -> dict:
    """A command's own keys with their defaults, those of sections too."""
    keys, _ = primary_keys(conf_dir() / f"{command}.yaml")
    return keys | keys.get("evaluation", {})


@pytest.mark.parametrize("command", WITH_CONFIG)
def test_every_key_and_group_is_declared_and_its_default_fits(command):
    _, groups = primary_keys(conf_dir() / f"{command}.yaml")
    assert {*keys_of(command), *groups} - {"experiment", "debug", "launcher"} <= KEYS.keys()
    for key, default in keys_of(command).items():
        if default != "???":
            assert fits(default, annotation_of(key, command)), key


def test_no_declaration_is_left_over():
    used = {key for command in WITH_CONFIG for key in keys_of(command)}
    groups = {group for command in WITH_CONFIG for group in primary_keys(conf_dir() / f"{command}.yaml")[1]}
    assert KEYS.keys() <= used | groups


def refusal(command: str, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        compose([*([] if command in ("train", "inspect", "convert") else CHECKPOINT), *overrides], command)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("command", "override", "expected"),
    [
        ("evaluate", "num_samples=abc", "int of at least 1 or null"),
        ("evaluate", "num_samples=2.5", "int of at least 1 or null"),
        ("evaluate", "seeds=0", "int of at least 1 and at most 10000"),
        ("sample", "n=null", "int of at least 1 and at most 10000000"),
        ("sample", "n=100000000000000000000000000", "int of at least 1 and at most 10000000"),
        ("sample", "truncation=nan", "float above 0 or null; give a finite number"),
        ("sample", "truncation=inf", "float above 0 or null; give a finite number"),
        ("sample", "ema=1", "bool"),
        ("complete", "rows=abc", "int of at least 0 or null"),
        ("complete", "rows=-1", "int of at least 0 or null"),
        ("interpolate", "steps=null", "int of at least 1 and at most 10000"),
        ("neighbors", "num_real=1", "int of at least 2 or null"),
        ("project", "step_size=null", "float above 0"),
        ("project", "noise=-1", "float of at least 0"),
        ("train", "seed=null", "int"),
        ("train", "seed=100000000000000000000000000", "int"),
        ("train", "run_dir=null", "str"),
        ("train", "resume=2.5.1x", ""),
        ("train", "evaluation.num_samples=-1", "int of at least 1 or null"),
        ("train", "evaluation=null", "mapping of keys to values"),
    ],
)
def test_wrong_values_name_what_is_expected(command, override, expected):
    if not expected:
        assert compose([override], command).resume == "2.5.1x"
        return
    assert re.fullmatch(
        rf"{re.escape(override.split('=')[0])}=.*: expected {re.escape(expected)}", refusal(command, override)
    )


def test_steps_may_be_null_where_they_have_a_meaning():
    assert compose([*CHECKPOINT, "steps=null"], "predict").steps is None


@pytest.mark.parametrize(
    ("command", "override", "text"),
    [
        ("sample", "checkpoint=2024", "2024"),
        ("sample", "checkpoint=2024_11", "2024_11"),
        ("evaluate", "out=1e3", "1e3"),
        ("train", "run_dir=2024_11_29", "2024_11_29"),
        ("train", "resume=12", "12"),
        ("train", "evaluation.split=3", "3"),
        ("train", "logger.csv.folder=007", "007"),
        ("train", "++callbacks.best.monitor=1_0", "1_0"),
    ],
)
def test_names_that_look_like_numbers_are_text(command, override, text):
    config = compose([*([] if command == "train" else CHECKPOINT), override], command)
    for part in override.lstrip("+").partition("=")[0].split("."):
        config = config[part]
    assert config == text


def test_what_refers_to_such_a_name_has_its_text():
    assert compose(["run_dir=2024_11"]).callbacks.best.folder == "2024_11/checkpoints"


@pytest.mark.parametrize(
    ("options", "override"),
    [
        (["data=fake"], "data.image_shape=[1,12]"),
        (["data=fake"], "data.image_shape=[0,8,8]"),
        (["data=fake"], "data.image_shape=[1,1,1,8,8]"),
        (["data=fake"], "data.num_classes=0"),
        ([], "data.augment_share=nan"),
        (["data/augment=[affine]"], "data.augment.affine.fill=2"),
        (["data/augment=[affine]"], "data.augment.affine.scale=[0,1]"),
        (["data/augment=[affine]"], "data.augment.affine.degrees=.inf"),
        (["data/augment=[jitter]"], "data.augment.jitter.brightness=-0.1"),
        ([], "callbacks.collapse_guard.most_accuracy=1.5"),
        ([], "callbacks.collapse_guard.least_diversity=nan"),
        ([], "callbacks.best.mode=least"),
        (["schedule@model.schedule=cosine"], "model.schedule.warmup_images=-1"),
        (["schedule@model.schedule=cosine"], "model.schedule.over_images=0"),
        ([], "model.optimizer.lr=nan"),
        ([], "model.likelihood=abc"),
        ([], "model.likelihood=null"),
        ([], "model.encoder=3"),
        ([], "model.latent_dim={_target_:builtins.int}"),
    ],
)
def test_values_of_objects_that_would_crash_are_refused(options, override):
    key = override.partition("=")[0]
    assert refusal("train", *options, override).startswith(key)
