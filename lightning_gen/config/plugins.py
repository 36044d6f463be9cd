"""Plugins: installed packages with a `conf/` folder, found through the entry-point group `lightning_gen.plugins`.

A plugin is not imported to be found: its code runs only when a chosen config targets it. The contract is
docs/plugins.md.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lightning_gen.errors import UserError
from lightning_gen.utilities.compat import register_search_path

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUP = "lightning_gen.plugins"
CORE = "lightning_gen"
PACKAGE = Path(__file__).parents[1]  # the folder of lightning_gen itself


@dataclass(frozen=True, kw_only=True)
class _Package:
    name: str  # of the entry point
    package: str  # that Python imports
    version: str = ""  # empty if it is not installed
    distribution: str = ""  # as pip names it

    @property
    def source(self) -> str:
        """Name and version, for messages."""
        return f"{self.name} {self.version}".strip()

    @property
    def fix(self) -> str:
        """How a user gets rid of a mistake in the package's own files."""
        return f"update it: pip install --upgrade {self.distribution}" if self.version else "fix it"


@dataclass(frozen=True, kw_only=True)
class Plugin(_Package):
    """A package whose configs can be chosen."""

    conf_dir: Path

    def has(self, option: str) -> bool:
        """Whether there is a file for an option such as `model/vae`."""
        return (self.conf_dir / f"{option}.yaml").is_file()


@dataclass(frozen=True, kw_only=True)
class BrokenPlugin(_Package):
    """A package whose configs are left out: `error` is the reason and the fix. It may have no `conf_dir`."""

    error: str
    conf_dir: Path | None

    def has(self, option: str) -> bool:
        """Whether there is a file for an option such as `model/vae`."""
        return self.conf_dir is not None and (self.conf_dir / f"{option}.yaml").is_file()


