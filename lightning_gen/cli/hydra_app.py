"""A command as a Hydra app: Hydra reads the command line, composes and sweeps, and returns before the command runs.

So the command runs in the user's folder, with a resolved config, and Lightning's launchers see no Hydra.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from lightning_gen.config.composition import finish, task_overrides
from lightning_gen.config.containers import overrides_as_typed
from lightning_gen.config.hydra_setup import prepare_hydra
from lightning_gen.config.own_values import use_own_values
from lightning_gen.config.plain_words import written_out
from lightning_gen.config.plugins import conf_dir
from lightning_gen.config.run_options import names_start, not_among
from lightning_gen.config.text_values import with_quotes
from lightning_gen.errors import UserError
from lightning_gen.origins.local_files import check_is_file, file_at
from lightning_gen.utilities.compat import (
    current_hydra_node,
    hydra_argument_parser,
    hydra_composing_once,
    hydra_config,
    hydra_config_restored,
)
from lightning_gen.utilities.launchers import ANNOUNCED, is_first_process
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.suggestions import closest

if TYPE_CHECKING:
    from omegaconf import DictConfig

DRY_RUN = "--dry-run"  # of `train`: Hydra doesn't see it
FLAGS = (DRY_RUN, "--multirun", "--help", "--cfg", "--config-dir", "--config-name", "--config-path")
MULTIRUN = {"-m", "--multirun"}
# A local path of one checkpoint; `resume=auto` and `hf://user/name` are other things.
_CHECKPOINT = re.compile(r"(?P<key>checkpoint|resume|init_from)='?(?!(?i:true|false|auto|null)$)(?P<path>[\w./~ -]+)'?")
# `key=~/path`, which shells pass on as it is; in Hydra's grammar only quoted text may begin with a tilde.
_HOME = re.compile(r"^([\w./@+]+)=(~[^,'\"]*)$")


class Job(NamedTuple):
    """The task of a command: a checked config, its overrides, and the flags that another process needs too.

    `typed` are the overrides without the options of a run that is resumed, which come before them.
    """

    config: "DictConfig"
    overrides: Sequence[str] = ()
    flags: Sequence[str] = ()
    typed: Sequence[str] = ()


def read_command_line(command: str, arguments: list[str]) -> Job | int:
    """The job that `arguments` describe, or the exit status if Hydra has done all (help, --cfg, multirun).

    Raises UserError for any mistake in composing.
    """
    from lightning_gen.cli.sweep_words import check_single, check_words
    from lightning_gen.config.hydra_errors import explained

    dry_run = [DRY_RUN] if command == "train" and DRY_RUN in arguments else []
    if dry_run and MULTIRUN & set(arguments):
        raise UserError("--dry-run: is of one run; leave out -m, and give each key one value")
    arguments = sorted(arguments, key=lambda word: word not in MULTIRUN)  # overrides may stand on both sides
    arguments = [with_quotes(_HOME.sub(r"\1='\2'", argument)) for argument in arguments if argument not in dry_run]
    flags, overrides, shown = _parse(command, arguments)
    flags += dry_run
    arguments, overrides, own = _in_full(command, arguments, overrides)
    if shown:
        arguments = overrides
    check_words(overrides)
    with explained(command, overrides):
        composed = _composed(command, arguments, flags, overrides)
    if isinstance(composed, int):
        return composed
    config, node = composed
    check_single(config, node)
    if shown:
        return _show(command, config, node)
    if _resumes(command, overrides):
        from lightning_gen.training.resume import fill_missing

        with explained(command, overrides), hydra_config(node):
            fill_missing(config, overrides)
    else:
        _check_file(overrides)
        with hydra_config(node):
            _announce(_task(command, config, node))
    task = task_overrides(node)
    typed = [text for text in task if text not in own]
    return Job(finish(config, node, command), task, flags + _search_path(node), typed)


def _check_file(overrides: Sequence[str]) -> None:
    """UserError for a checkpoint that is missing: told at once, and not after PyTorch is imported."""
    matches = list(filter(None, map(_CHECKPOINT.fullmatch, overrides)))
    if len(matches) == 1:  # several are another mistake
        key, path = matches[0]["key"], Path(matches[0]["path"]).expanduser()
        check_is_file(file_at(path, key), key)


def _composed(
    command: str, arguments: list[str], flags: Sequence[str], overrides: Sequence[str]
) -> "tuple[DictConfig, DictConfig] | int":
    """The config of a job and Hydra's own node; the exit status if Hydra has done all, as the jobs of a multirun."""
    import hydra
    from hydra.types import RunMode

    from lightning_gen.cli import launch, sweep

    composed: list[tuple[DictConfig, DictConfig]] = []

    def task(config: "DictConfig") -> float | None:
        node = current_hydra_node()
        assert node is not None
        if node.mode == RunMode.RUN:
            composed.append((config, node))
            return None
        if command == "train":
            status, score = sweep.run_point(config, node, flags, overrides)
        else:
            status, score = launch.run_job(command, config, node, flags), None
        if status:
            print(f"job {node.job.num} failed with exit status {status}", file=sys.stderr, flush=True)
            # Launchers whose jobs are in other processes bring only exceptions back.
            raise launch.JobFailed(f"job {node.job.num} failed with exit status {status}; its messages are above")
        return score

    with _arguments(arguments), _full_errors(), hydra_config_restored(), hydra_composing_once():
        try:
            with sweep.of_command(command, overrides) as ended:
                hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=command)(task)()
        except SystemExit as stop:  # after --hydra-help, --cfg, ...
            return int(stop.code or 0)
    return composed[0] if composed else ended.status


