"""Failures of GPUs, their drivers, compilers and connections: what PyTorch says of them, and the fix."""

import re
from typing import NamedTuple


class _Failure(NamedTuple):
    pattern: re.Pattern[str]
    fix: str


# CUDA's, NCCL's, Triton's and torch.distributed's texts, as of PyTorch 2.15; `{cpu}` and `{other}` are overrides.
_FAILURES = tuple(
    _Failure(re.compile(pattern), fix)
    for pattern, fix in (
        (
            "no kernel image is available for execution",
            "this PyTorch has no code for this GPU: install one that has (pytorch.org/get-started), or use {cpu}",
        ),
        (
            "driver version is insufficient|NVIDIA driver on your system is too old"
            "|forward compatibility was attempted on non supported HW",
            "update the NVIDIA driver, or install a PyTorch for an older CUDA (pytorch.org/get-started)",
        ),
        ("Found no NVIDIA driver|Torch not compiled with CUDA enabled", "use {cpu}"),
        ("No CUDA GPUs are available", "use {cpu}, unless the variable CUDA_VISIBLE_DEVICES hides them"),
        (
            r"devices?(\(s\))? (is/)?are busy or unavailable",
            "another process has this GPU for itself (see nvidia-smi): give another one as {other}",
        ),
        ("uncorrectable ECC error", "the memory of this GPU is faulty: give another one as {other}, or reboot"),
        (
            "No working C\\+\\+ compiler found|Failed to find C compiler|Cannot find a working triton installation"
            "|too old to be supported by the triton GPU compiler",
            "torch.compile can't work here: leave out model.compile, or install what is missing",
        ),
        ("failed to listen on .*EADDRINUSE", "another run has this port: set MASTER_PORT to a free one"),
        (
            r"seconds waiting for clients\. |client socket has timed out",
            "a process of this run is missing: start the same command on each of trainer.num_nodes nodes",
        ),
    )
)


def explain_device_failure(error: BaseException, command: str) -> str | None:
    """What went wrong and its fix, in one line; None for other errors."""
    if not isinstance(error, RuntimeError | AssertionError):
        return None
    text = str(error)
    for pattern, fix in _FAILURES:
        if found := pattern.search(text):
            return f"{command}: {_line_at(text, found.start())}; {fix.format(**_overrides(command))}"
    return None


def _overrides(command: str) -> dict[str, str]:
    if command == "train":
        return {"cpu": "trainer=cpu", "other": "trainer.devices=[1]"}
    return {"cpu": "device=cpu", "other": "device=cuda:1"}


def _line_at(text: str, place: int) -> str:
    """The first sentence of the line at this place."""
    line = text[text.rfind("\n", 0, place) + 1 :].splitlines()[0]
    return line.partition(". ")[0].rstrip(".")
