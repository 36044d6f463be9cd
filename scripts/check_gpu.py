"""What a GPU must do, checked in one command: `python scripts/check_gpu.py [check ...] [--models a,b] [--minutes 9]`.

- `steps`: one training step and one sample of each model, in float32, against the CPU; all draws are the CPU's.
- `bf16`: one step in bf16-mixed is finite, its terms are close to those of float32.
- `waits`: the host does not wait for the device within training steps.
- `graphs`: steps from CUDA graphs equal ordinary ones bit for bit, with deterministic algorithms.
- `resume`: a run on the CPU goes on on the GPU, then on the CPU again, by the command line.
- `memory`, `fid`, `speed`: figures, beside their goals: gpu_speed.py.

A failed check never stops the others. Prints a table as it goes, then one JSON line; exit status 1 if one has failed.
Without a GPU, or with `--pretend`, it runs on the pretended device of `lightning_gen.testing`, as a test of itself.
"""

import argparse
import json
import logging
import math
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from gpu_machines import Machine, machine_of
from gpu_resume import resumes
from gpu_speed import SPEEDS, fid, memory, speed
from gpu_trials import (
    CPU,
    DrawsOnCPU,
    OutOfTime,
    Refused,
    Training,
    captured,
    deterministic,
    distance,
    small,
    time_limit,
)

from lightning_gen.config.options import list_options
from lightning_gen.models.gan import GAN
from lightning_gen.randomness import seed_all
from lightning_gen.sampling.evaluation_mode import evaluation_mode
from lightning_gen.utilities.float32 import ieee_float32

# Errors of float32, relative. On a CPU, weights that are 1e-6 off move terms by up to 1e-4, samples by 3e-6, and the
# step of the weights by 2e-5; in GANs, whose players follow each other, by 1e-2.
TERMS, SAMPLES = 1e-3, 1e-3
WEIGHTS, WEIGHTS_OF_GANS = 1e-3, 5e-2
BF16 = 0.05  # 8 bits of mantissa are 0.4 %, summed over the layers
STEPS = 8  # in graphs, of each kind: three ordinary ones, the capture, the comparison and three replays
SECONDS = 120  # of one check of a model, at most
COLUMNS = (8, 24, 12)
FAILED = "FAILED"

Figures = Mapping[str, Any]


class Row(NamedTuple):
    """The outcome of one check of one model."""

    check: str
    model: str
    result: str
    figures: Figures

    def __str__(self) -> str:
        cells = [cell.ljust(width) for cell, width in zip(self[:3], COLUMNS, strict=True)]
        return " ".join([*cells, ", ".join(f"{name} {shown(value)}" for name, value in self.figures.items())])


def shown(value: Any) -> str:
    """A number with three digits."""
    return (
        f"{value:,.0f}"
        if isinstance(value, float) and value >= 100
        else f"{value:.3g}"
        if isinstance(value, float)
        else str(value)
    )


def agrees(machine: Machine, name: str) -> Figures:
    """One step and one sample, against the CPU; errors relative to the terms, and to the step of each player."""
    results = []
    for device in (CPU, machine.device):
        run = Training(name, *small(machine, name), device=device, plain_steps=True)
        if isinstance(run.model, GAN):
            run.model.generator_every = 1
        with ieee_float32(), DrawsOnCPU():
            images, start = sample(run), run.trained()
            results.append((images, start, run.step(), run.trained()))
    (images, start, terms, weights), (others, _, other_terms, other_weights) = results
    found = {
        "terms": max(error(terms[key], other_terms[key]) for key in terms if key != "accuracy"),  # a count
        "weights": max(
            distance(after, other) / max(distance(after, before), 1e-30)
            for before, after, other in zip(start, weights, other_weights, strict=True)
        ),
    }
    allowed = {
        "terms": TERMS,
        "weights": WEIGHTS_OF_GANS if isinstance(run.model, GAN) else WEIGHTS,
        "samples": SAMPLES,
    }
    if images is not None and others is not None:
        found["samples"] = (images - others).abs().mean().item()
    wrong = [f"{key} differ by {value:.2g}" for key, value in found.items() if not value <= allowed[key]]
    assert not wrong, ", ".join(wrong)
    return found


def sample(run: Training) -> torch.Tensor | None:
    """Four images of a model that generates."""
    if not run.model.generates:
        return None
    with evaluation_mode(run.model, ema=False):
        seed_all("check_gpu")
        return run.model.sample(4).cpu()


def error(expected: float, found: float) -> float:
    """Relative, for large numbers; infinite for NaN, which no comparison finds."""
    difference = abs(expected - found) / max(1.0, abs(expected))
    return math.inf if math.isnan(difference) else difference


def low_precision(machine: Machine, name: str) -> Figures:
    """A step in bf16-mixed against one in float32."""
    runs = [Training(name, *small(machine, name), device=machine.device) for _ in range(2)]
    full, low = runs[0].step(), runs[1].step(machine.autocast())
    broken = [key for key, tensor in runs[1].state().items() if not tensor.isfinite().all()]
    assert not broken, f"not finite: {', '.join(broken[:3])}"
    errors = {key: error(full[key], low[key]) for key in full if key != "accuracy"}
    worst = max(errors, key=lambda key: errors[key])
    assert errors[worst] <= BF16, f"{worst} is {low[worst]:.4g}, not {full[worst]:.4g}"
    return {"terms": errors[worst]}


