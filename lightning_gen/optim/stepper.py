"""An optimizer step: averaging of gradients over ranks, clipping, learning-rate schedule.

Plain torch inside Lightning's manual optimization: its optimizer wrappers cost more than a small network's whole step,
and its DDP can neither share one forward between two players nor take several steps in one `training_step`. Gradients
are averaged by one all-reduce per optimizer, so any number of optimizers works.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from lightning_gen.errors import UserError
from lightning_gen.optim.schedules import Schedule
from lightning_gen.utilities.compat import copy_each
from lightning_gen.utilities.ranks import is_distributed, mean_over_ranks
from lightning_gen.utilities.whole_batch import no_draws


class Stepper:
    """Steps `optimizer`.

    `gradient_clip` bounds the gradient norm over all its parameters, after unscaling, whatever the precision.
    `schedule(images_seen, total_images)` is the factor on each group's base learning rate.
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
        """Set learning rate, betas and so on to the config's values, which a loaded checkpoint has overwritten."""
        for group, settings in zip(self.optimizer.param_groups, self._settings, strict=True):
            group.update(settings)

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
        (self.scaler.scale(loss) if self.scaler else loss).backward()

    @no_draws()
    def step(self, images_seen: int, total_images: int) -> None:
        """Step with the accumulated gradients, then clear them."""
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
    """Average gradients over ranks in one all-reduce; a run of one process has nothing to do."""
    if not is_distributed():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = mean_over_ranks(torch.cat([g.flatten() for g in gradients]))
    parts = flat.split([g.numel() for g in gradients])
    copy_each(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])
