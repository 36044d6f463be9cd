"""One optimizer's step: average over ranks, clip, follow the schedule.

Plain torch inside Lightning's manual optimization: its optimizer wrappers cost more than a small network's whole step,
and its DDP can neither share one forward between two players nor take several steps in one `training_step`. Gradients
are averaged by one all-reduce of what this optimizer owns, so any number of players works.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from lightning_gen.errors import UserError
from lightning_gen.optim.schedules import Schedule
from lightning_gen.utilities.compat import copy_each


class Stepper:
    """Steps `optimizer` over the parameters it holds.

    `gradient_clip` bounds their joint gradient norm, after unscaling, so it means the same under mixed precision.
    `schedule(images_seen, total_images)` gives the factor on each group's base learning rate.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        gradient_clip: float | None,
        schedule: Schedule | None,
        scaler: GradScaler | None = None,
    ):
        self.optimizer = optimizer
        self.gradient_clip = gradient_clip
        self.schedule = schedule
        self.scaler = scaler
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self._settings = [
            {key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups
        ]

    def apply_settings(self) -> None:
        """Set learning rate, betas and the like as configured: a checkpoint's would override those of the config."""
        for group, settings in zip(self.optimizer.param_groups, self._settings, strict=True):
            group.update(settings)

    def set_beta2(self, factor: float) -> None:
        """Set Adam's second momentum to `factor` times what is configured."""
        if "betas" not in self._settings[0]:
            kind = type(self.optimizer).__name__
            raise UserError(f"model.beta2_schedule: {kind} has no second momentum; use adam, or null for no schedule")
        for group, settings in zip(self.optimizer.param_groups, self._settings, strict=True):
            beta1, beta2 = settings["betas"]
            group["betas"] = (beta1, min(beta2 * factor, 1 - 1e-8))

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss`."""
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    def step(self, images_seen: int, total_images: int) -> None:
        """Take the step for the gradients gathered so far, and clear them."""
        average_gradients(self.parameters)
        if self.scaler:  # after averaging, so that an overflow on one rank makes all of them skip the step
            self.scaler.unscale_(self.optimizer)
        if self.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.gradient_clip)
        if self.schedule is not None:
            factor = self.schedule(images_seen, total_images)
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average gradients over ranks in one all-reduce; nothing happens in a run of one process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    parts = flat.split([g.numel() for g in gradients])
    copy_each(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])
