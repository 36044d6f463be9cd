"""Checkpoints that plugins bring: each is an option of the config group `zoo`, `conf/zoo/NAME.yaml` of its plugin.

The file has one key, `checkpoint`: a folder of the plugin's package, or `hf://user/name@revision`. Its first comment is
the description in `lightning-gen list zoo`.
"""

from pathlib import Path

from lightning_gen.config.options import options_of
from lightning_gen.config.plugins import CORE, Plugin, usable
from lightning_gen.config.saved import plain_yaml
from lightning_gen.errors import UserError
from lightning_gen.origins import hub
from lightning_gen.utilities.suggestions import did_you_mean

PREFIX, GROUP = "zoo:", "zoo"
INSTALL = "pip install lightning-gen-zoo"


def checkpoint(typed: str, key: str) -> str:
    """The folder, or the address `hf://...`, of `zoo:NAME`; UserError for an unknown name."""
    name = typed.removeprefix(PREFIX)
    options = [option.name for option in options_of(GROUP)]
    if name not in options:
        fix = did_you_mean(name, options) or f"; lightning-gen list zoo: {', '.join(options)}"
        raise UserError(f"{key}={typed}: no such checkpoint{fix if options else f'; {INSTALL}'}")
    plugin = next(plugin for plugin in usable() if plugin.has(f"{GROUP}/{name}"))
    return _target(plugin, name, f"{key}={typed}")


def _target(plugin: Plugin, name: str, origin: str) -> str:
    content = plain_yaml(plugin.conf_dir / GROUP / f"{name}.yaml", origin)
    place = content.get("checkpoint") if isinstance(content, dict) else None
    if isinstance(place, str) and place.startswith(hub.PREFIX):
        return place
    root = plugin.conf_dir.parent.resolve()
    folder = (root / str(place)).resolve()
    if not isinstance(place, str) or not folder.is_relative_to(root) or not folder.is_dir():
        problem = f"checkpoint={place} is no folder of {plugin.package} and no hf:// address"
        raise UserError(f"{origin}: {problem}; {plugin.source} is damaged, {plugin.fix}")
    return str(folder)


def name_of(path: Path) -> str | None:
    """The name of a checkpoint's folder, if that is in the package of a plugin."""
    path = path.resolve()
    plugins = [plugin for plugin in usable() if plugin.package != CORE]
    inside = any(path.is_relative_to(plugin.conf_dir.parent.resolve()) for plugin in plugins)
    return path.parent.name if inside else None
