"""The commands of README and tutorial, run in this process on a small budget."""

import re
import shlex
from itertools import product

import pytest

from lightning_gen.cli import main

# What is added to each command, so that its run is short.
BUDGET = {
    "train": [
        *("trainer.max_images=32", "trainer.validate_every_images=32", "++trainer.limit_val_batches=1"),
        "data.batch_size=8",
    ],
    "evaluate": ["num_real=20", "num_samples=20", "half_samples=2"],
    "sample": ["interpolation=false"],
    "interpolate": ["steps=2"],
    "project": ["steps=3", "n=2"],
    "neighbors": ["n=2"],
    "predict": ["n=2"],
}
LONG = 2_000  # images: a longer training is shortened to a thousandth, but not below 32


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a Markdown document."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def command_lines(text: str) -> list[str]:
    return [line for block in blocks(text, "bash") for line in block.splitlines() if line.strip()]


def commands(text: str) -> list[list[str]]:
    """The words of each line of the bash blocks."""
    return [shlex.split(line, comments=True) for line in command_lines(text)]


def on_a_budget(command: str, arguments: list[str], metrics: str = "[]") -> list[str]:
    """The command with a short training, or few images; `metrics` are those at the end of training."""
    if command == "train" and ({"--help", "--cfg"} & set(arguments) or "trainer=" in " ".join(arguments)):
        return [command, *arguments] if "--help" in arguments else [command, *arguments, "--cfg", "job"]
    short = [f"metrics={metrics}"] if command == "train" else []
    short += ["data.num_test=16"] if "moving_digits" in str(arguments) and command == "train" else []
    short += ["callbacks.sample_grid.n=4", "callbacks.continuations.n=1"] if "model=pixel" in str(arguments) else []
    extra = [
        override
        for override in [*BUDGET.get(command, []), *short]
        if not any(argument.startswith(override.split("=")[0] + "=") for argument in arguments)
    ]
    # A run that is continued keeps its batch size, and metrics that are asked for are computed.
    extra = [each for each in extra if not ("resume" in str(arguments) and "batch" in each)]
    return [command, *map(shortened, arguments), *extra]


def shortened(argument: str) -> str:
    """A thousandth of the images of a long training, but not fewer than 32."""
    key, _, value = argument.partition("=")
    long = key == "trainer.max_images" and int(value) >= LONG
    return f"{key}={max(32, int(value) // 1000)}" if long else argument


def jobs(arguments: list[str]) -> list[list[str]]:
    """The overrides of each run of a multirun (`-m`), or the arguments of a single run."""
    if "-m" not in arguments:
        return [arguments]
    swept = [argument.partition("=") for argument in arguments if argument != "-m"]
    values = [[key + sign + each for each in re.split(r",(?![^\[]*\])", value)] for key, sign, value in swept]
    return [list(job) for job in product(*values)]


def as_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[str]]:
    """The command of `lightning-gen` and its arguments; leading variables are set."""
    while "=" in words[0]:  # VARIABLE=value command
        name, *words = words
        monkeypatch.setenv(*name.split("=", 1))
    program, command, *arguments = words
    assert program in ("python", "lightning-gen")
    return ("train" if program == "python" else command), arguments


def succeeds(arguments: list[str], line: str, capsys: pytest.CaptureFixture) -> None:
    """Run `lightning-gen` with `arguments`, for `line` of the document."""
    status = main(arguments)
    assert status == 0, f"{line}: {capsys.readouterr().err}"
