"""Models that train on a device step by step, without Lightning, for the checks of check_gpu.py."""

import math
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache, partial
from types import SimpleNamespace
from typing import Any

import torch
from gpu_machines import Machine
from omegaconf import DictConfig
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode  # in torch's notes on extending it, under this name

from lightning_gen.batch import Batch
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.penalties import Penalty
from lightning_gen.models.gan import GAN
from lightning_gen.optim.step_graphs import StepGraphs, obstacle
from lightning_gen.optim.stepper import Stepper
from lightning_gen.testing import DATA, FAKE, model_class, narrow
from lightning_gen.training.run import use_channels_last

CPU = torch.device("cpu")


@cache
def composed(*overrides: str) -> DictConfig:
    """A config of several checks: composing takes as long as a few steps."""
    return compose(overrides)


class Training:
    """`model=name` in training on `device`, without Lightning: `overrides` are those of the command line.

    `changes` are made to the model before its optimizers. With `plain_steps` these are SGD, as Adam turns rounding of a
    gradient that is zero into a step of full size. `graphs` makes the StepGraphs.
    """

    def __init__(
        self,
        name: str,
        *overrides: str,
        device: torch.device,
        plain_steps: bool = False,
        graphs: Callable[[ImageGenerator], StepGraphs] | None = None,
    ):
        config = composed(f"model={name}", *overrides, "callbacks=[]", "metrics=[]", "logger=none", "debug=smoke")
        torch.manual_seed(0)
        self.data = build_data(config.data)
        self.model = build_model(config.model, self.data.image_shape, self.data.num_classes)
        shorten_periods(self.model)
        self.trainer = stand_in(self.model, device)  # the model keeps no reference
        self.model.trainer = self.data.trainer = self.trainer
        self.model.to(device).train()
        if device.type != "cpu":
            use_channels_last(self.model)
        self.model.configure_optimizers()
        if plain_steps:
            self.model.steppers = [
                Stepper(torch.optim.SGD(parameters, lr=1e-2), self.model.gradient_clip, None)
                for _, parameters in self.model.trainable_groups()
            ]
        self.model.on_train_start()
        self.model.graphs = graphs(self.model) if graphs else None
        self.batches: Iterator[Iterable[Batch]] = iter(self.data.train_dataloader())

    @property
    def period(self) -> int:
        """The number of steps after which the same players and penalties are due."""
        every = math.lcm(*(penalty.every for penalty in penalties_of(self.model)))
        return every * (self.model.generator_every if isinstance(self.model, GAN) else 1)

    def step(self, *contexts: AbstractContextManager[Any]) -> dict[str, float]:
        """One step within the contexts, and its terms."""
        batches = list(next(self.batches))  # made before, as its order may be copied from the host
        with ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context)
            self.model.training_step(batches, 0)
        return self.model.terms.flush()

    def trained(self) -> list[dict[str, Tensor]]:
        """The weights of each optimizer, copied to the CPU."""
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        return [{names[p]: p.detach().cpu().clone() for p in stepper.parameters} for stepper in self.model.steppers]

    def state(self) -> dict[str, Tensor]:
        """Weights, averages and buffers, copied to the CPU."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}


def penalties_of(model: ImageGenerator) -> list[Penalty]:
    """The penalties of a GAN; other models have none."""
    return [each for each in model.penalties.values() if isinstance(each, Penalty)] if isinstance(model, GAN) else []


def shorten_periods(model: ImageGenerator) -> None:
    """Penalties at least at every second step, so that all are due within a few; no beta2 that changes at each."""
    if isinstance(model, GAN):
        model.generator_every = min(model.generator_every, 2)
        model.beta2_schedule = None
    for penalty in penalties_of(model):
        penalty.every = min(penalty.every, 2)


def stand_in(model: ImageGenerator, device: torch.device) -> Any:
    """What a model and its data ask of a trainer."""
    progress = SimpleNamespace(increment_ready=lambda: None, increment_completed=lambda: None)
    optimization = SimpleNamespace(optim_step_progress=progress)
    return SimpleNamespace(
        lightning_module=model,
        strategy=SimpleNamespace(root_device=device),
        precision_plugin=SimpleNamespace(scaler=None),
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(manual_optimization=optimization)),
        **{"world_size": 1, "global_rank": 0, "max_images": 100_000, "loggers": []},
    )


@cache
def small(machine: Machine, name: str) -> list[str]:
    """Overrides for a small batch of the images that a model takes; on a pretended device its networks are narrow."""
    takes_images = model_class(name).takes_images
    data = ["data.image_shape=[1,8,8]"] if name.startswith("pixel_") else DATA["rgb" if takes_images else "sequence"]
    frames = [] if takes_images else ["model.context_frames=3"]
    chosen = [*FAKE, *data, "data.batch_size=8"]
    if not machine.pretended:
        return [*chosen, *(frames if "context_frames" in composed(f"model={name}").model else [])]
    return [*chosen, "data.batch_size=4", *narrow(name)]


class Refused(Exception):
    """Not done, for a reason that is no fault."""


def captured(machine: Machine, model: ImageGenerator) -> StepGraphs:
    """The graphs of a model's steps, whatever their first replay gives; Refused if it can't have any."""
    # A pretended device is taken for CUDA's.
    reason = obstacle(
        torch.device("cuda"), model.steppers, model.modules(), processes=1, compile_mode=model.compile_mode
    )
    if reason is not None:
        raise Refused(reason)
    return StepGraphs(model, machine.recorder(), tolerance=math.inf)


class DrawsOnCPU(TorchDispatchMode):
    """Within it random numbers are drawn on the CPU, then moved: the same on every device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        device = device_of(args, kwargs)
        # Names with an underscore are layers that may draw, such as cuDNN's RNNs.
        drawn = torch.Tag.nondeterministic_seeded in func.tags and not func._schema.name.startswith("aten::_")
        if not drawn or device.type == "cpu":
            return func(*args, **kwargs)
        on_cpu = [each.cpu() if isinstance(each, Tensor) else each for each in args]
        result = func(*on_cpu, **kwargs | ({"device": CPU} if "device" in kwargs else {}))
        if func._schema.is_mutable:
            return args[0].copy_(on_cpu[0])
        move = partial(torch.Tensor.to, device=device)
        return tuple(map(move, result)) if isinstance(result, tuple) else move(result)


def device_of(args: tuple, kwargs: dict[str, Any]) -> torch.device:
    """The device of an operation."""
    found = [each.device for each in args if isinstance(each, Tensor)]
    return torch.device(kwargs["device"]) if kwargs.get("device") is not None else found[0] if found else CPU


@contextmanager
def deterministic() -> Iterator[None]:
    """Deterministic algorithms within it, where there are any."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark, before = False, torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = before


class OutOfTime(BaseException):
    """Not an Exception, which what is interrupted may catch."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """OutOfTime if what is within it takes longer."""

    def stop(*_: object) -> None:
        raise OutOfTime

    start, before = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    outer, _ = signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.01))
    try:
        yield
    finally:
        left = max(outer - time.monotonic() + start, 0.01) if outer else 0  # of a limit around this one
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """The Euclidean distance of two states, of their floats."""
    names = [name for name, tensor in first.items() if tensor.is_floating_point()]
    return math.sqrt(sum((first[name].double() - second[name].double()).square().sum().item() for name in names))
