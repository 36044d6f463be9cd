"""Renamed modules and objects: the old names work and warn, in imports, configs and checkpoints."""

import importlib
import sys
import warnings

import pytest
import torch
from helpers.tiny_models import TINY_VAE, write_checkpoint

from lightning_gen.checkpoint import load_model
from lightning_gen.config import compose, instantiate
from lightning_gen.config.validation import locate
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY, ImageGenerator
from lightning_gen.utilities.renames import MODULES, OBJECTS

# What the plugins and templates of commit 82de0da import from modules that have moved, or under names that changed.
IMPORTED = {
    "lightning_gen.bounds": ["PositiveFloat", "PositiveInt", "Share"],
    "lightning_gen.build": ["build_data", "build_model"],
    "lightning_gen.checkpoint": ["KEY", "load_model", "provenance"],
    "lightning_gen.config": ["compose", "instantiate"],
    "lightning_gen.data.augment": ["augmented", "normalise"],
    "lightning_gen.data.loader": ["EvaluationBatches", "normalise"],
    "lightning_gen.evaluation": ["build_extractors", "build_metrics", "evaluate"],
    "lightning_gen.listing": ["list_options"],
    "lightning_gen.process_group": ["Group"],
    "lightning_gen.suggestions": ["did_you_mean"],
}


def old_object(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.fixture(params=MODULES)
def old_module(request, monkeypatch):
    """A module's old name, not imported yet."""
    parent, _, attribute = request.param.rpartition(".")
    monkeypatch.delitem(sys.modules, request.param, raising=False)
    monkeypatch.delattr(importlib.import_module(parent), attribute, raising=False)
    return request.param


def test_old_modules(old_module):
    new = importlib.import_module(MODULES[old_module])
    with pytest.warns(DeprecationWarning, match=f"^{old_module} is now {MODULES[old_module]};"):
        old = importlib.import_module(old_module)
    public = [name for name in vars(new) if not name.startswith("_")]
    assert public
    assert all(getattr(old, name) is getattr(new, name) for name in public)
    assert set(public) <= set(dir(old))
    with pytest.raises(AttributeError, match="no_such"):
        old.no_such  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match="not a package"):
        importlib.import_module(f"{old_module}.no_such")


@pytest.mark.parametrize("name", OBJECTS)
def test_old_objects(name):
    with pytest.warns(DeprecationWarning, match=f"^{name} is now {OBJECTS[name]};") as caught:
        old = old_object(name)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert old_object(OBJECTS[name]) is old
    with pytest.raises(AttributeError, match="no_such"):
        old_object(f"{name.rpartition('.')[0]}.no_such")


@pytest.mark.parametrize("module", IMPORTED)
def test_imports_of_old_plugins(module):
    assert all(old_object(f"{module}.{name}") is not None for name in IMPORTED[module])


@pytest.mark.parametrize("name", [*MODULES, *OBJECTS])
def test_checks_find_old_names(name):
    assert locate(name, "_target_") is not None


def test_a_typing_error_in_an_old_module_is_told():
    with pytest.raises(UserError, match=r"has no cosin; did you mean cosine\?$"):
        locate("lightning_gen.schedules.cosin", "_target_")
    with pytest.raises(ImportError, match="no_such"):
        from lightning_gen.schedules import no_such  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"lightning_gen\.no_such"):
        importlib.import_module("lightning_gen.no_such")


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("lightning_gen.schedules.cosine", {"_partial_": True}),
        ("lightning_gen.networks.conditioning.PlainDiscriminator", {"_partial_": True}),
        ("lightning_gen.extractors.clips.Clips", {"_partial_": True}),
        ("lightning_gen.optimizers.MuonWithAdamW", {"_partial_": True}),
        ("lightning_gen.loggers.CSV", {"folder": "."}),
        ("lightning_gen.trainer.Trainer", {"_partial_": True}),
    ],
)
def test_configs_with_old_targets_instantiate(target, arguments):
    made = instantiate({"_target_": target, **arguments})
    assert getattr(made, "func", type(made)) is old_object(target)


def test_configs_with_old_targets_compose():
    config = compose(
        ["trainer._target_=lightning_gen.trainer.Trainer", "logger.csv._target_=lightning_gen.loggers.CSV"]
    )
    assert config.trainer._target_ == "lightning_gen.trainer.Trainer"


def test_checkpoints_with_old_targets_load(tmp_path):
    path = tmp_path / "old.ckpt"
    write_checkpoint(path, *TINY_VAE)
    content = torch.load(path, weights_only=True)
    schedule = {"_target_": "lightning_gen.schedules.cosine", "_partial_": True}
    content[KEY]["config"]["model"]["schedule"] = schedule
    torch.save(content, path)
    assert load_model(path).sample(2).shape[0] == 2


def test_a_mixin_may_override_a_method_by_its_old_name():
    class Inverted:
        def observe(self, images):
            return -images

    with pytest.warns(DeprecationWarning, match="observe is now to_support"):

        class InvertedGenerator(Inverted, ImageGenerator):
            pass

    images = torch.ones(2)
    assert torch.equal(InvertedGenerator.to_support(None, images), -images)
