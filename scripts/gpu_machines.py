"""The GPU that check_gpu.py checks, or a pretended one: its clock, its precision, and what the host waits for."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from lightning_gen.optim.step_graphs import CUDARecorder

if TYPE_CHECKING:
    from lightning_gen.testing.pretended_device import PretendedDevice


class GPU:
    """The first CUDA device."""

    pretended = False
    trainer = ("trainer=gpu",)
    program = ("-m", "lightning_gen")

    def __init__(self) -> None:
        self.device = torch.device("cuda", 0)
        self.name = torch.cuda.get_device_name(self.device)
        self.recorder = CUDARecorder

    def autocast(self) -> AbstractContextManager[Any]:
        """As Lightning's bf16-mixed."""
        return torch.autocast("cuda", torch.bfloat16, cache_enabled=False)

    @contextmanager
    def without_waits(self) -> Iterator[None]:
        """RuntimeError where the host would wait for the device."""
        torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def mark(self) -> torch.cuda.Event:
        """A point in the device's time."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, marks: Sequence[Any]) -> list[float]:
        """The time between each two neighbors of the marks."""
        torch.cuda.synchronize()
        return [first.elapsed_time(second) / 1000 for first, second in pairwise(marks)]


class PretendedGPU:
    """The pretended device of `lightning_gen.testing`: checks are those of a GPU, figures are not."""

    pretended = True
    name = "a pretended device"

    def __init__(self, pretend: "PretendedDevice") -> None:
        from lightning_gen.testing import pretended_accelerator, pretended_autocast

        self.pretend = pretend
        self.device = pretend.device
        self.autocast = pretended_autocast.autocast
        self.trainer = ("trainer=gpu", "trainer.graphs=false", *pretended_accelerator.OVERRIDES)
        lines = "from lightning_gen.testing import pretended_accelerator as p; from lightning_gen.cli import main"
        self.program = ("-c", f"{lines}\nwith p.PretendedDevice(): raise SystemExit(main())")

    def recorder(self) -> Any:
        """Records on the pretended device."""
        from lightning_gen.testing.on_device import Recorder

        return Recorder(self.pretend)

    @contextmanager
    def without_waits(self) -> Iterator[None]:
        """RuntimeError where the host would wait for the device."""
        with self.pretend.trace() as trace:
            yield
        if trace.waits:
            raise RuntimeError("the host waits: " + ", ".join(trace.waits))

    def mark(self) -> float:
        """A point in time."""
        return time.perf_counter()

    def seconds(self, marks: Sequence[Any]) -> list[float]:
        """The time between each two neighbors of the marks."""
        return [second - first for first, second in pairwise(marks)]


Machine = GPU | PretendedGPU


@contextmanager
def machine_of(pretend: bool) -> Iterator[Machine]:
    """The GPU, or a pretended one within the context."""
    if not pretend:
        yield GPU()
        return
    # Imported here only: it registers a device in the process, which a GPU would have as a rival.
    from lightning_gen.testing.pretended_device import PretendedDevice

    with PretendedDevice() as device:
        yield PretendedGPU(device)
