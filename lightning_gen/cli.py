"""The console command: `lightning-gen <command> key=value ...`."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from lightning_gen.errors import UserError
from lightning_gen.suggestions import did_you_mean

# Hydra apps: each function gets the composed config, and is imported only when it runs.
APPS = {
    "train": ("lightning_gen.training:train", "train a model and score it"),
    "evaluate": ("lightning_gen.evaluation:evaluate_command", "score a checkpoint"),
    "sample": ("lightning_gen.sampling:sample_command", "draw images from a checkpoint"),
    "interpolate": ("lightning_gen.interpolating:interpolate_command", "walk from latent to latent of a checkpoint"),
    "project": ("lightning_gen.projecting:project_command", "find the latents of given images"),
    "neighbours": ("lightning_gen.neighbours:neighbours_command", "the training images nearest to samples"),
    "predict": ("lightning_gen.continuing:predict_command", "continue sequences"),
    "complete": ("lightning_gen.continuing:complete_command", "complete images whose upper rows are given"),
    "inspect": ("lightning_gen.data.inspection:inspect_command", "look at a data set as the models see it"),
}
PLAIN = {
    "list": ("lightning_gen.listing:print_list", "the config groups and their options; list GROUP says more"),
    "compare": ("lightning_gen.comparing:compare_command", "the scores of several runs in one table"),
    "doctor": ("lightning_gen.doctor:print_report", "is all there that training needs? are all plugins well?"),
    "new-plugin": ("lightning_gen.new_plugin:new_plugin", "NAME --kind model|metric|data|network: begin a plugin"),
}


def train() -> NoReturn:
    """What train.py runs."""
    sys.exit(main(["train", *sys.argv[1:]]))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, 1 for a bug, 2 for what the user can mend, 130 for Ctrl-C."""
    try:
        return _dispatch(sys.argv[1:] if arguments is None else list(arguments))
    except UserError as error:
        return _report(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `lightning-gen list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _dispatch(arguments: list[str]) -> int:
    command, *rest = arguments or ["--help"]
    if command in ("--help", "-h", "help"):
        print(_help())
        return 0
    if command in ("--version", "-V"):
        from lightning_gen.plugins import core_version

        print(f"lightning-gen {core_version()}")
        return 0
    if command in APPS:
        return _run_app(command, rest)
    if command not in PLAIN:
        hint = did_you_mean(command, [*APPS, *PLAIN]) or f"; commands: {', '.join([*APPS, *PLAIN])}"
        raise UserError(f"{command}: no such command{hint}")
    if set(rest) & {"--help", "-h"} and command != "compare":
        print(f"lightning-gen {command}: {PLAIN[command][1]}")
        return 0
    return _function(PLAIN[command][0])(rest)


def _help() -> str:
    lines = [f"  {name:<11} {text}" for name, (_, text) in (APPS | PLAIN).items()]
    return "\n".join(
        [
            "usage: lightning-gen COMMAND [key=value ...]",
            "",
            *lines,
            "",
            "lightning-gen COMMAND --help says more; --version prints the version.",
        ]
    )


def _run_app(command: str, arguments: list[str]) -> int:
    if {"--help", "-h"} & set(arguments):
        from lightning_gen.helping import help_text

        print(help_text(command), end="")
        return 0
    from lightning_gen.hydra_app import read_command_line
    from lightning_gen.processes import command_arguments, relaunchable

    job = read_command_line(command, arguments)
    if isinstance(job, int):
        return job
    work = _function(APPS[command][0])
    with relaunchable(command_arguments(command, job.config, job.overrides, job.flags)):
        # Training alone needs the overrides: a run that is resumed takes its saved config with them on top.
        work(job.config, job.overrides) if command == "train" else work(job.config)
    return 0


def _function(path: str) -> Callable:
    from importlib import import_module

    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _report(error: UserError) -> int:
    from lightning_gen.processes import speaks

    if os.environ.get("LIGHTNING_GEN_TRACEBACK") == "1" or os.environ.get("HYDRA_FULL_ERROR") == "1":
        import traceback

        traceback.print_exc()
    elif speaks():
        print(f"error: {error}", file=sys.stderr)
    return 2
