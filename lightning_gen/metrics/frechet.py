"""Fréchet distance of two Gaussians fitted to features, https://arxiv.org/abs/1706.08500, eq. 6."""

import torch
from torch import Tensor

from lightning_gen.metrics.features import Features
from lightning_gen.metrics.image_metric import FeatureMetric

ROWS = 4096  # features made float64 at a time


class FrechetDistance(FeatureMetric):
    """`|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))` from float64 sums: memory does not grow with the images.

    With roots F of the covariances the last trace is the sum of the singular values of F1^T F2.
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
        self._roots: dict[str, Tensor] = {}  # F with F F^T the covariance, by kind, where it is known

    def update(self, features: Tensor, real: bool) -> None:
        """Take in features `(B, d)`."""
        kind = "real" if real else "fake"
        for rows in features.to(self.real_sum.device).split(ROWS):
            rows = rows.double()
            added = {"count": len(rows), "sum": rows.sum(0), "outer": rows.T @ rows}
            for state, value in added.items():
                setattr(self, f"{kind}_{state}", getattr(self, f"{kind}_{state}") + value)
        self._roots.pop(kind, None)

    def see_real(self, features: Features) -> None:
        self.update(features.values, real=True)
        self._take_root("real", features.values)

    def see_fake(self, features: Features) -> None:
        self.update(features.values, real=False)
        self._take_root("fake", features.values)

    def _take_root(self, kind: str, features: Tensor) -> None:
        # Of fewer images than features they are a root themselves, and a small one.
        if 1 < len(features) <= features.shape[1]:
            centered = features.double() - features.double().mean(0)
            self._roots[kind] = centered.T / (len(features) - 1) ** 0.5

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._roots = {}

    def reset_fake(self) -> None:
        """Forget the samples; what costs most, the root of the real images' covariance, is kept with them."""
        kept = {kind: root for kind, root in self._roots.items() if kind == "real"}
        super().reset_fake()
        self._roots = kept

    def compute(self) -> dict[str, Tensor]:
        """The distance; NaN with fewer than two images on a side or with features that are not finite."""
        real_mean, real_covariance = mean_and_covariance(self.real_count, self.real_sum, self.real_outer)
        fake_mean, fake_covariance = mean_and_covariance(self.fake_count, self.fake_sum, self.fake_outer)
        if not (real_covariance.isfinite().all() and fake_covariance.isfinite().all()):
            return {"frechet": real_covariance.new_full((), torch.nan)}
        if "real" not in self._roots:
            self._roots["real"] = root_of(real_covariance)
        root = self._roots["real"]
        if "fake" in self._roots:
            trace = torch.linalg.svdvals(root.T @ self._roots["fake"]).sum()
        else:
            trace = trace_of_root(root, fake_covariance)
        return {"frechet": distance(real_mean, real_covariance, fake_mean, fake_covariance, trace)}


def mean_and_covariance(count: Tensor, total: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
    """Mean `(d,)` and unbiased covariance `(d, d)` from sums over `count` vectors."""
    mean = total / count
    return mean, (outer - count * torch.outer(mean, mean)) / (count - 1)


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> Tensor:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians, a scalar; covariances may be rank-deficient."""
    return distance(mean1, covariance1, mean2, covariance2, trace_of_root(root_of(covariance1), covariance2))


def distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor, trace: Tensor) -> Tensor:
    """The distance where Tr((S1 S2)^(1/2)) is known."""
    return ((mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * trace).clamp(min=0)


def trace_of_root(root: Tensor, matrix: Tensor) -> Tensor:
    """Tr((AB)^(1/2)) of two positive semi-definite matrices, the first given by its root F, the second as it is.

    With A = F F^T, AB has the eigenvalues of the symmetric F^T B F: they are real, not negative, and cost a fraction of
    those of the product, which loses digits where a matrix is rank-deficient.
    """
    eigenvalues = torch.linalg.eigvalsh(root.T @ matrix @ root)
    # Rounding leaves noise in place of zeros, and the root of 1e-16 is 1e-8: a thousand of those would be seen.
    return eigenvalues[eigenvalues > _rounding(eigenvalues)].sqrt().sum()


def root_of(matrix: Tensor) -> Tensor:
    """Some F with F F^T = matrix: Cholesky's where there is one, else of eigenvectors, without null directions."""
    root, failed = torch.linalg.cholesky_ex(matrix)
    smallest = root.diagonal().square().min()
    if not failed and smallest > _rounding(matrix.diagonal()):
        return root
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    kept = eigenvalues > _rounding(eigenvalues)
    return vectors[:, kept] * eigenvalues[kept].sqrt()


def _rounding(values: Tensor) -> Tensor:
    largest = values.max() if len(values) else values.new_zeros(())  # all the same images have no direction at all
    return len(values) * torch.finfo(values.dtype).eps * largest
