"""`python -m lightning_gen` is the `lightning-gen` command; jobs and ranks run this file by its path."""

import os
import sys


def _order_path() -> None:
    """Search the user's folders last: a file `random.py` or `torch.py` there must not replace a package.

    `python -m` puts the working folder first, and a script its own folder, which is this package.
    """
    folders = [] if sys.flags.safe_path else [sys.path.pop(0)]
    if __spec__ is None:
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        _import_package(root)
        folders = [*os.environ.get("LIGHTNING_GEN_PATH", "").split(os.pathsep), root]  # from cli/launch.py
    sys.path += [folder for folder in folders if folder and folder not in sys.path]


def _import_package(root: str) -> None:
    """Import the package that this file belongs to, which may be a source tree, and not another one."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec("lightning_gen", [root])
    assert spec is not None
    assert spec.loader is not None
    sys.modules["lightning_gen"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _order_path()
    from lightning_gen.cli import main

    sys.exit(main())
