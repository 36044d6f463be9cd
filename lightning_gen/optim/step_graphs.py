"""Training steps as CUDA graphs: all kernels of a step are captured once, then launched as one.

Small networks are bound by the launches: about 6 us of the host for each kernel. A captured step reads and writes the
same tensors at each replay, and draws new random numbers, as the generator is seeded before it. Python does not run, so
what changes from step to step must be in tensors (`ScheduledScalars`) or choose the graph (`step_variant`).
"""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from lightning_gen.batch import Batch
from lightning_gen.optim.stepper import Stepper
from lightning_gen.utilities.compat import copy_each
from lightning_gen.utilities.running_means import RunningMeans, Terms

log = logging.getLogger("lightning_gen")

WARM_UP = 3  # steps of a variant before it is captured: libraries choose kernels and make their workspaces in them
MAX_VARIANTS = 100  # whose steps are counted
TOLERANCE = 0.05  # of the step's change of all weights, between a replayed and an ordinary step
UNCAPTURABLE_MODES = ("reduce-overhead", "max-autotune")  # of torch.compile, which use CUDA graphs themselves


class Recording(Protocol):
    """The operations of a function, to run again on the same tensors."""

    def replay(self) -> None: ...


class Steps(Protocol):
    """A model that trains in steps, as `ImageGenerator` does."""

    steppers: list[Stepper]
    terms: RunningMeans

    def prepare(self) -> None: ...
    def step(self, batch: Batch) -> None: ...
    def step_variant(self) -> Hashable: ...
    def parameters(self) -> Iterator[Tensor]: ...
    def buffers(self) -> Iterator[Tensor]: ...


def obstacle(
    device: torch.device,
    steppers: Sequence[Stepper],
    modules: Iterable[nn.Module],
    processes: int,
    compile_mode: str | None,
) -> str | None:
    """Why steps can't be captured; None if they can."""
    if device.type != "cuda":
        return f"CUDA graphs need a CUDA device, not {device.type}"
    if processes > 1:
        return "not supported with several processes"
    if compile_mode in UNCAPTURABLE_MODES:
        return f"model.compile_mode={compile_mode} uses CUDA graphs itself"
    for module in modules:
        if getattr(module, "draws_on_host", False):
            return f"{type(module).__name__} draws random numbers on the CPU"
    for stepper in steppers:
        if stepper.scaler is not None:
            return "16-mixed asks the device for overflows; use bf16-mixed or 32-true"
        if not stepper.on_device:
            return f"{type(stepper.optimizer).__name__} is not fused; use adam, adamw or sgd"
    return None


class Recorder(Protocol):
    """Records what functions do on a device."""

    def warm_up(self, function: Callable[[], None]) -> str | None:
        """Run a function that will be recorded later; why it can't be, if that is known by then."""
        ...

    def record(self, function: Callable[[], None]) -> Recording:
        """Record a function without executing it."""
        ...


