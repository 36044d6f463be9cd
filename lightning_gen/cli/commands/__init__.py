"""The commands: `sample.py` is `lightning-gen sample`.

The first line of a module's docstring is the command's line in `lightning-gen --help`, and the docstring is the start
of `lightning-gen <command> --help`. Each module has a function `run`. A command with a config has a file
`conf/<command>.yaml` too, and its `run` takes a `Job`; any other `run` takes the arguments and returns the exit status.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from lightning_gen.config.plugins import conf_dir

# The order of `lightning-gen --help`; other modules in this folder follow.
_ORDER = [
    "train",
    "tune",
    "evaluate",
    "sample",
    "interpolate",
    "project",
    "neighbors",
    "predict",
    "complete",
    "classify",
    "export",
    "push",
    "inspect",
    "convert",
    "estimate",
    "list",
    "explain",
    "compare",
    "runs",
    "report",
    "view",
    "doctor",
    "completion",
    "new-plugin",
    "new-sbatch",
]
_NAMES = {path.stem.replace("_", "-") for path in Path(__file__).parent.glob("[!_]*.py")}
COMMANDS = _ORDER + sorted(_NAMES.difference(_ORDER))


def has_config(command: str) -> bool:
    """Whether a command is configured by `key=value` overrides of its YAML file."""
    return (conf_dir() / f"{command}.yaml").is_file()


def load_run(command: str) -> Callable:
    """Import a command's module and return its function `run`."""
    with _without_collection():
        return import_module(f"{__name__}.{_module(command)}").run


@contextmanager
def _without_collection() -> Iterator[None]:
    """Within it no garbage is looked for: what imports make stays, and to search it again and again takes half a second
    of the four that torch and Lightning need.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def description(command: str) -> str:
    """The docstring of a command's module, read without importing it."""
    source = Path(__file__).with_name(f"{_module(command)}.py").read_text()
    return source.removeprefix('"""').partition('"""')[0].rstrip()


def summary(command: str) -> str:
    """The first line of a command's description."""
    return description(command).splitlines()[0].rstrip(".")


def _module(command: str) -> str:
    return command.replace("-", "_")
