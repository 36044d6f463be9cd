"""Plugins: installed packages with a `conf/` folder, found through the entry-point group `lightning_gen.plugins`.

Nothing of a plugin is imported to find it: its code runs only when a chosen config targets it. docs/plugins.md is the
contract.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lightning_gen.errors import UserError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUP = "lightning_gen.plugins"
CORE = "lightning_gen"
PACKAGE = Path(__file__).parents[1]  # the folder of lightning_gen itself


@dataclass(frozen=True)
class Plugin:
    """A package that brings configs; `error` says why they are left out, and the fix.

    `name` is the entry point's, `distribution` what pip knows it by; `version` is empty for one that is not installed.
    """

    name: str
    package: str
    version: str
    conf_dir: Path | None
    error: str | None = None
    distribution: str = ""

    @property
    def source(self) -> str:
        return f"{self.name} {self.version}".strip()

    @property
    def fix(self) -> str:
        """What a user can do about a mistake in the plugin's own files."""
        return f"update it: pip install --upgrade {self.distribution}" if self.version else "fix it"

    def file(self, option: str) -> Path | None:
        """Its file of an option such as `model/vae`, whether it can be used or not."""
        path = self.conf_dir and self.conf_dir / f"{option}.yaml"
        return path if path and path.is_file() else None


def conf_dir() -> Path:
    """Core's own configs: inside the package when installed from a wheel, beside it in a checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


def is_checkout() -> bool:
    """True when the package is used from its source tree, so that other processes may not find it by name."""
    return conf_dir().parent != PACKAGE


def core_version() -> str:
    import tomllib
    from importlib.metadata import version

    if is_checkout():
        return tomllib.loads((conf_dir().parent / "pyproject.toml").read_text())["project"]["version"]
    return version("lightning-gen")


def discover() -> list[Plugin]:
    """Core first, then the installed plugins, then those named in LIGHTNING_GEN_PLUGINS; broken ones carry `error`."""
    disabled = set(_names("LIGHTNING_GEN_DISABLE"))
    core = core_version()
    found = {CORE: Plugin("core", CORE, core, conf_dir(), distribution="lightning-gen")}
    for name, package, distribution in _installed():
        if not {name, package} & disabled and package not in found:
            found[package] = _plugin(name, package, distribution, core)
    for package in _names("LIGHTNING_GEN_PLUGINS"):
        if package not in found and package not in disabled:
            found[package] = _plugin(package, package, None, core)
    return list(found.values())


def usable() -> list[Plugin]:
    """The plugins whose options can be chosen, core first."""
    return [plugin for plugin in discover() if plugin.error is None]


def owner(package: str) -> Plugin | None:
    """The plugin (not core) that brings a module, by its dotted name."""
    top = package.partition(".")[0]
    return next((p for p in discover() if p.package.partition(".")[0] == top and p.package != CORE), None)


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _installed() -> list[tuple[str, str, "Distribution"]]:
    """Name and package of each entry point with its distribution, sorted by name.

    One unreadable distribution must not hide the others, so they are read one by one; of two with one name the first
    on the path is the one that Python imports.
    """
    from importlib.metadata import distributions

    found: dict[tuple[str, str], Distribution] = {}
    for distribution in distributions():
        try:
            if GROUP in (distribution.read_text("entry_points.txt") or ""):
                for point in distribution.entry_points.select(group=GROUP):
                    found.setdefault((point.name, point.value.partition(":")[0].strip()), distribution)
        except Exception:
            continue
    return [
        (name, package, distribution) for (name, package), distribution in sorted(found.items(), key=lambda i: i[0])
    ]


def _plugin(name: str, package: str, distribution: "Distribution | None", core: str) -> Plugin:
    conf, error = _find_conf(package)
    if distribution is None:
        if error is not None and _add_this_folder(package):
            conf, error = _find_conf(package)
        fix = "; fix LIGHTNING_GEN_PLUGINS, or go to the folder that holds it"
        return Plugin(name, package, "", conf, error and error + fix)
    try:
        version, pip_name, unmet = distribution.version, distribution.name, _unmet(distribution, core)
    except Exception as failure:  # cut short, of another encoding, ...
        version, pip_name, unmet = "", name, None
        error = error or f"its metadata cannot be read ({failure})"
    if error is not None:
        error += f"; pip install --force-reinstall {pip_name}, or set LIGHTNING_GEN_DISABLE={name}"
    return Plugin(name, package, version, conf, error or unmet, pip_name)


def _add_this_folder(package: str) -> bool:
    """Let Python find a plugin that lies in the working directory, where the console command does not look."""
    here = Path.cwd()
    if str(here) in sys.path or not here.joinpath(*package.split(".")).is_dir():
        return False
    sys.path.append(str(here))
    return True


def _find_conf(package: str) -> tuple[Path | None, str | None]:
    """The folder conf/ of a package, or why there is none."""
    top, *rest = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except Exception as error:  # what finders that others have installed raise
        return None, f"package {package} cannot be found ({error})"
    if spec is None:
        return None, f"package {package} is not installed"
    for location in spec.submodule_search_locations or []:
        folder = Path(location, *rest, "conf")
        if folder.is_dir():
            return folder, None
    return None, f"package {package} has no conf/ folder"


def _unmet(distribution: "Distribution", core: str) -> str | None:
    """What a plugin's metadata ask of lightning-gen and this one is not, with the fix."""
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
        failing = [each for each in needed.specifier if not each.contains(core, prereleases=True)]
        if not failing:
            continue
        wants = f"it needs lightning-gen{needed.specifier} and this is {core}"
        newer = [
            each
            for each in failing
            if each.operator in (">=", ">", "~=", "==") and Version(each.version.rstrip(".*")) > Version(core)
        ]
        name = distribution.name
        if newer:
            return f"too new, {wants}; pip install --upgrade 'lightning-gen{needed.specifier}', or an older {name}"
        return f"too old, {wants}; pip install --upgrade {name}"
    return None


