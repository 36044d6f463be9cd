"""Divergences between distributions, in nats per image."""

from torch import Tensor


def kls_from_standard_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) of each coordinate. Kingma & Welling, 1312.6114, appendix B."""
    return 0.5 * (mean**2 + log_var.exp() - log_var - 1)


def kl_from_standard_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mean, exp(log_var)) || N(0, I)), `(B, d)` twice to `(B,)`."""
    return kls_from_standard_normal(mean, log_var).sum(dim=1)
