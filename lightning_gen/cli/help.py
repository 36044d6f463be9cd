"""`--help`, without composing anything: the command's docstring, its keys and the options that there are."""

import re

from lightning_gen.cli.commands import description
from lightning_gen.config.options import describe_all
from lightning_gen.config.plugins import conf_dir

FOOTER = """Look around:  lightning-gen list     all options; `lightning-gen list model` describes each
              --cfg job              the composed config, without running
              -m seed=1,2 model=a,b  every combination, one process each
              metrics=none           switch a group off: metrics, extractor, callbacks, logger, ...
Shell completion and Hydra's own flags: --hydra-help"""


def help_text(command: str) -> str:
    """What `lightning-gen <command> --help` prints: examples, the command's keys, and the groups it takes."""
    keys, groups = _own(command)
    parts = [f"{description(command)}\n"]
    if keys:
        parts.append("\n".join(["Keys (change any with key=value):", *(f"  {line}".rstrip() for line in keys), ""]))
    options = _options(groups)
    if options:
        parts.append("\n".join(["Options (choose with group=option, change any value in them too):", *options, ""]))
    return "\n".join([*parts, FOOTER])


def _own(command: str) -> tuple[list[str], dict[str, str]]:
    """The lines of the command's file that hold its keys, with their comments; its groups, and the comments on them."""
    lines = (conf_dir() / f"{command}.yaml").read_text().splitlines()
    start = lines.index("defaults:") + 1
    end = next((n for n in range(start, len(lines)) if not lines[n].startswith((" ", "-"))), len(lines))
    entries = (re.match(r"\s*- (\w+): ?[^#]*(?:# *(.*))?$", line) for line in lines[start:end])
    groups = {entry[1]: entry[2] or "" for entry in entries if entry}
    groups.pop("hydra", None)
    return [line for line in lines[end:] if line.strip()], groups


def _options(groups: dict[str, str]) -> list[str]:
    shown = []
    for line in describe_all():
        group = line.split()[0]
        # The parts of a model are groups too: they are taken where a model is.
        if group.split("/")[0] in groups or "model" in groups:
            shown += [f"  {line}", *(f"    # {comment}" for comment in [groups.get(group)] if comment)]
    return shown
