"""List the config groups and their options.

usage: lightning-gen list [GROUP]

With a GROUP, such as `model`: its options, each with its description and the plugin that it is from.
"""

import sys

from lightning_gen.config.options import FOLDERS, describe_all, list_groups, list_options
from lightning_gen.config.plugins import broken, clashes, usable
from lightning_gen.errors import UserError
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.suggestions import closest, did_you_mean


def run(arguments: list[str]) -> int:
    """Print every group with its options, or the options of one group with their descriptions and plugins."""
    if len(arguments) > 1:
        raise UserError(f"list {' '.join(arguments)}: list takes one group")
    lines = _describe_group(arguments[0].strip("/")) if arguments else describe_all()
    print("\n".join(map(printable, lines)))
    for plugin in broken():
        print(printable(f"plugin {plugin.source} is left out: {plugin.error}"), file=sys.stderr)
    for clash in clashes(usable()):
        print(printable(str(clash)), file=sys.stderr)
    return 0


def _describe_group(group: str) -> list[str]:
    top, _, folder = group.partition("/")
    if top in FOLDERS and folder:
        options = [option for option in list_options(top) if option.name.startswith(f"{folder}/")]
    else:
        options = list_options(group)
    if not options:
        groups = list_groups()
        fix = did_you_mean(group, groups) if closest(group, groups) else f"; groups: {', '.join(groups)}"
        raise UserError(f"list {group}: no such group{fix}")
    name_width = max(len(option.name) for option in options)
    text_width = max(len(option.description) for option in options)
    rows = [f"{o.name:<{name_width}}  {o.description:<{text_width}}  {o.source}" for o in options]
    return [row.rstrip() for row in rows]