class CUDARecorder:
    """Records functions as CUDA graphs that share one pool of memory."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()

    def warm_up(self, function: Callable[[], None]) -> str | None:
        """Run the function on the stream of the captures, where libraries then have their workspaces."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream), waits_noted() as waits:
            function()
        torch.cuda.current_stream().wait_stream(self.stream)
        return "it waits for the device" if waits else None

    def record(self, function: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Capture the function, which is not executed."""
        graph = torch.cuda.CUDAGraph()
        # The outer context brings the stream back if a capture fails; threads of data loaders may call CUDA meanwhile.
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"),
        ):
            function()
        return graph


@contextmanager
def waits_noted() -> Iterator[list[str]]:
    """Yield a list that afterwards has PyTorch's warnings of operations that wait for the device.

    A capture would fail at them, and older versions of PyTorch don't recover from that.
    """
    waits: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode(before)
    waits += [str(warning.message) for warning in caught if "synchronizing" in str(warning.message)]


class StepGraphs:
    """Runs the steps of a model, those of each variant from a graph once it has been captured.

    The second step of each graph is also run as usual, and the changes of the weights compared: if they differ, or if a
    capture fails, training goes on without graphs.
    """

    def __init__(
        self, model: Steps, recorder: Recorder | None = None, warm_up: int = WARM_UP, tolerance: float = TOLERANCE
    ):
        self.model = model
        self.recorder = recorder or CUDARecorder()
        self.warm_up = warm_up
        self.tolerance = tolerance
        self.graphs: dict[Hashable, StepGraph] = {}
        self.steps: Counter[Hashable] = Counter()  # by variant
        self.enabled = True

    def step(self, batch: Batch) -> None:
        """One step, after the model's `prepare`."""
        constants = tuple(stepper.constants for stepper in self.model.steppers)
        batch_kind = batch.images.shape, batch.images.dtype, batch.labels is None
        variant = (self.model.step_variant(), constants, batch_kind)
        if len(self.steps) > MAX_VARIANTS:  # a constant that changes at each step, as beta2 with a schedule
            self.steps = Counter({known: self.steps[known] for known in self.graphs})
        self.steps[variant] += 1
        number = self.steps[variant]
        if not self.enabled:
            self.model.step(batch)
        elif number <= self.warm_up:
            reason = self.recorder.warm_up(lambda: self.model.step(batch))
            if reason:
                self._give_up(f"a step can't be captured ({reason})")
        elif number == self.warm_up + 1:
            self._capture(variant, batch)
        elif number == self.warm_up + 2:
            self._verify(self.graphs[variant], batch)
        else:
            self.graphs[variant].replay(batch)

    def _capture(self, variant: Hashable, batch: Batch) -> None:
        try:
            self.graphs[variant] = StepGraph(self.model, batch, self.recorder)
        except Exception as error:  # of CUDA, or an assertion of an optimizer
            self.model.terms.take_pending()
            self._give_up(f"a step can't be captured ({str(error).splitlines()[0]})")
            self.model.prepare()
            self.model.step(batch)
        else:
            self.graphs[variant].replay(batch)

    def _verify(self, graph: "StepGraph", batch: Batch) -> None:
        """Replay a step, then again as usual from the same state, which is kept."""
        before = [tensor.clone() for tensor in self._state()]
        weights = list(self.model.parameters())
        start = [weight.detach().clone() for weight in weights]
        graph.replay(batch)
        self.model.terms.take_pending()
        replayed = [weight.detach().clone() for weight in weights]
        copy_each(self._state(), before)
        self.model.prepare()
        self.recorder.warm_up(lambda: self.model.step(batch))
        difference = distance(weights, replayed) / distance(weights, start).clamp(min=1e-30)
        if not difference.item() <= self.tolerance:
            self._give_up(f"a captured step differs from an ordinary one by {difference.item():.1%}")

    def _state(self) -> list[Tensor]:
        """All tensors that a step changes."""
        optimizers = [stepper.optimizer for stepper in self.model.steppers]
        moments = [value for optimizer in optimizers for state in optimizer.state.values() for value in state.values()]
        tensors = [*self.model.parameters(), *self.model.buffers(), *moments]
        return [tensor.detach() for tensor in tensors if isinstance(tensor, Tensor)]

    def _give_up(self, reason: str) -> None:
        self.enabled = False
        self.graphs.clear()
        log.info("trainer.graphs=true: %s; steps are not captured", reason)


class StepGraph:
    """A captured step of a model, with the memory for its batch."""

    def __init__(self, model: Steps, batch: Batch, recorder: Recorder):
        self.model = model
        self.batch = Batch(batch.images.clone(), None if batch.labels is None else batch.labels.clone())
        with ExitStack() as stack:
            for stepper in model.steppers:
                stack.enter_context(stepper.capturable())
            self.recording = recorder.record(lambda: model.step(self.batch))
        self.terms: list[Terms] = model.terms.take_pending()

    def replay(self, batch: Batch) -> None:
        """The step on this batch, after the model's `prepare`."""
        self.batch.images.copy_(batch.images)
        if self.batch.labels is not None and batch.labels is not None:
            self.batch.labels.copy_(batch.labels)
        self.recording.replay()
        self.model.terms.pending.extend(self.terms)


def distance(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """The Euclidean distance of two lists of tensors, a scalar."""
    return torch.stack([(a.detach() - b).norm() for a, b in zip(tensors, others, strict=True)]).norm()
