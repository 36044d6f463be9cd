"""The one place that touches private or undocumented parts of other packages: one function each, with what needs it.

When a new version of a package breaks something, look here first. Packages are imported when a function is called.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from subprocess import Popen

    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import WandbLogger
    from lightning.pytorch.strategies import DDPStrategy
    from omegaconf import DictConfig
    from torch import Tensor
    from torchmetrics import Metric

# Hydra and OmegaConf


def hydra_argument_parser() -> "ArgumentParser":
    """Hydra's parser of its own flags: a flag that does not exist must be one line of ours, and raise."""
    from hydra._internal.utils import get_args_parser

    return get_args_parser()


def yaml_loader() -> Any:
    """OmegaConf's YAML loader, to read a file as Hydra does: floats such as `1e-4`, an error for a duplicate key."""
    from omegaconf._utils import get_yaml_loader

    return get_yaml_loader()


@contextmanager
def hydra_set_aside() -> Iterator[None]:
    """Within it no Hydra is initialized: `compose` works inside a job, and in a notebook that uses Hydra itself."""
    from hydra.core.global_hydra import GlobalHydra

    singleton = GlobalHydra.instance()
    outer, singleton.hydra = singleton.hydra, None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = outer


@contextmanager
def hydra_config_restored() -> Iterator[Any]:
    """Restores the config of `HydraConfig`, which is yielded, afterwards: a multirun leaves that of its last job."""
    from hydra.core.hydra_config import HydraConfig

    singleton: Any = HydraConfig.instance()
    outer = singleton.cfg
    try:
        yield singleton
    finally:
        singleton.cfg = outer


@contextmanager
def hydra_config(node: Any) -> Iterator[None]:
    """Within it `${hydra:...}` refers to `node`: composing from Python, unlike a job, does not set it."""
    from omegaconf import OmegaConf

    with hydra_config_restored() as singleton:
        singleton.cfg = OmegaConf.create({"hydra": node}, flags={"allow_objects": True})
        yield


@contextmanager
def hydra_composing_once() -> Iterator[None]:
    """Within it `hydra.main` composes the config of a single run once: it would compose it to read `hydra.mode`, then
    again to run. What is no single run, or a mistake, goes Hydra's own way.
    """
    from hydra._internal.hydra import Hydra
    from hydra.types import RunMode

    get_mode = Hydra.get_mode

    def mode_of_single_run(self: Any, config_name: str | None, overrides: list[str]) -> Any:
        load, typed = self.config_loader.load_configuration, len(overrides)
        try:
            config = load(config_name, overrides, RunMode.RUN)
        except Exception:  # a sweep, a value that a sweeper gives, or a mistake, which is told when Hydra composes
            return get_mode(self, config_name, overrides)

        def composed(config_name: str | None, overrides: list[str], run_mode: RunMode, **options: Any) -> "DictConfig":
            del self.config_loader.load_configuration
            if run_mode != RunMode.RUN:
                return load(config_name, overrides, run_mode, **options)
            config.hydra.mode = run_mode
            config.hydra.overrides.hydra.extend(overrides[typed:])  # Hydra's `hydra.mode=RUN`
            return config

        if config.hydra.mode != RunMode.MULTIRUN:
            self.config_loader.load_configuration = composed
        return config.hydra.mode

    Hydra.get_mode = mode_of_single_run  # pyrefly: ignore[bad-assignment]
    try:
        yield
    finally:
        Hydra.get_mode = get_mode


def current_hydra_node() -> "DictConfig | None":
    """Hydra's own config of the running job; None outside of a job, where HydraConfig.get() raises."""
    from hydra.core.hydra_config import HydraConfig

    config: Any = HydraConfig.instance().cfg
    return None if config is None else config.hydra


def register_search_path(plugin: type) -> None:
    """Register a SearchPathPlugin, once: Hydra finds plugins only in a namespace package, without editable installs."""
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    known = Plugins.instance().discover(SearchPathPlugin)
    if plugin.__name__ not in {cls.__name__ for cls in known}:
        Plugins.instance().register(plugin)


# Lightning


def leave_signals(trainer: "Trainer") -> None:
    """Lightning would handle SIGTERM by collectives, in the handler and before each step, which can hang."""
    trainer._signal_connector.register_signal_handlers = lambda: None
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None


def launched_processes(trainer: "Trainer") -> list["Popen"]:
    """The ranks that Lightning has started from this process."""
    return list(getattr(trainer.strategy.launcher, "procs", ()))


def observe_launched(observe: Callable[[list["Popen"]], None]) -> None:
    """Call `observe` with the ranks that Lightning starts: its own observer kills all, this process too, in silence."""
    from lightning.pytorch.strategies.launchers import subprocess_script

    vars(subprocess_script)["_launch_process_observer"] = observe


