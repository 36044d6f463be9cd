"""List the config groups and their options.

usage: lightning-gen list [GROUP] [--json]

With a GROUP, such as `model`: its options, each with its description and the plugin that it is from.
--json prints them for scripts: group, name, description and source of each option.
"""

import json
import sys

from lightning_gen.config.options import FOLDERS, Option, describe_all, list_groups, list_options
from lightning_gen.config.plugins import broken, clashes, usable
from lightning_gen.errors import UserError
from lightning_gen.utilities.printable import printable


def run(arguments: list[str]) -> int:
    """Print every group with its options, or the options of one group with their descriptions and plugins."""
    groups = [argument.strip("/") for argument in arguments if argument != "--json"]
    if len(groups) > 1:
        raise UserError(f"list {' '.join(groups)}: list takes one group")
    if "--json" in arguments:
        print(json.dumps(_as_json(groups or list_groups()), indent=1))
    else:
        print("\n".join(map(printable, _describe_group(groups[0]) if groups else describe_all())))
    for plugin in broken():
        print(printable(f"plugin {plugin.source} is left out: {plugin.error}"), file=sys.stderr)
    for clash in clashes(usable()):
        print(printable(str(clash)), file=sys.stderr)
    return 0


def _as_json(groups: list[str]) -> list[dict[str, str]]:
    return [{"group": group, **option._asdict()} for group in groups for option in _options(group)]


def _describe_group(group: str) -> list[str]:
    options = _options(group)
    name_width = max(len(option.name) for option in options)
    text_width = max(len(option.description) for option in options)
    rows = [f"{o.name:<{name_width}}  {o.description:<{text_width}}  {o.source}" for o in options]
    return [row.rstrip() for row in rows]


def _options(group: str) -> list[Option]:
    """The options of a group, or of a folder of it; UserError if there are none."""
    top, _, folder = group.partition("/")
    if top in FOLDERS and folder:
        options = [option for option in list_options(top) if option.name.startswith(f"{folder}/")]
        if options:
            return options
    return list_options(group)
