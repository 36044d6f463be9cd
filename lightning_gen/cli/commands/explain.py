"""Explain options and keys: their meaning, defaults, types and bounds, and what else fits in.

usage: lightning-gen explain GROUP=OPTION|GROUP|KEY ...
       lightning-gen explain all out=FOLDER

Examples:

  lightning-gen explain model=vae             the keys of an option, and its parts
  lightning-gen explain optimizer             every option of a group
  lightning-gen explain model.beta            a key
  lightning-gen explain model=gan model.output    a key of another model than the default
  lightning-gen explain all out=docs/reference   a page in Markdown for each group
"""

import re
from pathlib import Path

from lightning_gen.cli.reference import as_text, keys_as_text, write_pages
from lightning_gen.config.explanation import explain_key, explain_option
from lightning_gen.config.hydra_setup import prepare_hydra
from lightning_gen.config.options import list_groups, list_options
from lightning_gen.config.plain_words import written_out
from lightning_gen.errors import UserError


def run(arguments: list[str]) -> int:
    """Print the explanation of each argument, or write pages of all groups."""
    if not arguments:
        raise UserError("explain: name an option, a group or a key, as in lightning-gen explain model=vae")
    if arguments[0] == "all":
        out = arguments[1].removeprefix("out=") if len(arguments) == 2 and arguments[1].startswith("out=") else ""
        if not out:
            raise UserError("explain all: say where to write its pages, as out=FOLDER")
        print(f"{len(write_pages(Path(out)))} pages written to {out}")
        return 0
    prepare_hydra()
    in_full = written_out("train", [text for text in arguments if "=" in text])
    arguments = [full for text in arguments for full in in_full.get(text, [text])]
    options = [text for text in arguments if re.match(r"[\w/]+(@[\w.]+)?=", text)]
    print("\n\n".join(_explained(text, options) for text in arguments if not _is_context(text, arguments)))
    return 0


def _is_context(text: str, arguments: list[str]) -> bool:
    """Whether an option is there only to say which model, ..., the keys among the arguments are of."""
    is_context = text.startswith(("model=", "data=", "experiment=", "trainer="))
    return is_context and any("=" not in other and other not in list_groups() for other in arguments)


def _explained(text: str, options: list[str]) -> str:
    key, is_choice, value = text.partition("=")
    group = key.partition("@")[0].strip("/")
    if is_choice and group in list_groups():
        return "\n\n".join(as_text(explain_option(group, name)) for name in re.findall(r"[\w/.-]+", value))
    if is_choice:  # a value that a plain word stands for
        return keys_as_text(explain_key(key.lstrip("+"), options))
    if group in list_groups():
        width = max(len(option.name) for option in list_options(group))
        rows = [f"  {option.name:<{width}}  {option.description}" for option in list_options(group)]
        return "\n".join([f"{group}: choose with {group}=OPTION; lightning-gen explain {group}=OPTION", *rows])
    return keys_as_text(explain_key(_full_name(key, options), options))


def _full_name(key: str, options: list[str]) -> str:
    """The key that a plain word means, such as `lr`."""
    meant = written_out("train", [*options, f"{key}=1"]).get(f"{key}=1", [key])[0]
    return meant.partition("=")[0].lstrip("+")
