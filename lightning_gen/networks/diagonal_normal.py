"""Normal distributions of independent latents, as networks say them, https://arxiv.org/abs/1312.6114, appendix C.2."""

from typing import NamedTuple, Self

from torch import Tensor


class DiagonalNormal(NamedTuple):
    """Means and log-variances `(..., d)`."""

    mean: Tensor
    log_var: Tensor

    @classmethod
    def of(cls, output: Tensor) -> Self:
        """A network's output `(..., 2 * d)`."""
        mean, log_var = output.float().chunk(2, dim=-1)
        return cls(mean, log_var.clamp(-15, 15))  # exp() of more is of no use and overflows early in training

    def draw(self, noise: Tensor) -> Tensor:
        """What standard normal `noise` `(..., d)` stands for."""
        return self.mean + (0.5 * self.log_var).exp() * noise

    def relative_to(self, other: Self) -> Self:
        """The same in units of `other`: its divergence from a standard normal is that from `other`."""
        return type(self)((self.mean - other.mean) * (-0.5 * other.log_var).exp(), self.log_var - other.log_var)
