"""Fréchet distance of two Gaussians fitted to features, https://arxiv.org/abs/1706.08500, eq. 6."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from lightning_gen.metrics.features import Features
from lightning_gen.metrics.image_metric import FeatureMetric
from lightning_gen.metrics.stored_features import all_finite

CHUNK = 4096  # rows converted to float64 at a time


class FrechetDistance(FeatureMetric):
    """`|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))` from float64 sums: memory does not grow with the images.

    With roots F of the covariances (S = F F^T) the last trace is the sum of the singular values of F1^T F2.
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
        # Scalars, which the first update broadcasts to the number of features of the extractor.
        for kind in ("real", "fake"):
            for state in ("count", "sum", "outer"):
                self.add_state(f"{kind}_{state}", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self._roots: dict[str, Tensor] = {}  # F with F F^T the covariance, for sides where it is known

    def update(self, features: Tensor, real: bool) -> None:
        """Add features `(B, d)`."""
        kind = "real" if real else "fake"
        for rows in features.to(self.real_sum.device).split(CHUNK):
            rows = rows.double()
            added = {"count": len(rows), "sum": rows.sum(0), "outer": rows.T @ rows}
            for state, value in added.items():
                setattr(self, f"{kind}_{state}", getattr(self, f"{kind}_{state}") + value)
        self._roots.pop(kind, None)

    def update_real(self, features: Features) -> None:
        self.update(features.values, real=True)
        self._store_root("real", features.values)

    def update_fake(self, features: Features) -> None:
        self.update(features.values, real=False)
        self._store_root("fake", features.values)

    def _store_root(self, kind: str, features: Tensor) -> None:
        if 1 < len(features) <= features.shape[1]:
            self._roots[kind] = gaussian_of(features)[2]

    def reset(self) -> None:
        """Reset all states."""
        super().reset()
        self._roots = {}

    def reset_fake(self) -> None:
        """Reset the samples; keeps the root of the real images' covariance, the most expensive part."""
        kept = {kind: root for kind, root in self._roots.items() if kind == "real"}
        super().reset_fake()
        self._roots = kept

    def compute_parts(self, features: Features, parts: Tensor) -> Iterator[dict[str, Tensor]]:
        """The distances of parts of the samples; NaN where `compute` gives NaN."""
        mean, covariance = mean_and_covariance(self.real_count, self.real_sum, self.real_outer)
        finite = bool(covariance.isfinite().all()) and all_finite(features.values)
        if "real" not in self._roots or parts.shape[1] < 2 or not finite:
            yield from [{"frechet": mean.new_full((), torch.nan)}] * len(parts)
            return
        for distance in distances_of_parts(mean, covariance.trace(), self._roots["real"], features.values, parts):
            yield {"frechet": distance}

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
        return {"frechet": distance_with_trace(real_mean, real_covariance, fake_mean, fake_covariance, trace)}


def mean_and_covariance(count: Tensor, total: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
    """Mean `(d,)` and unbiased covariance `(d, d)` from sums over `count` vectors."""
    mean = total / count
    return mean, (outer - count * torch.outer(mean, mean)) / (count - 1)


def distance_with_trace(
    mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor, trace: Tensor
) -> Tensor:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians, a scalar, given `trace` = Tr((S1 S2)^(1/2))."""
    return ((mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * trace).clamp(min=0)


def gaussian_of(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean `(d,)`, trace of the covariance and a root of it `(d, r)` of features `(N, d)`, in float64."""
    mean = features.mean(0, dtype=torch.float64)
    centered = (features - mean) / (len(features) - 1) ** 0.5
    # With fewer images than features, the centered features are a small root.
    root = centered.T if len(features) <= features.shape[1] else root_of(centered.T @ centered)
    return mean, centered.square().sum(), root


def distances_of_parts(
    mean: Tensor, variance: Tensor, root: Tensor, features: Tensor, parts: Iterable[Tensor]
) -> Iterator[Tensor]:
    """Squared distances of a Gaussian to those of parts of `features` `(N, d)`, given by indices.

    The Gaussian has the covariance F F^T with the trace `variance`, and F is `root` `(d, r)`. With centered features X
    of n images, Tr((S1 S2)^(1/2)) is the sum of the singular values of X F, divided by sqrt(n - 1). The product of all
    features with F is computed once: 8 r bytes an image.
    """
    projected = torch.cat([rows.double() @ root for rows in features.split(CHUNK)])
    squares = torch.cat([rows.double().square().sum(1) for rows in features.split(CHUNK)])
    for index in parts:
        own, n = features[index], len(index)
        own_mean = own.mean(0, dtype=torch.float64)
        own_variance = (squares[index].sum() - n * own_mean.square().sum()) / (n - 1)
        trace = sum_of_singular_values(projected[index] - own_mean @ root) / (n - 1) ** 0.5
        yield ((mean - own_mean).square().sum() + variance + own_variance - 2 * trace).clamp(min=0)


def sum_of_singular_values(matrix: Tensor) -> Tensor:
    """Of `(n, r)`; with more rows than columns from the eigenvalues of the small matrix of products."""
    if len(matrix) <= matrix.shape[1]:
        return torch.linalg.svdvals(matrix.T).sum()  # of tall matrices twice as fast
    return sum_of_roots(torch.linalg.eigvalsh(matrix.T @ matrix))


def trace_of_root(root: Tensor, matrix: Tensor) -> Tensor:
    """Tr((AB)^(1/2)) of positive semi-definite A = F F^T, given by its root F, and B.

    AB has the eigenvalues of the symmetric F^T B F: these are real and not negative, cost a fraction of those of the
    product, and are accurate for rank-deficient matrices too.
    """
    return sum_of_roots(torch.linalg.eigvalsh(root.T @ matrix @ root))


def sum_of_roots(eigenvalues: Tensor) -> Tensor:
    """Sum of the square roots of eigenvalues, without those that are 0 but for rounding."""
    # Rounding turns zeros into noise, and the square root of 1e-16 is 1e-8: a thousand of these would add up.
    return eigenvalues[eigenvalues > _rounding(eigenvalues)].sqrt().sum()


def root_of(matrix: Tensor) -> Tensor:
    """F with F F^T = `matrix`: the Cholesky factor if it exists, else from eigenvectors without null directions."""
    root, failed = torch.linalg.cholesky_ex(matrix)
    smallest = root.diagonal().square().min()
    if not failed and smallest > _rounding(matrix.diagonal()):
        return root
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    kept = eigenvalues > _rounding(eigenvalues)
    return vectors[:, kept] * eigenvalues[kept].sqrt()


def _rounding(values: Tensor) -> Tensor:
    largest = values.max() if len(values) else values.new_zeros(())  # no eigenvalue is left if all images are equal
    return len(values) * torch.finfo(values.dtype).eps * largest