def _in_full(command: str, arguments: list[str], overrides: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Arguments and overrides with plain words written out, after the options of a run that is resumed; these, too."""
    own = _options_of_resumed(command, overrides)
    prepare_hydra()
    in_full = written_out(command, overrides, own)
    _tell(in_full)
    first = arguments.index(overrides[0]) if overrides else 0
    overrides = _replaced(overrides, in_full)
    own = not_among(own, overrides)
    return [*arguments[:first], *own, *_replaced(arguments[first:], in_full)], [*own, *overrides], own


def _task(command: str, config: "DictConfig", node: "DictConfig") -> str:
    """What will be done, in a line; mistakes in it are told later, by `finish`."""
    from omegaconf.errors import OmegaConfBaseException

    if command != "train":
        return " ".join([f"lightning-gen {command}:", *task_overrides(node)]).rstrip(":")
    chosen = node.runtime.choices
    with suppress(OmegaConfBaseException):
        return f"lightning-gen: {chosen.model} on {chosen.data}, {chosen.trainer}, {config.run_dir}"
    return "lightning-gen train"


def _announce(line: str) -> None:
    """Print a line at once if PyTorch is imported next, which takes seconds."""
    if "torch" not in sys.modules and is_first_process() and ANNOUNCED not in os.environ:
        with suppress(OSError):  # a closed output: the command goes on without it
            print(printable(line), flush=True)


def _show(command: str, config: "DictConfig", node: "DictConfig") -> int:
    """Print the config, with its interpolations, as `--cfg job` asks for: Hydra knows nothing of parts' own values."""
    from omegaconf import OmegaConf

    use_own_values(config, command, task_overrides(node))
    print(OmegaConf.to_yaml(config), end="")
    return 0


def _options_of_resumed(command: str, overrides: Sequence[str]) -> list[str]:
    if not _resumes(command, overrides):
        return []
    if not any(text.startswith("again=") for text in overrides):
        _check_file(overrides)
    _announce(f"lightning-gen {command}: {' '.join(overrides)}")
    from lightning_gen.training.resume import options_of_resumed  # slow to import

    return options_of_resumed(overrides)


def _tell(in_full: Mapping[str, Sequence[str]]) -> None:
    """Print what plain words were taken for, in the first process."""
    for plain, full in in_full.items() if is_first_process() else ():
        print(printable(f"{plain} means {' '.join(full)}"), file=sys.stderr, flush=True)


def _replaced(arguments: Sequence[str], in_full: Mapping[str, Sequence[str]]) -> list[str]:
    return [full for argument in arguments for full in in_full.get(argument, [argument])]


def _resumes(command: str, overrides: Sequence[str]) -> bool:
    return command == "train" and names_start(overrides)


def _parse(command: str, arguments: list[str]) -> tuple[list[str], list[str], bool]:
    """The flags that locate configs, the overrides, and whether only `--cfg job`; UserError for an unknown flag."""
    parser = hydra_argument_parser()

    def error(message: str) -> NoReturn:
        meant = _as_overrides(arguments, message)
        if ignored := re.search(r"ignored explicit argument '(.*)'", message):  # of -model=vae, which begins like -m
            message = f"no such flag: -m{ignored[1]}"
        elif not meant:
            meant = [near for argument in arguments for near in closest(argument, FLAGS) if argument in message]
        fix = f"write {' '.join(meant)}, or " if meant else ""
        raise UserError(f"{message}; {fix}see lightning-gen {command} --help")

    parser.error = error
    parsed = parser.parse_args(arguments)
    flags = {
        "--config-dir": parsed.config_dir,
        "--config-name": parsed.config_name,
        "--config-path": parsed.config_path,
    }
    located = [f"{flag}={value}" for flag, value in flags.items() if value is not None]
    shown = [argument for argument in arguments if argument not in parsed.overrides] == ["--cfg", "job"]
    return located, list(parsed.overrides), shown


def _as_overrides(arguments: Sequence[str], message: str) -> list[str]:
    """The flags in the parser's message that were meant as overrides: `--seed=1`, `--seed 1`."""
    overrides = []
    for argument, following in zip(arguments, [*arguments[1:], "-"], strict=True):
        if re.match(r"--?[\w./@+-]+=", argument) and argument[2:] in message:
            overrides.append(argument.lstrip("-"))
        elif re.fullmatch(r"--[\w./@+-]+", argument) and argument in message and re.fullmatch(r"[^-=]+", following):
            overrides.append(f"{argument.lstrip('-')}={following}")
    return overrides


def _search_path(node: "DictConfig") -> list[str]:
    overrides = overrides_as_typed(node.overrides.hydra)
    return [override for override in overrides if override.startswith("hydra.searchpath=")]


@contextmanager
def _arguments(arguments: list[str]) -> Iterator[None]:
    """Within it `sys.argv` has these arguments, which Hydra reads."""
    before, sys.argv = sys.argv, [sys.argv[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def _full_errors() -> Iterator[None]:
    """Within it Hydra raises its errors; by default it prints them with a traceback, and exits."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        os.environ.pop("HYDRA_FULL_ERROR")
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before
