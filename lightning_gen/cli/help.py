"""`--help`, without composing: the command's docstring, its keys and the options of its groups."""

import re

from lightning_gen.cli.commands import description
from lightning_gen.config.options import describe_all
from lightning_gen.config.plugins import conf_dir

FOOTER = """Look around:  lightning-gen list     all options; `lightning-gen list model` describes each
              --cfg job              the composed config, without running
              -m seed=1,2 model=a,b  every combination, one process each
Shell completion: lightning-gen completion bash; Hydra's own flags: --hydra-help"""


def help_text(command: str) -> str:
    """The text of `lightning-gen <command> --help`: examples, keys, and groups with their options."""
    keys, groups = _keys_and_groups(command)
    parts = [f"{description(command)}\n"]
    if keys:
        parts.append("\n".join(["Keys (change any with key=value):", *(f"  {line}".rstrip() for line in keys), ""]))
    options = _options(groups)
    if options:
        parts.append(
            "\n".join(
                [
                    "Options (choose with group=option, or group=none for none; then change any of their values):",
                    *options,
                    "",
                ]
            )
        )
    return "\n".join([*parts, FOOTER])


def _keys_and_groups(command: str) -> tuple[list[str], dict[str, str]]:
    """From the command's YAML file: the lines with its keys and their comments, and its groups with their comments."""
    lines = (conf_dir() / f"{command}.yaml").read_text().splitlines()
    start = lines.index("defaults:") + 1
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith((" ", "-"))), len(lines))
    entries = (re.match(r"\s*- (\w+): ?[^#]*(?:# *(.*))?$", line) for line in lines[start:end])
    groups = {entry[1]: entry[2] or "" for entry in entries if entry}
    groups.pop("hydra", None)
    return [line for line in lines[end:] if line.strip()], groups


def _options(groups: dict[str, str]) -> list[str]:
    lines = []
    for line in describe_all():
        group = line.split()[0]
        # A command with a model takes the groups of a model's parts too.
        if group.split("/")[0] in groups or "model" in groups:
            lines.append(f"  {line}")
            if groups.get(group):
                lines.append(f"    # {groups[group]}")
    return lines
