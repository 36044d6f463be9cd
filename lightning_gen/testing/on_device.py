"""Models on a GPU that is pretended: they train, sample and all else without mixed devices, steps without waits.

For our own tests and those of plugins, as the checks of `lightning_gen.testing`; raises AssertionError. Where torch
can't register a device, `WHY_NOT` of pretended_tensor.py says so, and nothing here works.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from lightning_gen import capabilities
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.models.gan import GAN
from lightning_gen.optim.step_graphs import StepGraphs
from lightning_gen.sampling.evaluation_mode import evaluation_mode
from lightning_gen.sampling.latent_space import LatentModel, space_of, walk
from lightning_gen.sampling.projection import Descent, project
from lightning_gen.testing import DATA, FAKE, narrow
from lightning_gen.testing.pretended_device import PretendedDevice, Trace, differences
from lightning_gen.testing.recording import Recording

if TYPE_CHECKING:
    from lightning_gen.batch import Batch
    from lightning_gen.image_generator import ImageGenerator


# Where `prepare` writes the numbers of a step, before it.
PREPARED = tuple(f"at lightning_gen/optim/{name}.py" for name in ("scheduled_scalars", "stepper"))


class Trainer:
    """What a model and its data ask of a trainer."""

    world_size, global_rank, max_images = 1, 0, 10_000
    loggers: Sequence[Any] = ()

    def __init__(self, model: "ImageGenerator", device: torch.device):
        self.lightning_module = model
        self.strategy = SimpleNamespace(root_device=device)
        self.precision_plugin = SimpleNamespace(scaler=None)
        counted = SimpleNamespace(increment_ready=lambda: None, increment_completed=lambda: None)
        optimization = SimpleNamespace(optim_step_progress=counted)
        self.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(manual_optimization=optimization))


class Run:
    """A model in training on the device, within the context of `PretendedDevice`.

    `overrides` are those of the command line.
    """

    def __init__(self, device: PretendedDevice, *overrides: str):
        self.pretended = device
        self.data, self.model = _built(*overrides, "callbacks=[]", "metrics=[]", "logger=none")
        self.trainer = Trainer(self.model, device.device)  # the model keeps no reference
        self.model.trainer = self.data.trainer = self.trainer
        self.model.to(device.device)
        self.model.train()
        for penalty in getattr(self.model, "penalties", {}).values():
            penalty.every = 1  # so that all steps are of one kind, as without a schedule of beta2
        if isinstance(self.model, GAN):
            self.model.beta2_schedule = None
        self.model.configure_optimizers()
        self.model.on_train_start()
        self.batches: Iterator[list[Batch]] = iter(self.data.train_dataloader())

    @property
    def period(self) -> int:
        """The number of steps after which the same players step again."""
        return getattr(self.model, "generator_every", 1)

    def step(self, context: AbstractContextManager[Any] | None = None) -> Trace:
        """One call of `training_step` within `context`, without the making of the batch."""
        batches = list(next(self.batches))
        with self.pretended.trace() as trace, context or nullcontext():
            self.model.training_step(batches, 0)
        return trace


def _built(*overrides: str) -> tuple[Any, Any]:
    """The data and the model of a config, initialized as in each test."""
    config = compose(overrides)
    torch.manual_seed(0)
    data = build_data(config.data)
    model = build_model(config.model, data.image_shape, data.num_classes)
    model.num_training_images = data.split_sizes["train"]
    return data, model


def check_model_on_device(name: str, *overrides: str, data: str = "rgb") -> None:
    """`model=name` works on a GPU: in training, and in all that it can do.

    No tensor is on the wrong device, no step waits for the device, and a step can be captured in a CUDA graph. Networks
    and `data` are those of `check_model`.
    """
    chosen = [f"model={name}", *FAKE, *DATA[data], "data.batch_size=4", *overrides]
    with PretendedDevice() as device:
        run = Run(device, *chosen, *narrow(name, *overrides))
        check_steps(run)
        use(run)


def check_augment_on_device(name: str, *overrides: str, waits: Sequence[str] = ()) -> None:
    """`data/augment=[name]` works on a GPU: no mixed devices, and no waits for the device but those that have a part
    of `waits` in their line.
    """
    chosen = ["model=mlp_vae", *FAKE, "data.image_shape=[1,16,16]", "data.batch_size=4", f"data/augment=[{name}]"]
    with PretendedDevice() as device:
        run = Run(device, *chosen, *overrides)
        list(next(run.batches))  # the order of an epoch goes to the device once
        with device.trace() as trace:
            list(next(run.batches))
    found = [line for line in trace.waits if not any(known in line for known in waits)]
    assert not found, f"augmentation waits for the device: {', '.join(found)}"


def check_steps(run: Run) -> None:
    """AssertionError for a wait within a step, a number that changes from step to step, or a replay that differs."""
    traces = [run.step() for _ in range(3 * run.period)]
    for trace in traces:
        assert not trace.waits, f"a step waits for the device: {', '.join(trace.waits)}"
    if not all(stepper.on_device for stepper in run.model.steppers):
        return  # never captured: the learning rate of this optimizer is a number
    first, second = traces[run.period :][: run.period], traces[2 * run.period :]
    found = [line for one, other in zip(first, second, strict=True) for line in differences(one, other)]
    found = [line for line in found if not (line.startswith("aten.fill_") and any(place in line for place in PREPARED))]
    assert not found, "numbers that a graph of a step would keep:\n" + "\n".join(found)
    graphs = run.model.graphs = StepGraphs(run.model, Recorder(run.pretended), warm_up=0, tolerance=0)
    for _ in range(2 * run.period):
        run.step()
    assert graphs.enabled, "a captured step differs from an ordinary one, or can't be captured"
    run.model.graphs = None


class Recorder:
    """Captures steps on the pretended device; counts the captures."""

    def __init__(self, device: PretendedDevice):
        self.device = device
        self.captures = 0

    def warm_up(self, function: Callable[[], None]) -> None:
        """Run a function that will be recorded later."""
        function()

    def record(self, function: Callable[[], None]) -> Recording:
        """Record a function without executing it."""
        self.captures += 1
        return self.device.record(function)


def use(run: Run, n: int = 2) -> None:
    """Have the model do all that it can, on `n` images."""
    model = run.model
    [batch] = next(run.batches)
    images, labels = batch.images[:n], None if batch.labels is None else batch.labels[:n]
    given = labels if model.num_classes else None
    with evaluation_mode(model):
        model.terms.flush()
        model.losses(type(batch)(images, labels))
        if model.generates:
            model.sample(n)
        for ability, call in _abilities(model, images, given).items():
            if isinstance(model, ability):
                call()
    if len(model.image_shape) == 3 and isinstance(model, LatentModel):
        _project(model, images, given)


def _abilities(model: Any, images: torch.Tensor, labels: torch.Tensor | None) -> dict[type, Callable[[], Any]]:
    return {
        capabilities.HasLikelihood: lambda: model.log_likelihood(model.to_support(images), labels, samples=2),
        capabilities.Reconstructs: lambda: model.reconstruct(images, labels),
        capabilities.Encodes: lambda: model.encode(images, labels),
        capabilities.HasLatent: lambda: model.decode(model.latent(len(images))),
        capabilities.HasStyle: lambda: model.decode_style(model.style(model.latent(len(images)))),
        capabilities.Predicts: lambda: model.predict(model.to_support(images[:, : model.context_frames]), 2),
        capabilities.Completes: lambda: model.complete(model.to_support(images), images.shape[-2] - 1, labels),
        capabilities.Classifies: lambda: model.classify(images),
    }


def _project(model: Any, images: torch.Tensor, labels: torch.Tensor | None) -> None:
    """As the commands `project` and `interpolate`, which have the model in evaluation mode."""
    model.eval()
    descent = Descent(starts=2, steps=2, step_size=0.1, noise=0.1, prior_weight=0.1, batch_size=4, seed=0)
    space = space_of(model, "auto", Path())
    project(space, images, labels, descent)
    with torch.no_grad():
        list(walk(space, len(images), None if labels is None else labels.cpu(), stops=2, steps=2, seed=0))
