"""Disentanglement: how far each latent tells of one factor of variation, and each factor is told by one latent."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.bounds import NonNegativeFloat, PositiveInt
from lightning_gen.data.factors import Factor, FactorData
from lightning_gen.metrics.boosted_trees import DEPTH, RATE, ROUNDS, BoostedTrees
from lightning_gen.metrics.image_metric import FactorMetric
from lightning_gen.metrics.stored_features import all_finite

TINY = 1e-12  # variance of a constant


class Disentanglement(FactorMetric):
    """MIG, SAP, DCI and the FactorVAE score of posterior means, given the factors of images drawn for it.

    `images` with random factors are for the estimates, and half as many for those that are tested on others; `bins` are
    of each latent. `votes` classify the factor that is fixed in `images_per_vote` images, and as many are the test;
    latents of a variance up to `threshold` don't vote.
    """

    better = {
        "mig": "higher",
        "sap": "higher",
        "dci_disentanglement": "higher",
        "dci_completeness": "higher",
        "dci_informativeness": "higher",
        "factor_vae_score": "higher",
    }

    def __init__(
        self,
        images: PositiveInt,
        bins: PositiveInt,
        votes: PositiveInt,
        images_per_vote: PositiveInt,
        threshold: NonNegativeFloat = 0.01,
    ):
        super().__init__()
        self.images = images
        self.bins = bins
        self.votes = votes
        self.images_per_vote = images_per_vote
        self.threshold = threshold
        self.factors: list[Factor] = []

    def measure(self, model: Any, data: FactorData, batch_size: int) -> None:
        """Encode images with random factors, and groups of images that share a factor."""
        self.factors = data.factors
        count = self.images + self.images // 2
        levels = _random_levels(self.factors, count, model.device)
        codes = _encode(model, data, levels, batch_size)
        fixed = torch.randint(len(self.factors), (2 * self.votes,), device=model.device)
        grouped = _random_levels(self.factors, len(fixed) * self.images_per_vote, model.device)
        grouped = grouped.unflatten(0, (len(fixed), self.images_per_vote))
        shared = F.one_hot(fixed, len(self.factors)).bool()[:, None]
        grouped = torch.where(shared, grouped[:, :1], grouped)
        deviations = _encode(model, data, grouped.flatten(0, 1), batch_size).unflatten(0, grouped.shape[:2]).var(1)
        self.update(codes, levels.cpu(), deviations, fixed.cpu())

    def update(self, codes: Tensor, levels: Tensor, variances: Tensor, fixed: Tensor) -> None:
        """Latents `(N, d)` and levels `(N, K)` of images; variances of latents `(V, d)` with the factor that is fixed.

        The last third of the images, and the last half of the groups, are for tests.
        """
        self.codes, self.levels, self.variances, self.fixed = codes, levels, variances, fixed

    def compute(self) -> dict[str, Tensor]:
        """All scores; NaN for latents that are not finite."""
        if not (all_finite(self.codes) and all_finite(self.variances)):
            return dict.fromkeys(self.better, torch.tensor(torch.nan))
        fit = len(self.codes) - len(self.codes) // 3
        train, test = (self.codes[:fit], self.levels[:fit]), (self.codes[fit:], self.levels[fit:])
        votes = factor_vae_score(self.codes[:fit].var(0), self.variances, self.fixed, len(self.factors), self.threshold)
        return {
            "mig": mutual_information_gap(*train, self.bins),
            "sap": separated_attribute_predictability(*train, *test, self.factors, self.bins),
            **dci(*train, *test, self.factors),
            "factor_vae_score": votes,
        }

    def protocol(self) -> dict[str, Any]:
        """Factors, numbers of images, and what the references leave open."""
        return {
            "factors": {factor.name: factor.levels for factor in self.factors},
            "images": self.images,
            "bins": self.bins,
            "votes": self.votes,
            "images_per_vote": self.images_per_vote,
            "threshold": self.threshold,
            "dci_regressor": f"{ROUNDS} boosted oblivious trees of depth {DEPTH}, rate {RATE}",
        }


def _random_levels(factors: list[Factor], n: int, device: torch.device) -> Tensor:
    """Levels `(n, K)` of independent, uniform factors."""
    return torch.stack([torch.randint(factor.levels, (n,), device=device) for factor in factors], 1)


def _encode(model: Any, data: FactorData, levels: Tensor, batch_size: int) -> Tensor:
    """The latents of the images with these levels, float64 `(n, d)`, on the CPU."""
    place = data.factor_names.index(data.labeled)
    parts = levels.split(batch_size)
    codes = [model.encode(data.draw(part), part[:, place] if model.num_classes else None) for part in parts]
    return torch.cat(codes).double().cpu()


def mutual_information_gap(codes: Tensor, levels: Tensor, bins: int) -> Tensor:
    """MIG, https://arxiv.org/abs/1802.04942, eq. 6: information of the two latents that tell most of a factor.

    It is estimated with each latent in `bins` of equal width, https://arxiv.org/abs/1811.12359, appendix C; the first
    reference has the posteriors of all images in their place.
    """
    low, high = codes.aminmax(dim=0)
    binned = ((codes - low) / (high - low).clamp(min=TINY) * bins).long().clamp(max=bins - 1)
    gaps = []
    for factor in levels.T:
        information = torch.stack([_mutual_information(code, factor) for code in binned.T])
        gaps.append(_gap(information) / _entropy(torch.bincount(factor).double()))
    return torch.stack(gaps).mean()


def _mutual_information(first: Tensor, second: Tensor) -> Tensor:
    """In nats, of two discrete variables `(N,)`."""
    columns = int(second.max()) + 1
    joint = torch.bincount(first * columns + second, minlength=(int(first.max()) + 1) * columns).double()
    table = joint.view(-1, columns)
    return _entropy(table.sum(0)) + _entropy(table.sum(1)) - _entropy(joint)


def _entropy(counts: Tensor) -> Tensor:
    """In nats, of a distribution in proportion to `counts` `(n,)`."""
    return torch.special.entr(counts / counts.sum()).sum()


def _gap(scores: Tensor) -> Tensor:
    """The difference of the two highest of `(d,)`; of a single one to 0."""
    first, second = F.pad(scores, (0, 1)).topk(2).values
    return first - second


def separated_attribute_predictability(
    codes: Tensor, levels: Tensor, test_codes: Tensor, test_levels: Tensor, factors: list[Factor], bins: int
) -> Tensor:
    """SAP, https://arxiv.org/abs/1711.00848, section 3: the gap of the two latents that predict a factor best.

    By one latent alone: R^2 of linear regression, or of categorical factors the balanced accuracy of thresholds, here
    at the quantiles of `bins`.
    """
    gaps = []
    for place, factor in enumerate(factors):
        if factor.categorical:
            quantiles = codes.quantile(torch.arange(1, bins, dtype=codes.dtype) / bins, 0)
            rows = (part.T.contiguous() for part in (codes, test_codes, quantiles))
            pairs = [(torch.bucketize(c, q), torch.bucketize(t, q)) for c, t, q in zip(*rows, strict=True)]
            scores = [_balanced_accuracy(c, levels[:, place], t, test_levels[:, place]) for c, t in pairs]
            gaps.append(_gap(torch.stack(scores)))
        else:
            gaps.append(_gap(_squared_correlation(codes, levels[:, place].double())))
    return torch.stack(gaps).mean()


def _squared_correlation(codes: Tensor, values: Tensor) -> Tensor:
    """Of each latent `(N, d)` with the values `(N,)`; 0 of a constant one."""
    centered, target = codes - codes.mean(0), values - values.mean()
    squares = centered.square().sum(0) * target.square().sum()
    return (centered * target[:, None]).sum(0).square() / squares.clamp(min=TINY)


def _balanced_accuracy(bins: Tensor, classes: Tensor, test_bins: Tensor, test_classes: Tensor) -> Tensor:
    """The mean over classes of the fraction that is predicted, by the class that a bin is most typical of."""
    sizes = int(max(bins.max(), test_bins.max())) + 1, int(classes.max()) + 1
    counts = torch.bincount(bins * sizes[1] + classes, minlength=sizes[0] * sizes[1]).view(sizes).double()
    predicted = (counts / counts.sum(0)).argmax(1)[test_bins]
    hits = [(predicted[test_classes == number] == number).double().mean() for number in test_classes.unique()]
    return torch.stack(hits).mean()


def dci(
    codes: Tensor, levels: Tensor, test_codes: Tensor, test_levels: Tensor, factors: list[Factor]
) -> dict[str, Tensor]:
    """Disentanglement, completeness, informativeness, https://openreview.net/forum?id=By-7dz-AZ, section 2.

    The importance of each latent for a factor is that in boosted trees, which predict its level, or of a categorical
    factor the indicators of its levels. Informativeness is R^2 of their predictions for the test images, not the error.
    """
    importance, explained = [], []
    for place, factor in enumerate(factors):
        target, expected = (_targets(part[:, place], factor) for part in (levels, test_levels))
        trees = BoostedTrees(codes, target)
        error = (trees.predict(test_codes) - expected).square().sum()
        explained.append(1 - error / (expected - expected.mean(0)).square().sum())
        importance.append(trees.importance)
    table = torch.stack(importance, 1)  # (d, K)
    return {
        "dci_disentanglement": (_concentration(table) * table.sum(1)).sum() / table.sum().clamp(min=TINY),
        "dci_completeness": _concentration(table.T).mean(),
        "dci_informativeness": torch.stack(explained).mean(),
    }


def _targets(levels: Tensor, factor: Factor) -> Tensor:
    if factor.categorical:
        return F.one_hot(levels, factor.levels).double()
    return levels.double()[:, None] / factor.levels


def _concentration(table: Tensor) -> Tensor:
    """1 - entropy of each row over its largest possible value: 1 if a row has one entry, 0 if all are equal."""
    if table.shape[1] == 1:
        return torch.ones(len(table), dtype=table.dtype)
    shares = table / table.sum(1, keepdim=True).clamp(min=TINY)
    return 1 - torch.special.entr(shares).sum(1) / torch.tensor(table.shape[1]).log()


def factor_vae_score(variance: Tensor, variances: Tensor, fixed: Tensor, factors: int, threshold: float) -> Tensor:
    """The FactorVAE score, https://arxiv.org/abs/1802.05983, section 4: the accuracy of a majority vote.

    Among images that share one factor, the latent whose variance `variances` `(V, d)` falls most, relative to that of
    all images `(d,)`, votes for that factor. The first half of the votes gives each latent its factor, the second the
    score.
    """
    active = variance > threshold
    if not active.any():
        return torch.tensor(0.0)
    chosen = (variances[:, active] / variance[active]).argmin(1)
    half = len(fixed) // 2
    table = torch.bincount(chosen[:half] * factors + fixed[:half], minlength=int(active.sum()) * factors)
    return (table.view(-1, factors).argmax(1)[chosen[half:]] == fixed[half:]).double().mean()
