"""Deprecated names: each works until version 0.2, with a DeprecationWarning."""

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import ModuleSpec  # importlib.abc, with its base classes, takes 25 ms to import
from types import ModuleType
from typing import Any

# From old to new. Checkpoints and config.yaml hold such names as `_target_`, and plugins import them.
MODULES = {
    "lightning_gen.build": "lightning_gen.config",
    "lightning_gen.extractors.clips": "lightning_gen.extractors.video_clips",
    "lightning_gen.listing": "lightning_gen.config.options",
    "lightning_gen.loggers": "lightning_gen.training.loggers",
    "lightning_gen.metrics.kept_features": "lightning_gen.metrics.stored_features",
    "lightning_gen.metrics.neighbours": "lightning_gen.metrics.neighbors",
    "lightning_gen.networks.conditioning": "lightning_gen.networks.players",
    "lightning_gen.networks.vector_lstm": "lightning_gen.networks.recurrent_vector",
    "lightning_gen.optimizers": "lightning_gen.optim.muon",
    "lightning_gen.process_group": "lightning_gen.utilities.ranks",
    "lightning_gen.schedules": "lightning_gen.optim.schedules",
    "lightning_gen.suggestions": "lightning_gen.utilities.suggestions",
}
# The module of an old name ends in `__getattr__ = renamed(__name__)`.
OBJECTS = {
    "lightning_gen.bounds.Share": "lightning_gen.bounds.UnitInterval",
    "lightning_gen.callbacks.active_units.ActiveUnits": "lightning_gen.callbacks.active_units.LogActiveUnits",
    "lightning_gen.data.augment.normalise": "lightning_gen.data.augment.normalize",
    "lightning_gen.data.loader.normalise": "lightning_gen.data.augment.normalize",
    "lightning_gen.evaluation.build_extractors": "lightning_gen.evaluation.evaluator.build_extractors",
    "lightning_gen.evaluation.build_metrics": "lightning_gen.evaluation.evaluator.build_metrics",
    "lightning_gen.evaluation.evaluate": "lightning_gen.evaluation.evaluator.evaluate",
    "lightning_gen.extractors.video_clips.Clips": "lightning_gen.extractors.video_clips.VideoExtractor",
    "lightning_gen.losses.path_length.PathLength": "lightning_gen.losses.path_length.PathLengthPenalty",
    "lightning_gen.metrics.likelihood.Likelihood": "lightning_gen.metrics.likelihood.LikelihoodMetric",
    "lightning_gen.metrics.stored_features.KeptFeatures": "lightning_gen.metrics.stored_features.StoredFeaturesMetric",
    "lightning_gen.trainer.Trainer": "lightning_gen.trainer.ImageTrainer",
    "lightning_gen.utilities.ranks.Group": "lightning_gen.utilities.ranks.Ranks",
}


def renamed(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module that gives renamed objects by their old names."""

    def __getattr__(name: str) -> Any:
        old = f"{module}.{name}"
        if old not in OBJECTS:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(old, OBJECTS[old])
        new_module, _, new_name = OBJECTS[old].rpartition(".")
        return getattr(import_module(new_module), new_name)

    return __getattr__


def current_name(name: str) -> str:
    """The dotted name of an object today, by strings alone: nothing is imported."""
    module, _, attribute = name.rpartition(".")
    name = f"{MODULES.get(module, module)}.{attribute}" if module else name
    return OBJECTS.get(name, name)


def install() -> None:
    """Make modules importable by their old names."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        sys.meta_path.append(_OldModules())


def keep_overrides(cls: type, **new_names: str) -> None:
    """Give renamed methods (`old="new"`) of a base class both names in a subclass, whichever of them it overrides."""
    for old, new in new_names.items():
        # The class that defines the method: `cls`, or a mixin that is no subclass of the base.
        definer = next((base for base in cls.__mro__ if {old, new} & vars(base).keys()), cls)
        if old in vars(definer) and new not in vars(definer):
            warnings.warn(
                f"{cls.__module__}.{cls.__qualname__}.{old} is now {new}; the old name goes away in 0.2",
                DeprecationWarning,
                stacklevel=3,
            )
            setattr(cls, new, vars(definer)[old])
        elif new in vars(definer) and old not in vars(definer):
            setattr(cls, old, vars(definer)[new])


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is now {new}; the old name goes away in 0.2", DeprecationWarning, stacklevel=3)


class _OldModules:
    """Finder (asked after all others) and loader of modules that pass every attribute on from the new module."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        # pyrefly: ignore[bad-argument-type]  # a loader by its methods, as importlib.abc is slow to import
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def create_module(self, spec: ModuleSpec) -> None:
        """The default: an empty module."""

    def exec_module(self, module: ModuleType) -> None:
        _warn(module.__name__, MODULES[module.__name__])
        new = import_module(MODULES[module.__name__])

        def __getattr__(name: str) -> Any:
            if name == "__path__":  # a module, even where the new one is a package
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return getattr(new, name)

        module.__dict__.update(__getattr__=__getattr__, __dir__=lambda: dir(new))
