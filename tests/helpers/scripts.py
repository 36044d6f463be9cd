"""Scripts as modules: the folder `scripts` is no package."""

import importlib.util
from types import ModuleType

from helpers import ROOT


def script(name: str) -> ModuleType:
    """The module of `scripts/<name>.py`."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
