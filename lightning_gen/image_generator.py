"""What every model is: losses to minimize and images to sample, trained in steps counted in images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_gen.batch import Batch
from lightning_gen.bounds import PositiveFloat, PositiveInt, UnitInterval
from lightning_gen.errors import UserError
from lightning_gen.optim.ema import WeightAverage
from lightning_gen.optim.schedules import Schedule, cheap
from lightning_gen.optim.stepper import Stepper
from lightning_gen.randomness import seed_all
from lightning_gen.utilities.compat import count_step
from lightning_gen.utilities.running_means import RunningMeans

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

UNBOUNDED = 2**62  # images of a run without an end: schedules then never decay


class ImageGenerator(LightningModule):
    """Base of all models.

    A model implements `losses` and `sample`; everything else (accumulation, clipping, schedules, averaged weights,
    counting, logging) is done here. `image_shape` is `(C, H, W)`, of sequences `(T, C, H, W)`, and `num_classes` what
    the data has; the attribute `num_classes` is None unless `conditional`.

    - `optimizer(parameters)` makes the optimizer; `schedule(images_seen, total_images)` scales its learning rate.
    - `ema_decay` averages the modules named in `averaged_parts`; None or 0 turns it off.
    - `gradient_clip` bounds the gradient norm. `accumulate` processes each batch in that many parts, to save memory.
    - `compile` lists the parts to run through torch.compile; true means all of `compiled_parts`.
    """

    averaged_parts: tuple[str, ...] = ()
    compiled_parts: tuple[str, ...] = ()
    takes_images = True
    takes_sequences = False
    generates = True  # False: `sample` makes no images, so nothing that looks at samples applies
    validation_loss = True  # whether `losses` has a `loss` that tells how good the model is

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
        self.images_seen = 0  # over all ranks; the unit of every counter, log and interval
        self.images_per_call = 0  # how many of them the last training_step added
        self.batches_seen = 0
        self.seed = 0
        self.provenance: dict[str, Any] = {}  # what checkpoints say of the run: config, data facts, versions
        self.terms = RunningMeans()
        self.latest: dict[str, float] = {}  # what was last flushed from `terms`, for whoever watches
        # A `sample` that takes long calls it as it goes with the number of images' worth of work done, if it is set.
        self.on_progress: Callable[[float], None] | None = None

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

    # What a model implements.

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalars: `loss` is minimized, all are logged."""
        raise NotImplementedError

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Draw `n` images, `(n, *image_shape)` in [-1, 1]; conditional models draw labels where none are given."""
        raise NotImplementedError

    # What the base does with it.

    def finish(self) -> None:
        """Called once by `build_model` when all modules exist: averages and compiled parts."""
        unknown = [name for name in self.to_compile if not isinstance(getattr(self, name, None), nn.Module)]
        if unknown:
            raise UserError(f"model.compile={unknown}: no such part; this model has {list(self.compiled_parts)}")
        parts = self.averaged_parts if self.ema_decay else ()
        self.averages = nn.ModuleDict({name: WeightAverage(getattr(self, name), self.ema_decay) for name in parts})
        for name in self.to_compile:
            getattr(self, name).compile()

    @contextmanager
    def averaged_weights(self, enabled: bool = True) -> Iterator[None]:
        """Within it the averaged parts stand in for the trained ones: what samples and scores are made with.

        Parts change places and always change back, so no checkpoint can hold them exchanged.
        """
        raw = {name: getattr(self, name) for name in self.averages} if enabled else {}
        for name in raw:
            setattr(self, name, self.averages[name].module)
        try:
            yield
        finally:
            for name, module in raw.items():
                setattr(self, name, module)

    def use_averaged_weights(self) -> None:
        """Put the averages in place of the trained weights for good: for a model that only samples."""
        for name, average in self.averages.items():
            setattr(self, name, average.module)
        self.averages = nn.ModuleDict()

    def draw_labels(self, n: int) -> Tensor | None:
        """Labels for `n` samples, uniform over the classes; None for an unconditional model."""
        return None if self.num_classes is None else torch.randint(self.num_classes, (n,), device=self.device)

    def build_optimizers(self) -> list[Optimizer]:
        """New optimizers of all that is trained; UserError for settings that they refuse."""
        try:
            return [make(parameters) for make, parameters in self.trained()]
        except ValueError as error:
            raise UserError(f"model.optimizer: {error}") from error

    def configure_optimizers(self) -> list[Optimizer]:
        """The optimizers, in the order of their steppers."""
        optimizers = self.build_optimizers()
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        self.steppers = [Stepper(o, self.gradient_clip, self.schedule, scaler) for o in optimizers]
        return optimizers

    def trained(self) -> list[tuple[Callable[..., Optimizer], list[nn.Parameter]]]:
        """For each optimizer what makes it, and the parameters it steps."""
        return [(self.make_optimizer, [p for p in self.parameters() if p.requires_grad])]

    def on_train_start(self) -> None:
        """After a checkpoint is loaded, before the first step."""
        for stepper in self.steppers:
            stepper.apply_settings()

    def training_step(self, batches: list[Batch], batch_idx: int) -> None:
        """One optimizer step for each of `batches`: Lightning's cost per call is shared by as many as there are."""
        self.images_per_call = 0
        for batch in batches:
            if self.images_seen >= self.total_images:
                break  # the run ends within these batches
            seed_all(self.seed, "step", self.images_seen, self.global_rank)
            self.step(batch)
            self.batches_seen += 1
            images = len(batch.images) * self.trainer.world_size
            self.images_seen += images
            self.images_per_call += images
        self._count_step()

    def step(self, batch: Batch) -> None:
        """Minimize `losses` on one batch."""
        stepper = self.steppers[0]
        for part in self.parts_of(batch):
            terms = self.losses(part)
            share = len(part.images) / len(batch.images)
            stepper.backward(terms["loss"] if share == 1 else terms["loss"] * share)
            self.terms.add(terms, weight=share)
        stepper.step(self.images_seen, self.total_images)
        self.update_averages(*self.averages)

    def parts_of(self, batch: Batch) -> Iterator[Batch]:
        """The batch in `accumulate` parts, to be processed one after another."""
        if self.accumulate == 1:
            yield batch
            return
        labels = [None] * self.accumulate if batch.labels is None else batch.labels.chunk(self.accumulate)
        for images, part_labels in zip(batch.images.chunk(self.accumulate), labels, strict=False):
            yield Batch(images, part_labels)

    def update_averages(self, *names: str) -> None:
        """Take the named parts' weights, just stepped, into their averages."""
        for name in names:
            self.averages[name].update(getattr(self, name), self.batches_seen)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add where the run stands and what it is."""
        checkpoint[KEY] = {**self.provenance, "images_seen": self.images_seen, "batches_seen": self.batches_seen}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go back to where the checkpoint stood."""
        self.images_seen = checkpoint[KEY]["images_seen"]
        self.batches_seen = checkpoint[KEY]["batches_seen"]

    @property
    def total_images(self) -> int:
        """How many images this run will see, for schedules."""
        return getattr(self.trainer, "max_images", None) or UNBOUNDED

    def _count_step(self) -> None:
        # Lightning counts steps of its own optimizer wrappers. Counting here makes its global_step the number of
        # training_step calls whatever the number of optimizers (pytorch-lightning #17958).
        count_step(self.trainer)

    def on_validation_epoch_start(self) -> None:
        """Start the validation means afresh."""
        self.validation_terms = RunningMeans()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The losses of averaged weights, with the same noise at each validation."""
        seed_all(self.seed, "validation", batch_idx, self.global_rank)
        with self.averaged_weights():
            terms = self.losses(batch)
        self.validation_terms.add(terms, weight=len(batch.images))

    def on_validation_epoch_end(self) -> None:
        """Hand the means to callbacks as `val/<term>` and to the loggers at this count of images."""
        means = {f"val/{name}": value for name, value in self.validation_terms.flush().items()}
        self.log_dict(means, logger=False)
        self.log_now(means)

    def log_now(self, scalars: dict[str, float]) -> None:
        """Write scalars to every logger, against the images seen."""
        self.latest = {**self.latest, **scalars}  # a new object, so that watchers see that it changed
        for logger in self.loggers:
            logger.log_metrics(scalars, step=self.images_seen)


KEY = "lightning_gen"
