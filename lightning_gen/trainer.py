"""Lightning's Trainer with run length and validation interval counted in images, over an endless stream of batches."""

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer

from lightning_gen.bounds import Duration, PositiveFloat, PositiveInt, duration
from lightning_gen.checkpoint import AtomicCheckpointIO
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.optim.sharding import is_sharded, load_whole_state, shard, whole, whole_state
from lightning_gen.utilities.compat import model_left_in_place, set_group_timeout
from lightning_gen.utilities.float32 import use_tf32
from lightning_gen.utilities.hardware import computes_in_bfloat16
from lightning_gen.utilities.launchers import launched
from lightning_gen.utilities.ranks import broadcast_from_first
from lightning_gen.utilities.renames import renamed

if TYPE_CHECKING:
    from lightning.pytorch.accelerators import Accelerator

    from lightning_gen.data.image_data import ImageData

__getattr__ = renamed(__name__)

Mixed = Literal["auto", "32-true", "bf16-mixed", "16-mixed", "transformer-engine", "transformer-engine-float16"]
Precision = Mixed | Literal["16-true", "bf16-true", "64-true", "32", "16", "bf16", "64", 32, 16, 64]  # as Lightning's
MOVED = {
    "gradient_clip_val": "model.gradient_clip",
    "accumulate_grad_batches": "model.accumulate",
    "max_steps": "trainer.max_images",
    "val_check_interval": "trainer.validate_every_images",
}
# Of Lightning's Trainer: what is done here by other means, or not at all.
OURS = {
    "check_val_every_n_epoch": None,
    "num_sanity_val_steps": 0,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}


class NoProfiler(PassThroughProfiler):
    """No profiling, without overhead: Lightning's default enters about 30 generator contexts per step."""

    context = nullcontext()

    # pyrefly: ignore[bad-override]  # Lightning's return type is the private class behind @contextmanager
    def profile(self, action_name: str) -> nullcontext:
        """An empty context."""
        return self.context


class UnwrappedDDP(DDPStrategy):
    """Lightning's DDP without the wrapper around the model, whose buckets of gradients would be idle.

    Steppers average the gradients (`lightning_gen.optim.stepper`).
    """

    def configure_ddp(self) -> None:
        """Start all ranks from the weights of the first one."""
        assert self.model is not None
        broadcast_from_first(chain(self.model.parameters(), self.model.buffers()))


class FullyShardedDDP(UnwrappedDDP):
    """DDP with weights, gradients, averages and the state of optimizers divided among ranks.

    Lightning's FSDP takes no manual optimization. Checkpoints are those of one process: gathered, written by rank 0.
    """

    def model_to_device(self) -> None:
        """Later, a part after another: the model as a whole may be too large for the device."""

    def configure_ddp(self) -> None:
        """Divide the weights of the first rank among all, and give the rest to each."""
        warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")  # which nothing changes in place
        model = self.lightning_module
        assert isinstance(model, ImageGenerator)
        for part, keep in model.parts_to_shard():
            part.to(self.root_device)
            broadcast_from_first(part.parameters())
            shard(part, self.root_device, keep)
        model.to(self.root_device)
        broadcast_from_first(t for t in chain(model.parameters(), model.buffers()) if not is_sharded(t))

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """All weights, on the CPU; on other ranks than the first one none."""
        state = self.lightning_module.state_dict()  # pyrefly: ignore[missing-attribute]
        gathered = ((name, whole(tensor)) for name, tensor in state.items())
        return {name: tensor.cpu() for name, tensor in gathered if self.is_global_zero}

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The state of one process."""
        return whole_state(getattr(optimizer, "optimizer", optimizer))

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Divide the state of a run on any number of processes."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            load_whole_state(optimizer, state)

    def teardown(self) -> None:
        """Free the state of optimizers; the weights stay on the device."""
        self.optimizers = []
        with model_left_in_place(self):
            super().teardown()


class ImageTrainer(LightningTrainer):
    """A Lightning Trainer whose run ends after `max_images`, or `max_epochs` passes over the training images.

    - `max_time`: ends it earlier: a duration such as `30m`, or Lightning's mapping.
    - `validate_every_images`: validation interval.
    - `precision`: Lightning's, or `auto`: bf16-mixed where the device computes in bfloat16, else 32-true.
    - `steps_per_call`: optimizer steps per `training_step`, to share Lightning's overhead (about 0.2 ms per call).
    - `graphs`: capture steps in CUDA graphs where they can be.
    - `tf32`: matrix products and convolutions in TensorFloat-32, else in IEEE float32.
    - `channels_last`: memory format of convolution weights.
    - `batch_norm`: with several processes, statistics of the whole batch (`synced`) or of each process (`local`).
    - `sharded`: each process keeps a part of weights, gradients, averages and optimizer states (FSDP), not all of them.
    - `timeout`: minutes that a process waits for the others, for instance for the first one to score.
    - `batch_size` and `images_per_epoch` come from the data; all other arguments are Lightning's.
    """

    datamodule: "ImageData"  # set by Lightning in `fit`

    def __init__(
        self,
        *,
        batch_size: PositiveInt,
        images_per_epoch: int,
        max_images: PositiveInt | None,
        max_epochs: PositiveInt | None = None,
        max_time: Duration | dict | None = None,
        validate_every_images: PositiveInt,
        steps_per_call: PositiveInt = 1,
        batch_norm: Literal["synced", "local"] = "synced",
        sharded: bool = False,
        timeout: PositiveFloat = 120,
        requeue: bool = True,  # read by training/requeue.py, when a signal has ended the run
        precision: Precision | None = None,
        tf32: bool = False,
        channels_last: bool = False,
        graphs: bool = False,
        **lightning: Any,
    ):
        lightning["precision"] = precision_on(lightning.get("accelerator", "auto"), precision)
        check_arguments({**lightning, "sharded": sharded, "channels_last": channels_last})
        self.max_images = max_epochs * images_per_epoch if max_epochs else max_images
        self.steps_per_call = steps_per_call
        self.channels_last = channels_last
        self.graphs = graphs
        self.seconds = 0.0  # since the start of the training, on all ranks alike; set by the callback `Stopping`
        use_tf32(tf32)
        if lightning.get("deterministic"):
            lightning["benchmark"] = False  # cuDNN's fastest kernel may be another one in each run
        self.batch_norm = batch_norm
        callbacks = lightning.get("callbacks") or []
        lightning.setdefault("profiler", NoProfiler())
        try:
            super().__init__(
                max_epochs=-1,
                val_check_interval=max(1, round(validate_every_images / (batch_size * steps_per_call))),
                enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
                plugins=[AtomicCheckpointIO()],
                max_time=duration(max_time) if isinstance(max_time, str) else max_time,
                **OURS,
                **lightning,
            )
        except (MisconfigurationException, TypeError, ValueError) as error:
            raise UserError(f"trainer: {' '.join(str(error).split())}") from error
        if isinstance(self.strategy, DDPStrategy):
            # Chosen by Lightning, from a name, the number of devices or the launcher: only its class is changed.
            self.strategy.__class__ = FullyShardedDDP if sharded and self.world_size > 1 else UnwrappedDDP
            set_group_timeout(self.strategy, timeout)


def check_arguments(trainer: Mapping[str, Any]) -> None:
    """UserError for arguments of Lightning's Trainer that have no effect here, and what excludes `sharded`."""
    for key, ours in MOVED.items():
        if trainer.get(key) is not None:
            raise UserError(f"trainer.{key}: has no effect under manual optimization; use {ours}")
    strategy = str(trainer.get("strategy", ""))
    if strategy.startswith(("fsdp", "deepspeed")):
        fix = "use trainer=fsdp, which divides weights among processes, for any number of optimizers"
        raise UserError(f"trainer.strategy={strategy}: of Lightning, which takes no manual optimization; {fix}")
    if str(trainer.get("precision", "")) in ("64", "64-true", "16-true", "bf16-true"):
        raise UserError(f"trainer.precision={trainer['precision']}: use 32-true, bf16-mixed or 16-mixed")
    if trainer.get("sharded") and str(trainer.get("precision", "")) in ("16", "16-mixed"):
        raise UserError("trainer.precision=16-mixed: its loss scaling needs whole gradients; use bf16-mixed or 32-true")
    if trainer.get("sharded") and trainer.get("channels_last"):
        raise UserError("trainer.channels_last=true: PyTorch shards weights in the usual format only; use false")


