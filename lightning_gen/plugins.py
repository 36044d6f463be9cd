"""Plugins: installed packages with a `conf/` folder, found through the entry-point group `lightning_gen.plugins`.

Nothing of a plugin is imported to find it: its code runs only when a chosen config targets it.
"""

import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GROUP = "lightning_gen.plugins"
CORE = "lightning_gen"


@dataclass(frozen=True)
class Plugin:
    """A package that brings configs; `error` says why it cannot be used (then `conf_dir` is None)."""

    name: str
    package: str
    version: str
    conf_dir: Path | None
    error: str | None = None

    @property
    def source(self) -> str:
        return f"{self.name} {self.version}".strip()


def conf_dir() -> Path:
    """Core's own configs: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def is_checkout() -> bool:
    """True when the package is used from its source tree, so that other processes may not find it by name."""
    return conf_dir().parent != Path(__file__).parent


def core_version() -> str:
    import tomllib
    from importlib.metadata import version

    if is_checkout():
        return tomllib.loads((conf_dir().parent / "pyproject.toml").read_text())["project"]["version"]
    return version("lightning-gen")


def discover() -> list[Plugin]:
    """Core first, then the installed plugins, then those named in LIGHTNING_GEN_PLUGINS; broken ones carry `error`."""
    disabled = set(_names("LIGHTNING_GEN_DISABLE"))
    found = {(CORE, "core"): Plugin("core", CORE, core_version(), conf_dir())}
    for name, package, version in [*_installed(), *((name, name, "") for name in _names("LIGHTNING_GEN_PLUGINS"))]:
        if package != CORE and name not in disabled and package not in {key[0] for key in found}:
            found[package, name] = _plugin(name, package, version)
    return list(found.values())


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _installed() -> Iterator[tuple[str, str, str]]:
    """Name, package and version of each entry point, sorted by name.

    One unreadable distribution must not hide the others, so they are read one by one.
    """
    from importlib.metadata import distributions

    found = []
    for distribution in distributions():
        try:
            if GROUP in (distribution.read_text("entry_points.txt") or ""):
                points = distribution.entry_points.select(group=GROUP)
                found += [(point.name, point.value.partition(":")[0].strip(), distribution.version) for point in points]
        except Exception:
            continue
    return iter(sorted(found))


def _plugin(name: str, package: str, version: str) -> Plugin:
    top, *rest = package.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError) as error:
        return Plugin(name, package, version, None, f"package {package} cannot be found: {error}")
    if spec is None:
        return Plugin(name, package, version, None, f"package {package} is not installed")
    for location in spec.submodule_search_locations or []:
        folder = Path(location, *rest, "conf")
        if folder.is_dir():
            return Plugin(name, package, version, folder)
    return Plugin(name, package, version, None, f"package {package} has no conf/ folder")


def clashes(plugins: list[Plugin]) -> list[str]:
    """One line for each option that two sources bring: the first one found hides the others."""
    owners: dict[str, list[Plugin]] = {}
    for plugin in plugins:
        for path in sorted(plugin.conf_dir.rglob("*.yaml")) if plugin.conf_dir else []:
            owners.setdefault(path.relative_to(plugin.conf_dir).with_suffix("").as_posix(), []).append(plugin)
    return [
        f"{option} of {hidden.source} is hidden by that of {owner.source}"
        for option, (owner, *others) in sorted(owners.items())
        for hidden in others
    ]


def add_to_search_path() -> None:
    """Let Hydra find the plugins' configs, after core's: a plugin adds options and cannot replace one."""
    from hydra.core.config_search_path import ConfigSearchPath
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    if any(issubclass(cls, _Marker) for cls in Plugins.instance().discover(SearchPathPlugin)):
        return

    class LightningGenSearchPath(_Marker, SearchPathPlugin):
        def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
            for plugin in discover():
                if plugin.conf_dir and plugin.package != CORE:
                    search_path.append(plugin.package, f"file://{plugin.conf_dir}")

    Plugins.instance().register(LightningGenSearchPath)


class _Marker:
    """Tells our search-path class from others without importing Hydra at module level."""
