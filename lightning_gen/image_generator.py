"""Base of all models: losses to minimize, images to sample, training in steps counted in images."""

import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_gen.batch import Batch
from lightning_gen.bounds import ModelSize, PositiveFloat, PositiveInt, UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.networks.synced_batch_norm import synced_batch_norm
from lightning_gen.optim.ema import WeightAverage
from lightning_gen.optim.scheduled_scalars import ScheduledScalars
from lightning_gen.optim.schedules import Schedule, cheap, check_schedule
from lightning_gen.optim.sharding import gathered, sharded_modules
from lightning_gen.optim.step_graphs import StepGraphs, obstacle
from lightning_gen.optim.stepper import Stepper
from lightning_gen.randomness import seed_all
from lightning_gen.utilities.compat import count_step
from lightning_gen.utilities.ranks import broadcast_from_first, is_distributed
from lightning_gen.utilities.renames import keep_overrides
from lightning_gen.utilities.running_means import RunningMeans
from lightning_gen.utilities.whole_batch import batch_rows, whole_batch

log = logging.getLogger("lightning_gen")

CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
KEY = "lightning_gen"  # of this package's entries in checkpoints
UNBOUNDED = 2**62  # images of a run without an end: schedules then never decay


class ImageGenerator(LightningModule):
    """Base of all models.

    A model implements `losses` and `sample`; accumulation, clipping, schedules, averaged weights, counting and logging
    are done here. `image_shape` is `(C, H, W)`, or `(T, C, H, W)` for sequences, and `num_classes` is that of the data;
    the attribute `num_classes` is None unless `conditional`.

    - `optimizer(parameters)` makes the optimizer; `schedule(images_seen, total_images)` scales its learning rate.
    - `ema_decay`: of the averages of the modules in `averaged_parts`; None or 0 for no averages.
    - `gradient_clip`: maximum gradient norm. `accumulate`: number of parts to process a batch in, to save memory.
    - `compile`: parts for torch.compile; true for all of `compiled_parts`. `compile_mode`: its `mode`.
    - `size`: of a model whose YAML file has such a dial; its numbers have been chosen by it (`config/sizes.py`).
    """

    averaged_parts: tuple[str, ...] = ()
    compiled_parts: tuple[str, ...] = ()
    # Those whose weights `trainer.sharded` divides among ranks, which are only called as functions of tensors, or name
    # what is in a method `blocks()`; None: the compiled parts.
    sharded_parts: tuple[str, ...] | None = None
    # What a model can do. Abilities that are methods are protocols in lightning_gen.capabilities.
    takes_images: bool = True
    takes_sequences: bool = False
    generates: bool = True  # False: `sample` raises, and metrics and pictures of samples are left out
    validation_loss: bool = True  # `losses` has a `loss` that measures the quality of the model
    exact_likelihood: bool = False  # `log_likelihood` is no bound
    draws_predictions: bool = False  # `predict` is random

    steppers: list[Stepper]
    averages: nn.ModuleDict  # WeightAverage by the name of the part

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        conditional: bool = False,
        optimizer: Callable[..., Optimizer],
        schedule: Schedule | None = None,
        ema_decay: UnitInterval | None = None,
        gradient_clip: PositiveFloat | None = None,
        accumulate: PositiveInt = 1,
        compile: bool | list[str] = False,
        compile_mode: CompileMode | None = None,
        size: ModelSize | None = None,
    ):
        super().__init__()
        self._check_kind(image_shape)
        if conditional and not num_classes:
            raise UserError(
                "model.conditional=true: the data has no labels; use model.conditional=false or labeled data"
            )
        self.automatic_optimization = False
        self.image_shape = tuple(image_shape)
        self.num_classes = num_classes if conditional else None
        self.make_optimizer = optimizer
        self.schedule = cheap(schedule)
        self.ema_decay = ema_decay
        self.gradient_clip = gradient_clip
        self.accumulate = accumulate
        self.to_compile = list(self.compiled_parts) if compile is True else list(compile or [])
        self.compile_mode = compile_mode
        self.size = size
        self.images_seen = 0  # over all ranks; the unit of every counter, log and interval
        self.images_per_call = 0  # images of the last training_step
        self.batches_seen = 0
        self.seed = 0
        # Of the data, set before a run and by `load_model`; of endless data those of one pass. 0: not known.
        self.num_training_images = 0
        self.class_names: list[str] = []  # those of the data
        self.provenance: dict[str, Any] = {}  # entries of checkpoints on the run: config, data facts, versions
        self.terms = RunningMeans()
        self._scheduled = ScheduledScalars()
        self._validation = ExitStack()  # what ends with a validation
        self.graphs: StepGraphs | None = None  # of steps that are captured
        self.latest: dict[str, float] = {}  # the latest logged scalars, for callbacks
        # Slow `sample` methods report progress to this callback, in images (fractions of one included).
        self.on_progress: Callable[[float], None] | None = None
        self.on_step: Callable[[], None] | None = None  # called after each optimizer step, for progress

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        keep_overrides(cls, observe="to_support")

    def _check_kind(self, image_shape: tuple[int, ...]) -> None:
        sequences = len(image_shape) == 4
        if self.takes_sequences if sequences else self.takes_images:
            return
        kind, fix = ("sequences", "images") if sequences else ("single images", "sequences")
        shape = "x".join(map(str, image_shape))
        raise UserError(
            f"model: {type(self).__name__} takes no {kind}, which the data has ({shape}); "
            f"choose data of {fix}, or a model of {kind}"
        )

    # To implement.

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Scalars by name: `loss` is minimized, all are logged."""
        raise NotImplementedError

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Sample `n` images, `(n, *image_shape)` in [-1, 1]; conditional models sample labels if none are given."""
        raise NotImplementedError

    def to_support(self, images: Tensor) -> Tensor:
        """Images mapped to the support of the model's likelihood (binarized, for instance), possibly at random."""
        return images

    observe = to_support  # deprecated alias, until 0.2

    # Implemented for all models.

    def setup_parts(self) -> None:
        """Set up averages and compiled parts; `build_model` calls it once when all modules exist."""
        unknown = [name for name in self.to_compile if not isinstance(getattr(self, name, None), nn.Module)]
        if unknown:
            raise UserError(f"model.compile={unknown}: no such part; this model has {list(self.compiled_parts)}")
        self.averages = nn.ModuleDict()
        if self.ema_decay:
            for name in self.averaged_parts:
                self.averages[name] = WeightAverage(getattr(self, name), self.ema_decay)
        for name in self.to_compile:
            getattr(self, name).compile(mode=self.compile_mode)

    @contextmanager
    def averaged_weights(self, enabled: bool = True) -> Iterator[None]:
        """Replace the averaged parts by their averages within the context, for samples and scores.

        The trained parts always come back, so no checkpoint can have them swapped.
        """
        trained = {name: getattr(self, name) for name in self.averages} if enabled else {}
        for name in trained:
            setattr(self, name, self.averages[name].module)
        try:
            yield
        finally:
            for name, module in trained.items():
                setattr(self, name, module)

    def use_averaged_weights(self) -> None:
        """Replace the trained weights by their averages for good, for a model that only samples."""
        for name, average in self.averages.items():
            setattr(self, name, average.module)
        self.averages = nn.ModuleDict()

    @property
    def differentiated_twice(self) -> Collection[str]:
        """The parts of whose gradients losses take gradients."""
        return ()

    def parts_to_shard(self) -> Iterator[tuple[nn.Module, bool]]:
        """The parts to divide among ranks, and their averages; whether to keep them gathered until their step."""
        if self.to_compile:
            raise UserError("model.compile: not supported with trainer.sharded=true; use model.compile=false")
        for name in self.compiled_parts if self.sharded_parts is None else self.sharded_parts:
            yield getattr(self, name), name in self.differentiated_twice
            if name in self.averages:
                average = self.averages[name]
                assert isinstance(average, WeightAverage)
                yield average.module, False

    @contextmanager
    def whole_weights(self) -> Iterator[None]:
        """Within it each rank has all weights of the parts in use, for any number of calls without gradients.

        All ranks enter it together; it does nothing unless `trainer.sharded`.
        """
        if not is_distributed():
            yield
            return
        names = (name for name, _ in self.named_children() if name != "averages")
        with gathered(module for name in names for module in sharded_modules(getattr(self, name))):
            yield

    def draw_labels(self, n: int) -> Tensor | None:
        """Sample `n` labels, uniform over the classes; None for unconditional models."""
        return None if self.num_classes is None else torch.randint(self.num_classes, (n,), device=self.device)

    def build_optimizers(self) -> list[Optimizer]:
        """New optimizers of all trainable parameters; UserError for settings that they refuse."""
        check_schedule(self.schedule)
        try:
            optimizers = [make(parameters) for make, parameters in self.trainable_groups()]
        except ValueError as error:
            raise UserError(f"model.optimizer: {error}") from error
        for optimizer in optimizers:
            if not isinstance(optimizer, Optimizer):
                raise UserError(f"model.optimizer: makes a {type(optimizer).__name__}, not a torch.optim.Optimizer")
        return optimizers

    def configure_optimizers(self) -> list[Optimizer]:
        """The optimizers, in the order of their steppers."""
        optimizers = self.build_optimizers()
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        sharded = sharded_modules(self) if is_distributed() else []
        self.steppers = [Stepper(o, self.gradient_clip, self.schedule, scaler, sharded) for o in optimizers]
        return optimizers

    def trainable_groups(self) -> list[tuple[Callable[..., Optimizer], list[nn.Parameter]]]:
        """For each optimizer its constructor and its parameters."""
        return [(self.make_optimizer, [p for p in self.parameters() if p.requires_grad])]

    def on_train_start(self) -> None:
        """Apply the optimizer settings of the config, after a checkpoint has been loaded."""
        for stepper in self.steppers:
            stepper.apply_settings()
        self.graphs = self._new_graphs() if getattr(self.trainer, "graphs", False) else None

    def on_train_end(self) -> None:
        """Free the memory of captured steps: scores are computed next."""
        self.graphs = None

    def _new_graphs(self) -> StepGraphs | None:
        reason = obstacle(self.device, self.steppers, self.modules(), self.trainer.world_size, self.compile_mode)
        if reason is None:
            return StepGraphs(self)
        log.info("trainer.graphs=true: %s; steps are not captured", reason)
        return None

    def training_step(self, batches: Iterable[Batch], batch_idx: int) -> None:
        """An optimizer step for each of `batches`: several per call, to share Lightning's overhead."""
        self.images_per_call = 0
        for batch in batches:
            if self.images_seen >= self.total_images:
                break  # the run ends within these batches
            self.prepare()
            with self.as_one_process(len(batch.images)):
                (self.graphs or self).step(batch)
            self.terms.commit()
            self.batches_seen += 1
            images = len(batch.images) * self.trainer.world_size
            self.images_seen += images
            self.images_per_call += images
            if self.on_step is not None:
                self.on_step()
        # Equal on all ranks before any validation, score or checkpoint.
        broadcast_from_first(buffer for buffer in self.buffers() if buffer.is_floating_point())
        self._count_step()

    def prepare(self) -> None:
        """The host's part of a step: seeds, and every number that changes between steps, as tensors."""
        seed_all(self.seed, "step", self.images_seen, 0)
        for stepper in self.steppers:
            stepper.set_rates(self.images_seen, self.total_images)
        self._scheduled.refresh()

    def scheduled(self, name: str, value: Callable[[], float]) -> Tensor:
        """A number that changes between steps, as a scalar tensor: `value()` is called before each step.

        In a captured step (`trainer.graphs`) a Python number would keep its first value.
        """
        return self._scheduled(name, value, self.device)

    def step_variant(self) -> Hashable:
        """What the host decides about the next step: steps of one variant run the same kernels."""
        return None

    def as_one_process(self, rows: int, total: int | None = None) -> AbstractContextManager:
        """Within it draws, and in training synced statistics, are those of the batch of all ranks.

        `rows` of its `total`, by default `rows` on each rank, are this rank's.
        """
        synced = self.training and getattr(self.trainer, "batch_norm", "local") == "synced"
        replaced = {F.batch_norm: synced_batch_norm} if synced else {}
        return whole_batch(self.global_rank, self.trainer.world_size, rows, total, replaced)

    def step(self, batch: Batch) -> None:
        """Minimize `losses` on one batch: the device's part of a step, after `prepare`."""
        for part in self.parts_of(batch):
            terms = self.losses(part)
            fraction = len(part.images) / len(batch.images)
            self.steppers[0].backward(terms["loss"] if fraction == 1 else terms["loss"] * fraction)
            self.terms.add(terms, weight=fraction)
        for stepper in self.steppers:
            stepper.step()
        self.update_averages(*self.averages)

    def parts_of(self, batch: Batch) -> Iterator[Batch]:
        """The batch in `accumulate` parts, to process one after another."""
        if self.accumulate == 1:
            yield batch
            return
        labels = [None] * self.accumulate if batch.labels is None else batch.labels.chunk(self.accumulate)
        for images, part_labels in zip(batch.images.chunk(self.accumulate), labels, strict=False):
            with batch_rows(len(images)):
                yield Batch(images, part_labels)

    def update_averages(self, *names: str) -> None:
        """Update the averages of the named parts after an optimizer step."""
        for name in names:
            average = self.averages[name]
            assert isinstance(average, WeightAverage)
            average.update(getattr(self, name), self._share(name, average))

    def _share(self, name: str, average: WeightAverage) -> float | Tensor:
        if self.device.type == "cpu":  # nothing is captured, and a number is faster
            return average.share(self.batches_seen)
        return self.scheduled(f"averages.{name}", lambda: average.share(self.batches_seen))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the progress of the run and its provenance."""
        progress = {"images_seen": self.images_seen, "batches_seen": self.batches_seen}
        checkpoint[KEY] = {**self.provenance, **progress, "terms": self.terms.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the progress of the run."""
        self.images_seen = checkpoint[KEY]["images_seen"]
        self.batches_seen = checkpoint[KEY]["batches_seen"]
        self.terms.load_state_dict(checkpoint[KEY].get("terms", []))  # not in those of version 0.1

    @property
    def total_images(self) -> int:
        """Number of images of the whole run, for schedules."""
        return getattr(self.trainer, "max_images", None) or UNBOUNDED

    def _count_step(self) -> None:
        # Lightning counts steps of its own optimizer wrappers. Counting here makes its global_step the number of
        # training_step calls whatever the number of optimizers (pytorch-lightning #17958).
        count_step(self.trainer)

    def on_validation_epoch_start(self) -> None:
        """Reset the validation means, and gather sharded weights: ranks may have different numbers of batches."""
        self.validation_terms = RunningMeans()
        with self.averaged_weights():
            self._validation.enter_context(self.whole_weights())

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Losses of the averaged weights, with the same noise at each validation."""
        seed_all(self.seed, "validation", batch_idx, 0)
        with self.averaged_weights(), self.as_one_process(len(batch.images), self._validation_rows(batch_idx)):
            terms = self.losses(batch)
        self.validation_terms.add(terms, weight=len(batch.images))
        self.validation_terms.commit()

    def _validation_rows(self, batch_idx: int) -> int | None:
        """Images of a validation batch on all ranks together: the last batch has fewer, and not all ranks alike."""
        if self.trainer.world_size == 1:
            return None
        data = self.trainer.datamodule  # pyrefly: ignore[missing-attribute]  # Lightning sets it in `fit`
        return min(data.batch_size, data.split_sizes["val"] - batch_idx * data.batch_size)

    def on_validation_epoch_end(self) -> None:
        """Pass the means to callbacks as `val/<term>`, and to the loggers."""
        self._validation.close()
        means = {f"val/{name}": value for name, value in self.validation_terms.flush().items()}
        self.log_dict(means, logger=False)
        self.log_now(means)

    def log_now(self, scalars: dict[str, float]) -> None:
        """Write scalars to all loggers, with the images seen as the step."""
        self.latest = {**self.latest, **scalars}  # a new object, so that callbacks notice the change
        for logger in self.loggers:
            logger.log_metrics(scalars, step=self.images_seen)
