"""Programs as files: `torch.export` archives (.pt2) and ONNX, each compared with the model after it was written."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from lightning_gen.errors import UserError, missing_package
from lightning_gen.randomness import seed_all
from lightning_gen.sharing.program import ROWS, Program

TOLERANCE = 1e-5  # of outputs, which are in [-1, 1] or [0, 1] but for latents
SIZES = (1, ROWS, 5)  # numbers of rows that are compared
SUFFIXES = {"torch_export": ".pt2", "onnx": ".onnx"}

Function = Callable[[dict[str, Tensor]], Tensor]


def check_format(format: str) -> None:
    """UserError if packages for a format are missing."""
    if format == "onnx":
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise missing_package("format=onnx", error.name, "onnx") from None


def write_program(program: Program, format: str, folder: Path) -> float:
    """Write a program to `folder` and return the largest difference of its outputs from the model's.

    UserError for a program that can't be traced, or whose outputs differ by more than `TOLERANCE`.
    """
    if format == "onnx" and program.draws:
        raise UserError(
            "format=onnx: this model draws noise while it generates, which ONNX Runtime draws otherwise; "
            "use format=torch_export"
        )
    path = folder / f"{program.name}{SUFFIXES[format]}"
    write, read = (_write_onnx, _onnx_function) if format == "onnx" else (_write_archive, _archive_function)
    with _quiet():
        write(_traced(program, format), program, path)
        difference = _difference(program, read(path))
    if not difference <= TOLERANCE:
        raise UserError(
            f"format={format}: outputs of the {program.name} differ from the model's by {difference:.2g}, more than "
            f"{TOLERANCE:g}; nothing was written"
        )
    return difference


def _traced(program: Program, format: str) -> torch.export.ExportedProgram:
    """The graph of a program, for any number of rows.

    Code that asks for `len(tensor)` needs the slower strict tracing; a number would be baked in otherwise.
    """
    rows = torch.export.Dim("n")
    inputs = tuple(program.example.values())
    for strict in (False, True):
        try:
            shapes = {"inputs": tuple({0: rows} for _ in inputs)}
            return torch.export.export(program.module, inputs, dynamic_shapes=shapes, strict=strict)
        except Exception as error:  # of many kinds
            if strict:
                reason = " ".join(str(error).split())[:200]
                fix = "format=safetensors keeps all of the model"
                raise UserError(f"format={format}: the {program.name} can't be traced ({reason}); {fix}") from error
    raise AssertionError("unreachable")


def _write_archive(traced: torch.export.ExportedProgram, program: Program, path: Path) -> None:
    torch.export.save(traced, path)


def _archive_function(path: Path) -> Function:
    module = torch.export.load(path).module()
    return lambda inputs: module(*inputs.values())


def _write_onnx(traced: torch.export.ExportedProgram, program: Program, path: Path) -> None:
    names = {"input_names": list(program.example), "output_names": [program.output]}
    exported = torch.onnx.export(traced, dynamo=True, verbose=False, **names)
    assert exported is not None
    exported.save(path)  # weights beyond 2 GB go to a file beside it


def _onnx_function(path: Path) -> Function:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(inputs: dict[str, Tensor]) -> Tensor:
        [output] = session.run(None, {name: values.numpy() for name, values in inputs.items()})
        return torch.from_numpy(output)

    return run


def _difference(program: Program, function: Function) -> float:
    """The largest absolute difference of outputs, for several numbers of rows; infinity for other shapes."""
    worst = 0.0
    for n in SIZES:
        inputs = program.rows(n)
        seed_all("export", "compared")
        expected = program.module(*inputs.values())
        seed_all("export", "compared")
        found = function(inputs)
        if found.shape != expected.shape:
            return float("inf")
        worst = max(worst, (found - expected).abs().max().item())
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it PyTorch and ONNX's packages log and warn nothing: what fails is told in a line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
