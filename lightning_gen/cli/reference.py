"""Explanations as text for a terminal, and as the pages of docs/reference."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_gen.config.explanation import Explanation, Key, Part, explain_option
from lightning_gen.config.options import list_groups, list_options
from lightning_gen.config.plugins import CORE, usable
from lightning_gen.config.validation import as_typed
from lightning_gen.utilities.atomic_files import atomic_write
from lightning_gen.utilities.printable import printable


def as_text(explanation: Explanation) -> str:
    """The explanation of an option for a terminal."""
    title = f"{explanation.group}={explanation.option.name}"
    lines = [f"{title}  {explanation.option.description}".rstrip()]
    if explanation.target:
        lines.append(f"{explanation.target}: {explanation.summary}".rstrip(": "))
    if explanation.keys:
        lines += ["", keys_as_text(explanation.keys)]
    if explanation.more:
        lines += ["", f"More keys, with +: {', '.join(explanation.more)}"]
    for part in explanation.parts:
        lines += ["", f"{part.choice.key}={part.choice.option}  {part.description}".rstrip()]
        width = max((len(option.name) for option in part.others), default=0)
        lines += [f"  or {option.name:<{width}}  {option.description}".rstrip() for option in part.others]
    return "\n".join(printable(line) if line else "" for text in lines for line in text.split("\n"))


def keys_as_text(keys: Sequence[Key]) -> str:
    """A line for each key."""
    width = max(len(_default(key)) for key in keys)
    types = max(len(key.type) for key in keys)
    rows = [f"  {_default(key):<{width}}  {key.type:<{types}}  {key.comment}".rstrip() for key in keys]
    return "\n".join(map(printable, rows))


def _default(key: Key) -> str:
    """A key with its default, as it is typed; `REQUIRED` where there is none."""
    return as_typed(key.name, "REQUIRED" if key.value == "???" else _plain(key.value))


def _plain(value: Any) -> Any:
    """Lists as they are typed, without quotes."""
    return f"[{','.join(str(item) for item in value)}]" if isinstance(value, list) else "{}" if value == {} else value


def write_pages(folder: Path, groups: Sequence[str] = ()) -> list[Path]:
    """Write a page for each group of core's options, and an index; return their paths. UserError if it can't."""
    pages = {page_name(group): page(group) for group in groups or list_groups() if core_options(group)}
    if not groups:
        pages["README.md"] = _index(list_groups())
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        atomic_write(folder / name, text)
    return [folder / name for name in pages]


def page_name(group: str) -> str:
    """The file of a group's page."""
    return f"{group.replace('/', '_')}.md"


def page(group: str) -> str:
    """The page of a group, in Markdown, with core's options."""
    sections = [_section(explain_option(group, option)) for option in core_options(group)]
    head = f"# {group}\n\nChoose with `{group}=OPTION`. This page is made by `lightning-gen explain all`.\n"
    return "\n".join([head, *sections]).rstrip() + "\n"


def core_options(group: str) -> list[str]:
    """The options of a group that are not a plugin's."""
    core = next(plugin for plugin in usable() if plugin.package == CORE)
    return [option.name for option in list_options(group) if core.has(f"{group}/{option.name}")]


def _index(groups: Sequence[str]) -> str:
    rows = [f"| [{group}]({page_name(group)}) | {', '.join(core_options(group))} |" for group in groups]
    head = "# Reference\n\nEvery option of every group, with its keys: the output of `lightning-gen explain all`.\n"
    return "\n".join([head, "| group | options |", "|---|---|", *rows]) + "\n"


def _section(explanation: Explanation) -> str:
    lines = [f"## {explanation.option.name}", ""]
    lines += _wrapped(explanation.option.description) if explanation.option.description else []
    if explanation.target:
        lines += ["", *_wrapped(f"`{explanation.target}`: {explanation.summary}".rstrip(": "))]
    if explanation.keys:
        lines += ["", "| key and default | type | meaning |", "|---|---|---|", *map(_row, explanation.keys)]
    if explanation.parts:
        lines += ["", "| part | meaning | other options |", "|---|---|---|", *map(_part_row, explanation.parts)]
    if explanation.more:
        lines += ["", *_wrapped(f"More keys, with `+`: {', '.join(explanation.more)}.")]
    return "\n".join([*lines, ""])


def _row(key: Key) -> str:
    return f"| `{_default(key)}` | {_cell(key.type)} | {_cell(key.comment)} |"


def _part_row(part: Part) -> str:
    others = ", ".join(option.name for option in part.others)
    return f"| `{part.choice.key}={part.choice.option}` | {_cell(part.description)} | {others} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(text, 120, break_long_words=False, break_on_hyphens=False)
