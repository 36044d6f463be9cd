"""Write a new plugin package, ready to install, test and train.

usage: lightning-gen new-plugin NAME --kind KIND

KIND is model, network, loss, penalty, likelihood, data, augment, metric, extractor, callback or logger. The package
is written into the folder NAME: a working example of its kind, with its config and its tests.
"""

import importlib.util
import keyword
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from lightning_gen.config.options import list_options
from lightning_gen.config.plugins import PACKAGE, core_version
from lightning_gen.errors import UserError
from lightning_gen.utilities.suggestions import did_you_mean

TEMPLATES = PACKAGE / "templates"
# For each kind: the config group, a description, and a command that uses the option.
KINDS = {
    "model": ("model", "A VAE with free bits", "train model={}"),
    "network": ("network", "A ConvMixer encoder", "train network@model.encoder={}"),
    "loss": ("model/loss", "The relativistic average loss of GANs", "train model=dcgan model/loss={}"),
    "penalty": ("model/penalty", "A penalty on the drift of logits", "train model=dcgan model/penalty=[{}]"),
    "likelihood": ("model/likelihood", "The continuous Bernoulli likelihood", "train model/likelihood={}"),
    "data": ("data", "Discs, squares and crosses", "train data={}"),
    "augment": ("data/augment", "Cutout of training images", "train data/augment=[{}]"),
    "metric": ("metrics", "Sharpness of samples", "train metrics=[{}]"),
    "extractor": ("extractor", "Histograms of oriented gradients", "train metrics=[kid] extractor=[{}]"),
    "callback": ("callbacks", "The length of the weights", "train callbacks=[log_terms,progress,checkpoint,{}]"),
    "logger": ("logger", "Logs as lines of JSON", "train logger=[csv,{}]"),
}
USAGE = "lightning-gen new-plugin NAME --kind KIND"


def run(arguments: list[str]) -> int:
    """Write the package into ./NAME and print the next steps."""
    name, kind = _parse(arguments)
    package = name.replace("-", "_")
    option = package.removeprefix("lightning_gen_")
    group, description, command = KINDS[kind]
    folder = Path(name)
    _check_name(name, package)
    _check_option(group, option)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"new-plugin {name}: {folder.absolute()} is there already; choose another name or folder")
    replacements = {
        "my_plugin": package,
        "my-plugin": package.replace("_", "-"),
        "my_option": option,
        "MyOption": "".join(word.capitalize() for word in option.split("_")),
        ">=0.0.0": _version_range(core_version()),
        "DESCRIPTION": f"{description}, for lightning-gen",
    }
    for path in [*_template_files("shared"), *_template_files(kind)]:
        target = folder / _replaced(path.as_posix().partition("/")[2].replace("dot_", "."), replacements)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_replaced((TEMPLATES / path).read_text(), replacements))
    python, lightning_gen = _interpreter()
    print(f"{folder}/ is written; its code is {folder}/{package}/__init__.py. Next:")
    print(f"  cd {folder} && {python} -m pip install --editable '.[test]'")
    print(f"  {python} -m pytest")
    print(f"  {lightning_gen} {command.format(option)} trainer.max_images=100_000")
    return 0


def _parse(arguments: list[str]) -> tuple[str, str]:
    names, kinds, rest = [], [], list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--kind" and rest:
            kinds.append(rest.pop(0))
        elif argument.startswith("--kind="):
            kinds.append(argument.partition("=")[2])
        elif argument.startswith("-"):
            raise UserError(f"new-plugin {argument}: no such flag; write {USAGE}")
        else:
            names.append(argument)
    if len(names) != 1 or len(kinds) != 1:
        raise UserError(f"new-plugin needs a name and a kind; write {USAGE}; kinds: {', '.join(KINDS)}")
    if kinds[0] not in KINDS:
        fix = did_you_mean(kinds[0], KINDS, "--kind {}") or f"; kinds: {', '.join(KINDS)}"
        raise UserError(f"--kind {kinds[0]}: no such kind{fix}")
    return names[0], kinds[0]


def _check_name(name: str, package: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", name) or keyword.iskeyword(package):
        raise UserError(
            f"new-plugin {name}: not a name for a package; use lower-case letters, digits and underscores, as my_vae"
        )
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if package in sys.stdlib_module_names or (spec is not None and spec.origin is not None):
        raise UserError(f"new-plugin {name}: there is a package {package} already; choose another name")


def _check_option(group: str, option: str) -> None:
    for other in list_options(group):
        if other.name == option:
            raise UserError(
                f"new-plugin {option}: {group}={option} is there already, of {other.source}; choose another name"
            )


def _version_range(core: str) -> str:
    """From this version of lightning-gen to the next major one, as in `>=0.1,<1`."""
    major, minor = re.findall(r"\d+", core)[:2]
    return f">={major}.{minor},<{int(major) + 1}"


def _template_files(kind: str) -> Iterator[Path]:
    """The files of a template, relative to the templates' folder."""
    for path in sorted((TEMPLATES / kind).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(TEMPLATES)


def _replaced(text: str, replacements: dict[str, str]) -> str:
    return re.sub("|".join(replacements), lambda match: replacements[match[0]], text)


def _interpreter() -> tuple[str, str]:
    """This Python and our command as a user types them: by name in an active environment, else by path."""
    active = shutil.which("python")
    if active and os.path.dirname(active) == os.path.dirname(sys.executable):
        return "python", "lightning-gen"
    return sys.executable, f"{sys.executable} -m lightning_gen"