def precision_on(accelerator: str, precision: Precision | None) -> Precision | None:
    """The precision that `auto` means on an accelerator; any other one as it is."""
    if precision != "auto":
        return precision
    device = next((name for name, kind in _accelerators(accelerator).items() if kind.is_available()), "")
    able = device in ("cuda", "cpu") and computes_in_bfloat16(torch.device(device))
    return "bf16-mixed" if able else "32-true"


def check_accelerator(accelerator: str) -> None:
    """UserError if the machine has no device for `trainer.accelerator`."""
    known = _accelerators(accelerator)
    if known and not any(kind.is_available() for kind in known.values()):
        why = "`lightning-gen doctor` may say why"
        raise UserError(f"trainer.accelerator={accelerator}: no such device here; use trainer=cpu, or {why}")


def device_of(accelerator: str) -> torch.device | None:
    """The first device here of `trainer.accelerator`; None if there is none."""
    found = (name for name, kind in _accelerators(accelerator).items() if kind.is_available())
    name = next(found, None)
    return None if name is None else torch.device(name)


def processes_on_node(config: Mapping[str, Any]) -> int:
    """Number of processes on each node of the trainer that `config` describes, before it is made: one for a device.

    Unlike variables of launchers it is known in all processes, also in the first one, which starts others later.
    """
    devices = config.get("devices", "auto")
    if isinstance(devices, str) and "," in devices:
        devices = [index for index in devices.split(",") if index.strip()]
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        return len(devices)
    if str(devices).isdecimal():
        return max(1, int(devices))
    # "auto" or -1; what is neither the Trainer refuses.
    known = _accelerators(config.get("accelerator", "auto")).values()
    kind = next((kind for kind in known if kind.is_available()), None)
    return max(1, kind.auto_device_count()) if kind else 1


def _accelerators(name: str) -> "dict[str, type[Accelerator]]":
    """Lightning's classes for `trainer.accelerator` by name, in the order in which it looks for devices."""
    from lightning.pytorch.accelerators import AcceleratorRegistry

    names = {"gpu": ("cuda", "mps"), "auto": ("cuda", "mps", "cpu")}.get(name, (name,))
    return {kind: AcceleratorRegistry.get(kind) for kind in names if kind in AcceleratorRegistry}


def check_world_size(size: int) -> None:
    """UserError if the launcher has started another number of processes than the `size` of the trainer's group."""
    process = launched()
    if process is None or process.size == size:
        return
    if process.launcher == "Slurm" and process.rank == 0 and "SLURM_STEP_ID" not in os.environ:
        return  # a batch script without srun: this is the one process
    error = UserError(
        f"trainer.devices: {process.launcher} has started {process.size} processes, and the trainer has {size}; "
        "set trainer.devices=N, and trainer.num_nodes, to what was started"
    )
    if process.rank:  # rank 0, which prints errors, may not exist: variables that an earlier run has left
        print(f"error: {error}", file=sys.stderr)
    raise error
