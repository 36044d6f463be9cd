"""What `lightning-gen doctor fix=true` repairs: missing packages, and what killed processes have left in the cache."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lightning_gen.data.cache import cache_dir
from lightning_gen.utilities.atomic_files import remove_leftovers


def repair(missing: Sequence[str]) -> Iterator[str]:
    """Repair what can be, with a line for each thing; `missing` packages are installed after a question."""
    before = set(_files(cache_dir()))
    for folder in {path.parent for path in before}:
        remove_leftovers(folder)
    removed = before - set(_files(cache_dir()))
    yield f"removed {len(removed)} unfinished files from {cache_dir()}" if removed else "no unfinished files"
    if missing:
        yield _install(missing)


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _install(packages: Sequence[str]) -> str:
    command = [*_installer(), *packages]
    shown = " ".join(command)
    if not sys.stdin.isatty() or input(f"run {shown}? [y/N] ").strip().lower() not in ("y", "yes"):
        return f"not installed: {shown}"
    status = subprocess.run(command).returncode
    return f"installed {', '.join(packages)}" if status == 0 else f"! {shown} failed with exit status {status}"


def _installer() -> list[str]:
    """pip of this Python, or uv where an environment has none."""
    if importlib.util.find_spec("pip") is None and (uv := shutil.which("uv")):
        return [uv, "pip", "install", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install"]
