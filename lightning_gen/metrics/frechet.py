"""Fréchet distance of two Gaussians fitted to features, https://arxiv.org/abs/1706.08500, eq. 6."""

import torch
from torch import Tensor

from lightning_gen.metrics.image_metric import FeatureMetric


class FrechetDistance(FeatureMetric):
    """`|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))` from float64 sums: memory does not grow with the images.

    It is "FID" only with Inception-2048 and TF's resize; with other extractors it is not comparable to published FIDs.
    """

    better = {"frechet": "lower"}

    real_count: Tensor
    real_sum: Tensor
    real_outer: Tensor
    fake_count: Tensor
    fake_sum: Tensor
    fake_outer: Tensor

    def __init__(self):
        super().__init__()
        # Scalars until the first update broadcasts them to the number of features, which only the extractor knows.
        for kind in ("real", "fake"):
            for state in ("count", "sum", "outer"):
                self.add_state(f"{kind}_{state}", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool) -> None:
        """Take in features `(B, d)`."""
        features = features.to(self.real_sum.device).double()
        kind = "real" if real else "fake"
        added = {"count": len(features), "sum": features.sum(0), "outer": features.T @ features}
        for state, value in added.items():
            setattr(self, f"{kind}_{state}", getattr(self, f"{kind}_{state}") + value)

    def compute(self) -> dict[str, Tensor]:
        """The distance; NaN with fewer than two images on a side or with features that are not finite."""
        real = mean_and_covariance(self.real_count, self.real_sum, self.real_outer)
        fake = mean_and_covariance(self.fake_count, self.fake_sum, self.fake_outer)
        return {"frechet": frechet_distance(*real, *fake)}


def mean_and_covariance(count: Tensor, total: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
    """Mean `(d,)` and unbiased covariance `(d, d)` from sums over `count` vectors."""
    mean = total / count
    return mean, (outer - count * torch.outer(mean, mean)) / (count - 1)


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> Tensor:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians, a scalar; covariances may be rank-deficient."""
    if not (covariance1.isfinite().all() and covariance2.isfinite().all()):
        return mean1.new_full((), torch.nan)
    trace = covariance1.trace() + covariance2.trace() - 2 * trace_of_root(covariance1, covariance2)
    return ((mean1 - mean2).square().sum() + trace).clamp(min=0)


def trace_of_root(a: Tensor, b: Tensor) -> Tensor:
    """Tr((AB)^(1/2)) of two positive semi-definite matrices.

    With A = F F^T, AB has the eigenvalues of the symmetric F^T B F: they are real, not negative, and cost a fraction of
    those of the product, which loses digits where a matrix is rank-deficient.
    """
    root = _root(a)
    eigenvalues = torch.linalg.eigvalsh(root.T @ b @ root)
    # Rounding leaves noise in place of zeros, and the root of 1e-16 is 1e-8: a thousand of those would be seen.
    return eigenvalues[eigenvalues > _rounding(eigenvalues)].sqrt().sum()


def _root(matrix: Tensor) -> Tensor:
    # Some F with F F^T = matrix: Cholesky's where there is one, else from the eigenvectors, without null directions.
    root, failed = torch.linalg.cholesky_ex(matrix)
    smallest = root.diagonal().square().min()
    if not failed and smallest > _rounding(matrix.diagonal()):
        return root
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    kept = eigenvalues > _rounding(eigenvalues)
    return vectors[:, kept] * eigenvalues[kept].sqrt()


def _rounding(values: Tensor) -> Tensor:
    return len(values) * torch.finfo(values.dtype).eps * values.max()
