"""The console command: `lightning-gen <command> key=value ...`."""

import os
import sys
from typing import NoReturn

from lightning_gen.cli.commands import COMMANDS, description, has_config, load_run, summary
from lightning_gen.errors import UserError
from lightning_gen.utilities.heap import keep_freed_memory
from lightning_gen.utilities.launchers import ANNOUNCED, ignore_stray_ranks, is_first_process
from lightning_gen.utilities.printable import make_printable, printable
from lightning_gen.utilities.rendezvous import meet_anew
from lightning_gen.utilities.signals import Stopped, handled, stop
from lightning_gen.utilities.suggestions import did_you_mean


def train() -> NoReturn:
    """Run `lightning-gen train` with the arguments of this script, which is train.py."""
    keep_freed_memory()
    sys.exit(main(["train", *sys.argv[1:]]))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status.

    0, 1 for a bug, 2 for a user's mistake or a failure of the machine, 128 + N for signal N.
    """
    is_alone = arguments is None  # in its process
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if is_alone and arguments and has_config(arguments[0]):
        keep_freed_memory()
    try:
        with handled(stop):
            status = _dispatch(arguments)
            sys.stdout.flush()  # a closed one fails here, and not at the end of the process
            return status
    except UserError as error:
        return _report(str(error))
    except Stopped as signal:
        if is_first_process() and ANNOUNCED not in os.environ:
            print(signal, file=sys.stderr)
        return signal.status
    except KeyboardInterrupt:  # not in the main thread
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `lightning-gen list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        from lightning_gen.cli.failures import explain_failure

        line = explain_failure(error, arguments[0] if arguments else "")
        if line is None:
            raise
        return _report(line)


def _dispatch(arguments: list[str]) -> int:
    command, *rest = arguments or ["--help"]
    if command in ("--help", "-h", "help"):
        print(_help())
        return 0
    if command in ("--version", "-V"):
        from lightning_gen.config.plugins import core_version

        print(f"lightning-gen {core_version()}")
        return 0
    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS) or f"; commands: {', '.join(COMMANDS)}"
        raise UserError(f"{command}: no such command{hint}")
    if {"--help", "-h"} & set(rest):
        print(_command_help(command))
        return 0
    if has_config(command):
        return _run_with_config(command, rest)
    return load_run(command)(rest)


def _help() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "usage: lightning-gen COMMAND [key=value ...]",
            "",
            *(f"  {command:<{width}}  {summary(command)}" for command in COMMANDS),
            "",
            "lightning-gen COMMAND --help describes a command; lightning-gen --version prints the version.",
        ]
    )


def _command_help(command: str) -> str:
    if not has_config(command):
        return description(command)
    from lightning_gen.cli.help import help_text

    return help_text(command)


def _run_with_config(command: str, arguments: list[str]) -> int:
    import logging

    from lightning_gen.cli.hydra_app import read_command_line
    from lightning_gen.cli.launch import command_arguments, relaunchable
    from lightning_gen.config.saved import trusting

    for stray in ignore_stray_ranks():
        print(f"{stray} in the environment is ignored: the rest of a launcher's variables is missing", file=sys.stderr)
    meet_anew()
    job = read_command_line(command, arguments)
    if isinstance(job, int):
        return job
    run = load_run(command)
    logging.getLogger("lightning_gen").addFilter(make_printable)  # once: a logger has a filter once
    arguments = command_arguments(command, job.config, job.overrides, job.flags)
    with relaunchable(arguments), trusting(job.config.get("trust") or ()):
        run(job)
    return 0


def _report(line: str) -> int:
    from lightning_gen.cli.launch import should_print_error

    if os.environ.get("LIGHTNING_GEN_TRACEBACK") == "1" or os.environ.get("HYDRA_FULL_ERROR") == "1":
        import traceback

        traceback.print_exc()
    elif should_print_error():
        print(f"error: {printable(line)}", file=sys.stderr)
    return 2