def conf_dir() -> Path:
    """Core's own configs: inside the package when installed from a wheel, beside it in a checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


def is_checkout() -> bool:
    """True when the package is used from its source tree, so that other processes may not find it by name."""
    return conf_dir().parent != PACKAGE


@cache
def core_version() -> str:
    """The version of lightning-gen itself."""
    import tomllib
    from importlib.metadata import version

    if is_checkout():
        return tomllib.loads((conf_dir().parent / "pyproject.toml").read_text())["project"]["version"]
    return version("lightning-gen")


def discover() -> list[Plugin | BrokenPlugin]:
    """Core first, then the installed plugins by name, then those that LIGHTNING_GEN_PLUGINS names."""
    disabled = set(_names_in("LIGHTNING_GEN_DISABLE"))
    core = Plugin(name="core", package=CORE, version=core_version(), conf_dir=conf_dir(), distribution="lightning-gen")
    plugins: dict[str, Plugin | BrokenPlugin] = {CORE: core}
    for name, package, distribution in _installed():
        if not {name, package} & disabled and package not in plugins:
            plugins[package] = _installed_plugin(name, package, distribution, core.version)
    for package in _names_in("LIGHTNING_GEN_PLUGINS"):
        if package not in plugins and package not in disabled:
            plugins[package] = _local_plugin(package)
    return list(plugins.values())


def usable() -> list[Plugin]:
    """The plugins whose options can be chosen, core first."""
    return [plugin for plugin in discover() if isinstance(plugin, Plugin)]


def broken() -> list[BrokenPlugin]:
    """The plugins that are left out."""
    return [plugin for plugin in discover() if isinstance(plugin, BrokenPlugin)]


def owner(module: str) -> Plugin | BrokenPlugin | None:
    """The plugin that a module, by its dotted name, belongs to; None for core and everything else."""
    top = module.partition(".")[0]
    return next((p for p in discover() if p.package.partition(".")[0] == top and p.package != CORE), None)


def _names_in(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _installed() -> list[tuple[str, str, "Distribution"]]:
    """Name and package of each entry point with its distribution, sorted by name.

    They are read again only if a folder of the path has changed: a command asks for them a dozen times.
    """
    return _installed_in(tuple((folder, _changed(folder)) for folder in sys.path))


def _changed(folder: str) -> int:
    """When an entry of `sys.path` has last changed; 0 if there is none."""
    with suppress(OSError):
        return os.stat(folder or os.curdir).st_mtime_ns
    return 0


@cache
def _installed_in(path: tuple[tuple[str, int], ...]) -> "list[tuple[str, str, Distribution]]":
    """What `_installed` returns, for `sys.path` and the times when its folders have changed.

    They are read one by one: an unreadable distribution must not hide the others. Of two installations of one package
    the first on the path counts, which is the one that Python imports.
    """
    from importlib.metadata import distributions

    points: dict[tuple[str, str], Distribution] = {}
    for distribution in distributions():
        try:
            if GROUP in (distribution.read_text("entry_points.txt") or ""):
                for point in distribution.entry_points.select(group=GROUP):
                    points.setdefault((point.name, point.value.partition(":")[0].strip()), distribution)
        except Exception:
            continue
    return [(name, package, points[name, package]) for name, package in sorted(points)]


def _installed_plugin(name: str, package: str, distribution: "Distribution", core: str) -> Plugin | BrokenPlugin:
    conf, error = _find_conf(package)
    try:
        version, pip_name, unmet = distribution.version, distribution.name, _unmet_requirement(distribution, core)
    except Exception as failure:  # cut short, of another encoding, ...
        version, pip_name, unmet = "", name, None
        error = error or f"its metadata cannot be read ({failure})"
    if error is not None:
        error += f"; pip install --force-reinstall {pip_name}, or set LIGHTNING_GEN_DISABLE={name}"
    return _plugin(conf, error or unmet, name=name, package=package, version=version, distribution=pip_name)


def _local_plugin(package: str) -> Plugin | BrokenPlugin:
    """A package that LIGHTNING_GEN_PLUGINS names, installed or in the working directory."""
    conf, error = _find_conf(package)
    if error is not None and _add_working_directory(package):
        conf, error = _find_conf(package)
    if error is not None:
        fix = "fix LIGHTNING_GEN_PLUGINS, or go to the folder that holds it"
        if Path(package, package, "conf").is_dir():  # as `lightning-gen new-plugin` makes it
            fix = f"it is in the folder {package}: go there"
        error += f"; {fix}"
    return _plugin(conf, error, name=package, package=package)


def _plugin(conf: Path | None, error: str | None, **package: str) -> Plugin | BrokenPlugin:
    if error is None and conf is not None:
        return Plugin(conf_dir=conf, **package)
    return BrokenPlugin(conf_dir=conf, error=error or "", **package)


def _add_working_directory(package: str) -> bool:
    """Let Python find a package in the working directory, where the console command does not look."""
    here = Path.cwd()
    if str(here) in sys.path or not here.joinpath(*package.split(".")).is_dir():
        return False
    sys.path.append(str(here))
    return True


def _find_conf(package: str) -> tuple[Path | None, str | None]:
    """The folder conf/ of a package, or None and the reason."""
    top, *rest = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except Exception as error:  # finders of other packages raise anything
        return None, f"package {package} cannot be found ({error})"
    if spec is None:
        return None, f"package {package} is not installed"
    for location in spec.submodule_search_locations or []:
        folder = Path(location, *rest, "conf")
        if folder.is_dir():
            return folder, None
    return None, f"package {package} has no conf/ folder"


def _unmet_requirement(distribution: "Distribution", core: str) -> str | None:
    """The requirement of a plugin on lightning-gen that this version does not meet, with the fix."""
    for text in distribution.requires or []:
        if not re.match(r"lightning[-_.]gen(?![-_.\w])", text, re.IGNORECASE):
            continue
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.version import Version

        try:
            needed = Requirement(text)
        except InvalidRequirement:
            return f"its metadata ask for {text!r}, which is no requirement; tell its author"
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        failing = [clause for clause in needed.specifier if not clause.contains(core, prereleases=True)]
        if not failing:
            continue
        wants = f"it needs lightning-gen{needed.specifier} and this is {core}"
        needs_newer = any(
            clause.operator in (">=", ">", "~=", "==") and Version(clause.version.rstrip(".*")) > Version(core)
            for clause in failing
        )
        name = distribution.name
        if needs_newer:
            return f"too new, {wants}; pip install --upgrade 'lightning-gen{needed.specifier}', or an older {name}"
        return f"too old, {wants}; pip install --upgrade {name}"
    return None


class Clash(NamedTuple):
    """An option of two plugins, such as `model/vae`. Core's comes first; of two plugins', neither can be chosen."""

    option: str
    owner: Plugin
    hidden: Plugin

    def __str__(self) -> str:
        return f"{self.option} of {self.hidden.source} is hidden by that of {self.owner.source}"


def clashes(plugins: Iterable[Plugin]) -> list[Clash]:
    """Every option of more than one plugin."""
    owners: dict[str, list[Plugin]] = {}
    for plugin in plugins:
        for path in sorted(plugin.conf_dir.rglob("*.yaml")):
            owners.setdefault(path.relative_to(plugin.conf_dir).with_suffix("").as_posix(), []).append(plugin)
    return [Clash(option, owner, hidden) for option, (owner, *others) in sorted(owners.items()) for hidden in others]


def check_choices(choices: Mapping[str, str | list[str] | None]) -> None:
    """Raise UserError for a chosen option (group: option) of two plugins, as either may be meant; core's come first."""
    core, *plugins = usable()
    if len(plugins) < 2:
        return
    for group, chosen in choices.items():
        names = chosen if isinstance(chosen, list) else [chosen]
        for name in names:
            option = f"{group.partition('@')[0]}/{name}"
            owners = [plugin for plugin in plugins if plugin.has(option)]
            if len(owners) > 1 and not core.has(option):
                both = " and ".join(plugin.source for plugin in owners)
                raise UserError(
                    f"{group}={name}: {both} both define it; leave one out with LIGHTNING_GEN_DISABLE={owners[-1].name}"
                )


def add_to_search_path() -> None:
    """Let Hydra find the plugins' configs, after core's: a plugin adds options and cannot replace one."""
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class LightningGenSearchPath(SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for plugin in usable():
                if plugin.package != CORE:
                    search_path.append(plugin.package, f"file://{plugin.conf_dir}")

    register_search_path(LightningGenSearchPath)