class Clash(NamedTuple):
    """An option that two plugins bring, such as `model/vae`: the first one found hides the other."""

    option: str
    owner: Plugin
    hidden: Plugin

    def __str__(self) -> str:
        return f"{self.option} of {self.hidden.source} is hidden by that of {self.owner.source}"


def clashes(plugins: list[Plugin]) -> list[Clash]:
    """Every option that two of the usable plugins bring."""
    owners: dict[str, list[Plugin]] = {}
    for plugin in plugins:
        for path in sorted(plugin.conf_dir.rglob("*.yaml")) if plugin.error is None else []:
            owners.setdefault(path.relative_to(plugin.conf_dir).with_suffix("").as_posix(), []).append(plugin)
    return [Clash(option, owner, hidden) for option, (owner, *others) in sorted(owners.items()) for hidden in others]


def check_choices(choices: Mapping[str, str | list[str] | None]) -> None:
    """UserError where a chosen option, by group, is one that two plugins bring: which is meant is not for us to say.

    Core's own options are never in doubt.
    """
    core, *plugins = usable()
    if len(plugins) < 2:
        return
    for place, chosen in choices.items():
        for name in chosen if isinstance(chosen, list) else [chosen]:
            option = f"{place.partition('@')[0]}/{name}"
            owners = [plugin for plugin in plugins if plugin.file(option)]
            if len(owners) > 1 and not core.file(option):
                both = " and ".join(plugin.source for plugin in owners)
                raise UserError(
                    f"{place}={name}: {both} both bring it; leave one out with LIGHTNING_GEN_DISABLE={owners[-1].name}"
                )


def add_to_search_path() -> None:
    """Let Hydra find the plugins' configs, after core's: a plugin adds options and cannot replace one."""
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    if any(issubclass(cls, _Marker) for cls in Plugins.instance().discover(SearchPathPlugin)):
        return

    class LightningGenSearchPath(_Marker, SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for plugin in usable():
                if plugin.package != CORE:
                    search_path.append(plugin.package, f"file://{plugin.conf_dir}")

    Plugins.instance().register(LightningGenSearchPath)


class _Marker:
    """Tells our search-path class from others without importing Hydra at module level."""
