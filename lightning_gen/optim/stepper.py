"""An optimizer step: averaging of gradients over ranks, clipping, learning-rate schedule.

Plain torch inside Lightning's manual optimization: its optimizer wrappers cost more than a small network's whole step,
and its DDP can neither share one forward between two players nor take several steps in one `training_step`. Gradients
are averaged by one all-reduce per optimizer, so any number of optimizers works.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from lightning_gen.errors import UserError
from lightning_gen.optim.schedules import Schedule
from lightning_gen.optim.sharding import clip_gradients, groups_apart, is_sharded
from lightning_gen.utilities.autocast import without_autocast
from lightning_gen.utilities.compat import copy_each
from lightning_gen.utilities.ranks import is_distributed, mean_over_ranks
from lightning_gen.utilities.whole_batch import no_draws


class Stepper:
    """Steps `optimizer`.

    `gradient_clip` bounds the gradient norm over all its parameters, after unscaling, whatever the precision.
    `schedule(images_seen, total_images)` is the factor on each group's base learning rate. `sharded` are the modules
    of the model whose weights are divided among ranks.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        gradient_clip: float | None,
        schedule: Schedule | None,
        scaler: GradScaler | None = None,
        sharded: Sequence[Any] = (),
    ):
        self.optimizer = optimizer
        self.gradient_clip = gradient_clip
        self.schedule = schedule
        self.scaler = scaler
        self.sharded = sharded
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.learning_rate = optimizer.param_groups[0]["lr"]  # of the current step
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self._settings = [
            {key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups
        ]

    def apply_settings(self) -> None:
        """Undo what a loaded checkpoint has overwritten.

        Learning rate, betas and so on get the config's values again, and the state the memory format of the weights.
        """
        for group, settings in zip(self.optimizer.param_groups, self._settings, strict=True):
            group.update(settings)
        for parameter in self.parameters:
            lay_out_as(parameter, self.optimizer.state.get(parameter, {}))

    def set_rates(self, images_seen: int, total_images: int) -> None:
        """Set the learning rates of the next step."""
        factor = 1.0 if self.schedule is None else self.schedule(images_seen, total_images)
        for group in self.optimizer.param_groups:
            self._set_rate(group, group["initial_lr"] * factor)
        self.learning_rate = self.optimizer.param_groups[0]["initial_lr"] * factor

    def _set_rate(self, group: dict[str, Any], rate: float) -> None:
        if not self.on_device:
            group["lr"] = rate
        elif isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:  # fused optimizers read it on the device, so that a captured step follows the schedule
            group["lr"] = torch.full((), rate, device=self.parameters[0].device)

    @property
    def on_device(self) -> bool:
        """Whether the step runs wholly on an accelerator: it then reads no numbers of the host but constants."""
        fused = all(group.get("fused") for group in self.optimizer.param_groups)
        return fused and self.parameters[0].device.type != "cpu" and self.scaler is None

    @contextmanager
    def capturable(self) -> Iterator[None]:
        """Within it a CUDA graph may capture the step, which torch allows only to optimizers that claim so."""
        groups = [group for group in self.optimizer.param_groups if "capturable" in group]
        before = [group["capturable"] for group in groups]
        for group in groups:
            group["capturable"] = True
        try:
            yield
        finally:
            for group, value in zip(groups, before, strict=True):
                group["capturable"] = value

    @property
    def constants(self) -> tuple[Any, ...]:
        """The numbers of the host that a captured step has as constants."""
        return tuple(group.get("betas") for group in self.optimizer.param_groups)

    def set_beta2(self, factor: float) -> None:
        """Set Adam's beta2 (decay of the second moment) to `factor` times its configured value."""
        if "betas" not in self._settings[0]:
            kind = type(self.optimizer).__name__
            raise UserError(f"model.beta2_schedule: {kind} has no beta2; use adam, or null for no schedule")
        for group, settings in zip(self.optimizer.param_groups, self._settings, strict=True):
            beta1, beta2 = settings["betas"]
            group["betas"] = (beta1, min(beta2 * factor, 1 - 1e-8))

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`."""
        # Autocast would compute second derivatives of penalties in 16 bits, though their first ones are in float32.
        with without_autocast(loss.device):
            (self.scaler.scale(loss) if self.scaler else loss).backward()

    @no_draws()
    def step(self) -> None:
        """Step with the accumulated gradients, then clear them."""
        for module in self.sharded:
            module.reshard()  # what is still gathered would keep the weights of before the step
        average_gradients(self.parameters)
        if self.scaler:  # after averaging, so that an overflow on one rank makes all of them skip the step
            self.scaler.unscale_(self.optimizer)
        if self.gradient_clip is not None:
            clip = clip_gradients if self.sharded else nn.utils.clip_grad_norm_
            clip(self.parameters, self.gradient_clip)
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            with groups_apart(self.optimizer) if self.sharded else nullcontext():
                self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def lay_out_as(parameter: nn.Parameter, state: dict[str, Any]) -> None:
    """Give the tensors of an optimizer's state for `parameter` its memory format, which fused optimizers rely on.

    They walk raw memory. A checkpoint's tensors keep the strides that they were saved with; gradients always have the
    parameter's.
    """
    for name, value in state.items():
        if isinstance(value, Tensor) and value.shape == parameter.shape:
            state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over ranks in one all-reduce; a run of one process has nothing to do.

    Those of sharded weights have been averaged by the backward pass.
    """
    gradients = [p.grad for p in parameters if p.grad is not None and not is_sharded(p)]
    if not is_distributed() or not gradients:
        return
    flat = mean_over_ranks(torch.cat([g.flatten() for g in gradients]))
    parts = flat.split([g.numel() for g in gradients])
    copy_each(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])