def kill_launched(trainer: "Trainer") -> None:
    """Kill them: SIGTERM does not end a process that waits for others."""
    for process in launched_processes(trainer):
        process.kill()


def set_group_timeout(strategy: "DDPStrategy", minutes: float) -> None:
    """Set how long collectives may take; the strategy takes it only when it is made, which the Trainer does itself."""
    strategy._timeout = timedelta(minutes=minutes)


def count_step(trainer: "Trainer") -> None:
    """Count one step in `trainer.global_step`, which counts only Lightning's own optimizer wrappers (#17958)."""
    progress = trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
    progress.increment_ready()
    progress.increment_completed()


# Loggers


def is_rank_zero() -> bool:
    """Whether `rank_zero_only` runs functions here: it knows the rank before the process group exists."""
    from lightning.pytorch.utilities import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


def add_encoded_image(writer: Any, tag: str, content: bytes, size: tuple[int, int], step: int) -> None:
    """Write a PNG or GIF to TensorBoard as it is: `add_image` would decode a GIF and keep one frame."""
    from tensorboard.compat.proto import summary_pb2

    summary: Any = summary_pb2  # made at run time, so type checkers do not see its classes
    image = summary.Summary.Image(height=size[0], width=size[1], colorspace=3, encoded_image_string=content)
    value = summary.Summary.Value(tag=tag, image=image)
    writer._get_file_writer().add_summary(summary.Summary(value=[value]), step)


def unset_anonymous(logger: "WandbLogger") -> None:
    """Lightning passes `anonymous=None` to `wandb.init`, which warns of it."""
    logger._wandb_init.pop("anonymous", None)


def started_run(logger: "WandbLogger") -> Any:
    """The wandb run if it has started, else None: `logger.experiment` would start one."""
    return logger._experiment


# torch and torchmetrics


def cpu_computes_in_bfloat16() -> bool:
    """Whether this processor has instructions for bfloat16; PyTorch emulates them on others, slower than float32."""
    import platform

    import torch

    if platform.machine().lower() in ("x86_64", "amd64"):
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # Arm: asks the CPU


def clamp_each(tensors: list["Tensor"], low: float, high: float) -> None:
    """Clamp all tensors in place in two kernels: `Tensor.clamp_` takes one a tensor."""
    import torch

    torch._foreach_clamp_min_(tensors, low)
    torch._foreach_clamp_max_(tensors, high)


def fixed_batch_norm_backward(
    gradient: "Tensor", values: "Tensor", weight: "Tensor", mean: "Tensor", variance: "Tensor", eps: float
) -> "tuple[Tensor, Tensor, Tensor]":
    """Gradients of an `F.batch_norm` with fixed statistics by values, weight and bias: one kernel, not a public one."""
    import torch

    backward = torch.ops.aten.native_batch_norm_backward
    return backward(gradient, values, weight, mean, variance, None, None, False, eps, [True, True, True])


def move_each(tensors: list["Tensor"], targets: list["Tensor"], fraction: "float | Tensor") -> None:
    """Move each tensor this fraction of the way to its target, in one kernel; in a few if it is a tensor of one value,
    which `_foreach_lerp_` would read from the device.
    """
    import torch

    if isinstance(fraction, float):
        torch._foreach_lerp_(tensors, targets, fraction)
        return
    steps = torch._foreach_sub(targets, tensors)
    torch._foreach_mul_(steps, fraction)
    torch._foreach_add_(tensors, steps)


def copy_each(targets: list["Tensor"], sources: list["Tensor"]) -> None:
    """Copy each source into its target in one kernel: `Tensor.copy_` takes one a tensor."""
    import torch

    torch._foreach_copy_(targets, sources)


def why_no_pretended_device() -> str | None:
    """Why `register_pretended_device` can't do its work; None if it can."""
    import torch
    from torch.utils import backend_registration

    lacking = not hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
    return f"torch {torch.__version__} can't register a device in Python" if lacking else None


def register_pretended_device(name: str, available: Callable[[], bool]) -> None:
    """Have PyTorch know a device `name` without kernels, for good: there is no public way without C++."""
    import torch
    from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

    class Backend(_DummyBackendModule):
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.bfloat16, torch.float16]

        def set_device(self, index: int) -> None:
            pass

        def is_available(self) -> bool:
            return available()

    _setup_privateuseone_for_python_backend(name, backend_module=Backend())


def state_names(metric: "Metric") -> list[str]:
    """The names given to `add_state`, to reset some states and keep others."""
    return list(metric._defaults)


def state_default(metric: "Metric", name: str) -> Any:
    """The value of a state after a reset."""
    return metric._defaults[name]


def without_sync(metric: "Metric") -> None:
    """Have `compute` look at this rank alone: torchmetrics would wait for ranks that do not compute it."""
    metric.distributed_available_fn = lambda: False