def without_waits(machine: Machine, name: str) -> Figures:
    """A period of steps, after one in which memory and state are made."""
    run = Training(name, *small(machine, name), device=machine.device)
    for _ in range(run.period):
        run.step()
    for _ in range(run.period):
        run.step(machine.without_waits())
    return {"steps": run.period}


def equal_captured(machine: Machine, name: str) -> Figures:
    """Steps from graphs and ordinary ones, of two trainings in bf16-mixed, as `trainer=gpu` has it."""
    reasons = Messages()
    with deterministic(), reasons:
        ordinary = Training(name, *small(machine, name), device=machine.device)
        run = Training(name, *small(machine, name), device=machine.device, graphs=partial(captured, machine))
        steps = STEPS * ordinary.period
        for step in range(steps):
            terms, others = ordinary.step(machine.autocast()), run.step(machine.autocast())
            first, second = ordinary.model.state_dict(), run.model.state_dict()
            differing = [key for key in first if not torch.equal(first[key], second[key])]
            differing += [key for key in terms if terms[key] != others[key]]
            assert not differing, f"step {step + 1} of {steps}: {len(differing)} differ, {', '.join(differing[:2])}"
    graphs = run.model.graphs
    if graphs is None or not graphs.enabled or not graphs.graphs:
        raise Refused(reasons.last or "no step was captured")
    return {"graphs": len(graphs.graphs), "steps": steps}


class Messages(logging.Handler):
    """Keeps the last message of the log, within its context."""

    last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()

    def __enter__(self) -> None:
        logging.getLogger("lightning_gen").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("lightning_gen").removeHandler(self)


Check = Callable[[Machine, str], Figures]
# By name: the function for one model, and the models; None for all.
CHECKS: dict[str, tuple[Check, Sequence[str] | None]] = {
    "steps": (agrees, None),
    "bf16": (low_precision, None),
    "waits": (without_waits, None),
    "graphs": (equal_captured, None),
    "resume": (resumes, ["dcgan"]),
    "memory": (memory, ["dcgan", "stylegan2"]),
    "fid": (fid, ["dcgan"]),
}


def models(check: str, chosen: Sequence[str]) -> list[str]:
    """The models of a check, of those that are chosen; none chosen: all."""
    known = list(SPEEDS) if check == "speed" else CHECKS[check][1] or [option.name for option in list_options("model")]
    return [name for name in known if not chosen or {name, name.partition("-")[0]} & set(chosen)]


def outcome(check: str, name: str, run: Callable[[], Figures], seconds: float) -> Row:
    """The row of one check of one model, whatever happens in it."""
    try:
        with time_limit(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            figures = run()
    except Refused as reason:
        return Row(check, name, "not done", {str(reason).removeprefix("trainer.graphs=true: "): ""})
    except OutOfTime:
        return Row(check, name, "no time", {f"stopped after {seconds:.0f} s": ""})
    except Exception as error:
        line = str(error).strip().splitlines()
        return Row(check, name, FAILED, {f"{type(error).__name__}: {line[0] if line else ''}": ""})
    return Row(check, name, "below goal" if figures.get("below") else "ok", figures)


def rows(machine: Machine, checks: Sequence[str], chosen: Sequence[str], deadline: float) -> Iterator[Row]:
    """All rows, in order; `speed`, which is last, shares what is left of the time among its models."""
    for check in checks:
        names = models(check, chosen)
        for number, name in enumerate(names):
            left = deadline - time.monotonic()
            if check == "speed":
                shares = [SPEEDS[each].share for each in names[number:]]
                box = left * shares[0] / sum(shares)
                yield outcome(check, name, lambda name=name, box=box: speed(machine, name, box), left)
            else:
                function = CHECKS[check][0]
                yield outcome(check, name, lambda name=name, f=function: f(machine, name), min(left, SECONDS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Check and print; the exit status."""
    options = parsed(arguments)
    start = time.monotonic()
    quiet()
    with machine_of(options.pretend or not torch.cuda.is_available()) as machine:
        print(f"{machine.name}, torch {torch.__version__}", flush=True)
        found = []
        for row in rows(machine, options.checks, options.models, start + 60 * options.minutes):
            print(row, flush=True)
            found.append(row)
    line: dict[str, Any] = {"bench": "gpu", "device": machine.name, "torch": str(torch.__version__)}
    line |= {"seconds": round(time.monotonic() - start, 1), **Counter(row.result for row in found)}
    print(json.dumps(line | {"rows": [[*row[:3], dict(row.figures)] for row in found]}))
    return int(any(row.result == FAILED for row in found))


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; the checks in their order, models as a list."""
    every = [*CHECKS, "speed"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="check", help=f"one of {', '.join(every)}; none: all")
    parser.add_argument("--models", default="", help="names of models with commas between them; none: all")
    parser.add_argument("--minutes", type=float, default=9, help="for all of it: 9")
    parser.add_argument("--pretend", action="store_true", help="on the pretended device, as where there is no GPU")
    options = parser.parse_args(arguments)
    if unknown := set(options.checks) - set(every):
        parser.error(f"no check is called {', '.join(unknown)}; choose from {', '.join(every)}")
    options.checks = [check for check in every if check in (options.checks or every)]
    options.models = options.models.split(",") if options.models else []
    return options


def quiet() -> None:
    """Lightning's messages are left out, ours only read: `Messages`."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    ours = logging.getLogger("lightning_gen")
    ours.setLevel(logging.INFO)
    ours.propagate = False
    ours.addHandler(logging.NullHandler())


if __name__ == "__main__":
    sys.exit(main())
