"""The config of a run: which options it was composed of, and what differs from their defaults."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

from lightning_gen.config.by_data import choose_likelihood
from lightning_gen.config.composition import compose_unresolved, task_overrides
from lightning_gen.config.containers import as_dict
from lightning_gen.config.option_files import file_of
from lightning_gen.config.own_values import use_own_values
from lightning_gen.config.run_options import OPTIONS, installed_options
from lightning_gen.config.saved import targets_in
from lightning_gen.utilities.renames import current_name

STARTS = ("run_dir", "resume", "init_from", "again", "trust", OPTIONS)  # where a run is, and from what it starts
SHOWN_GROUPS = ("experiment", "model", "data", "trainer", "debug")
REQUIRED = "(to be given)"
MOST_ROWS = 300
MOST_TEXT = 200  # characters of a value
_PAPER = re.compile(r"https://arxiv\.org/abs/(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class Difference:
    """A value of the config that is not the default of its options."""

    key: str
    value: str
    default: str


@dataclass(frozen=True)
class Settings:
    """The options by their groups, as far as they can be composed today, and what differs from their defaults."""

    options: list[str] = field(default_factory=list)  # as they were typed
    choices: dict[str, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    unknown: str = ""  # why there is nothing to compare with


def read_settings(config: Mapping[str, Any]) -> Settings:
    """The settings by the content of a run's config.yaml."""
    options = config.get(OPTIONS)
    typed = [text for text in options if isinstance(text, str)] if isinstance(options, list) else []
    if not isinstance(options, list):
        return Settings(unknown="it is from a version that did not keep its options")
    installed = installed_options(options)
    if len(installed) < len(options):
        missing = ", ".join(str(text) for text in options if text not in installed)
        return Settings(typed, unknown=f"not installed here: {missing}")
    try:
        choices, defaults = _defaults(tuple(installed))
    except Exception as error:  # options of plugins may lack anything
        return Settings(typed, unknown=" ".join(str(error).split()))
    return Settings(typed, choices, list(_differences(config, defaults)))


@cache  # a run writes its report again and again
def _defaults(options: Sequence[str]) -> tuple[dict[str, str], dict[str, Any]]:
    """The chosen options by group, and the flat config that they are composed to."""
    from omegaconf import OmegaConf

    config, node = compose_unresolved("train", [*options, "run_dir=."])
    overrides = task_overrides(node)
    choices = {group: str(node.runtime.choices[group]) for group in SHOWN_GROUPS if node.runtime.choices.get(group)}
    use_own_values(config, "train", overrides)
    for key in OmegaConf.missing_keys(config):
        OmegaConf.update(config, key, REQUIRED)
    choose_likelihood(config)
    return choices, dict(flat(as_dict(config)))


def _differences(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> Iterator[Difference]:
    folder = str(config.get("run_dir"))
    for key, value in flat({key: value for key, value in config.items() if key not in STARTS}):
        default = defaults.get(key, "-")
        in_folder = isinstance(value, str) and (value == folder or value.startswith(f"{folder}/"))
        if value != default and not in_folder:
            yield Difference(key, brief(value), brief(default))


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings by their dotted keys; RecursionError for too deep ones."""
    if isinstance(value, Mapping) and value:
        for name, member in value.items():
            yield from flat(member, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def brief(value: Any) -> str:
    """A value as in YAML, cut if it is long."""
    names = {None: "null", True: "true", False: "false"}
    text = names[value] if value is None or isinstance(value, bool) else str(value)
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 3]}..."


def papers_of(model: Any, option: str | None = None) -> dict[str, list[str]]:
    """The arXiv numbers of the papers that a model is made of: of its option, then of the classes in its config.

    An option names its paper at the top of its file, and our classes do in their docstrings; a module that is about
    one paper names it for its model. Parts without effect are left out.
    """
    if not isinstance(model, Mapping):
        return {}
    used = {key: part for key, part in model.items() if key != "conditioning" or model.get("conditional")}
    targets = dict.fromkeys([str(model.get("_target_")), *targets_in(used)])
    found = {target.rpartition(".")[2]: _papers(current_name(target), n == 0) for n, target in enumerate(targets)}
    return {name: papers for name, papers in (_papers_of_option(option) | found).items() if papers}


@cache
def _papers_of_option(option: str | None) -> dict[str, list[str]]:
    """Those in the comment at the top of `model/<option>.yaml`, by its first words: `R3GAN (Huang et al., 2024)`."""
    if option is None or not installed_options([f"model={option}"]):
        return {}
    lines = file_of(f"model/{option}").read_text().splitlines()
    comment = [line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines)]
    return {comment[0].partition(":")[0]: _PAPER.findall(" ".join(comment))} if comment else {}


@cache
def _papers(target: str, of_module: bool) -> list[str]:
    """Those of a class of lightning_gen, by its source, which is not imported; `of_module`: its module's, too."""
    package, *modules, name = target.split(".")
    spec = find_spec("lightning_gen")
    if package != "lightning_gen" or spec is None or not all(part.isidentifier() for part in [*modules, name]):
        return []
    path = Path(spec.origin or "").parent.joinpath(*modules).with_suffix(".py")
    if not path.is_file():
        return []
    source = path.read_text()
    own = re.search(rf'^(?:class|def) {name}\b.*?"""(.*?)"""', source, re.DOTALL | re.MULTILINE)
    whole = re.match(r'"""(.*?)"""', source, re.DOTALL)
    texts = [match[1] for match in ([whole, own] if of_module else [own]) if match]
    return list(dict.fromkeys(_PAPER.findall(" ".join(texts))))
