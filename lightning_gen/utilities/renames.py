"""Names that have changed: the old ones work until the next minor version, and warn."""

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# Modules, then objects. Checkpoints and config.yaml hold such names as `_target_`, and plugins import them.
RENAMED = {
    "lightning_gen.build": "lightning_gen.config",
    "lightning_gen.extractors.clips": "lightning_gen.extractors.video_clips",
    "lightning_gen.listing": "lightning_gen.config.options",
    "lightning_gen.loggers": "lightning_gen.training.loggers",
    "lightning_gen.metrics.kept_features": "lightning_gen.metrics.stored_features",
    "lightning_gen.metrics.neighbours": "lightning_gen.metrics.neighbors",
    "lightning_gen.networks.conditioning": "lightning_gen.networks.players",
    "lightning_gen.optimizers": "lightning_gen.optim.muon",
    "lightning_gen.process_group": "lightning_gen.utilities.ranks",
    "lightning_gen.schedules": "lightning_gen.optim.schedules",
    "lightning_gen.suggestions": "lightning_gen.utilities.suggestions",
    "lightning_gen.bounds.Share": "lightning_gen.bounds.UnitInterval",
    "lightning_gen.callbacks.active_units.ActiveUnits": "lightning_gen.callbacks.active_units.LogActiveUnits",
    "lightning_gen.evaluation.build_extractors": "lightning_gen.evaluation.evaluator.build_extractors",
    "lightning_gen.evaluation.build_metrics": "lightning_gen.evaluation.evaluator.build_metrics",
    "lightning_gen.evaluation.evaluate": "lightning_gen.evaluation.evaluator.evaluate",
    "lightning_gen.extractors.video_clips.Clips": "lightning_gen.extractors.video_clips.VideoExtractor",
    "lightning_gen.metrics.likelihood.Likelihood": "lightning_gen.metrics.likelihood.LikelihoodMetric",
    "lightning_gen.metrics.stored_features.KeptFeatures": "lightning_gen.metrics.stored_features.StoredFeaturesMetric",
    "lightning_gen.trainer.Trainer": "lightning_gen.trainer.ImageTrainer",
}


def renamed(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module that gives renamed objects by their old names."""

    def __getattr__(name: str) -> Any:
        old = f"{module}.{name}"
        if old not in RENAMED:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(old)
        home, _, new_name = RENAMED[old].rpartition(".")
        return getattr(import_module(home), new_name)

    return __getattr__


def install() -> None:
    """Make modules importable by their old names."""
    if not any(isinstance(finder, _OldNames) for finder in sys.meta_path):
        sys.meta_path.append(_OldNames())


def _warn(old: str) -> None:
    warnings.warn(f"{old} is now {RENAMED[old]}; the old name goes away in 0.2", DeprecationWarning, stacklevel=3)


class _OldNames(MetaPathFinder, Loader):
    """Asked after all other finders; a module of an old name hands every attribute on to the new one."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in RENAMED else None

    def exec_module(self, module: ModuleType) -> None:
        _warn(module.__name__)
        new = import_module(RENAMED[module.__name__])
        module.__dict__["__getattr__"] = lambda name: getattr(new, name)
