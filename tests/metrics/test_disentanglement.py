"""Scores of disentanglement by codes that are known, and data of which the factors are known."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers.tiny_models import tiny_vae
from torch import Tensor

from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data
from lightning_gen.data.factors import Factor
from lightning_gen.errors import UserError
from lightning_gen.metrics.boosted_trees import BoostedTrees
from lightning_gen.metrics.disentanglement import (
    Disentanglement,
    dci,
    factor_vae_score,
    mutual_information_gap,
    separated_attribute_predictability,
)
from lightning_gen.testing import check_data, check_metric

FACTORS = [Factor("shape", 3, True), Factor("scale", 6, False), Factor("x", 10, False)]
N = 3000


def levels(n: int = N, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(factor.levels, (n,), generator=draw) for factor in FACTORS], 1)


def scores(encode) -> dict[str, float]:
    metric = Disentanglement(images=N, bins=20, votes=100, images_per_vote=20)
    metric.factors = FACTORS
    drawn, groups = levels(N + N // 2), levels(200 * 20, seed=1).view(200, 20, 3)
    fixed = torch.arange(200) % 3
    groups = torch.where(F.one_hot(fixed, 3).bool()[:, None], groups[:, :1], groups)
    variances = encode(groups.flatten(0, 1)).view(200, 20, -1).var(1)
    metric.update(encode(drawn), drawn, variances, fixed)
    return {name: value.item() for name, value in metric.compute().items()}


def standardized(drawn: Tensor) -> Tensor:
    sizes = torch.tensor([factor.levels for factor in FACTORS])
    return (drawn - (sizes - 1) / 2).double() / ((sizes**2 - 1) / 12).sqrt()


def test_a_disentangled_code_scores_1():
    draw = torch.Generator().manual_seed(0)
    found = scores(lambda drawn: torch.cat([standardized(drawn), 0.1 * torch.randn(len(drawn), 1, generator=draw)], 1))
    assert found["mig"] > 0.95
    # SAP: the gap of x and scale is R^2 = 1 to about 0, of the shape its accuracy to that of chance, 1/3
    assert found["sap"] == pytest.approx((1 + 1 + 2 / 3) / 3, abs=0.03)
    for name in ("dci_disentanglement", "dci_completeness", "dci_informativeness", "factor_vae_score"):
        assert found[name] > 0.98, name


def test_a_rotation_of_it_is_informative_but_not_disentangled():
    torch.manual_seed(0)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    found = scores(lambda drawn: standardized(drawn) @ turn)
    assert found["mig"] < 0.35
    assert found["sap"] < 0.4
    assert found["dci_disentanglement"] < 0.5
    assert found["dci_informativeness"] > 0.85


def test_noise_tells_nothing():
    draw = torch.Generator().manual_seed(0)
    found = scores(lambda drawn: torch.randn(len(drawn), 3, generator=draw).double())
    assert abs(found["mig"]) < 0.01
    assert found["sap"] < 0.03
    assert abs(found["dci_informativeness"]) < 0.05
    assert found["factor_vae_score"] < 0.6


def test_mutual_information_gap_by_hand():
    # A factor of 2 levels; the first latent tells it, the second does so for half of the images.
    factor = torch.tensor([0, 0, 1, 1] * 25)
    codes = torch.stack([factor, torch.tensor([0, 1, 1, 1] * 25)], 1).double()
    joint = {(0, 0): 1 / 4, (0, 1): 1 / 4, (1, 1): 1 / 2}  # of factor and second latent
    second = sum(p * math.log(p / (0.5 * (0.25 if code == 0 else 0.75))) for (_, code), p in joint.items())
    expected = (math.log(2) - second) / math.log(2)
    assert mutual_information_gap(codes, factor[:, None], bins=20).item() == pytest.approx(expected)


def test_sap_by_hand():
    values = torch.arange(10).repeat(10)
    other = torch.where(torch.arange(100) % 20 < 10, values, 9 - values)  # uncorrelated
    codes = torch.stack([2.0 * values + 1, 3.0 * other], 1).double()
    given = codes, values[:, None], codes, values[:, None]
    assert separated_attribute_predictability(*given, [Factor("x", 10, False)], bins=20).item() == pytest.approx(1)
    half = values + (values - 4.5).abs() * 2.0  # R^2 = cov^2 / (var var) = 8.25 / (8.25 + 4 * 2) = 0.5077
    codes = torch.stack([values.double(), half.double()], 1)
    given = codes, values[:, None], codes, values[:, None]
    gap = separated_attribute_predictability(*given, [Factor("x", 10, False)], bins=20).item()
    assert gap == pytest.approx(1 - 8.25 / (8.25 + 4 * 2), abs=1e-6)


def test_dci_of_a_latent_that_tells_two_factors():
    drawn = levels()[:, 1:]
    codes = torch.stack([6 * drawn[:, 1] + drawn[:, 0], torch.zeros(N)], 1).double()
    found = dci(codes, drawn, codes, drawn, FACTORS[1:])
    # Only the first latent is used, for both factors: complete, but not disentangled at all.
    assert found["dci_completeness"].item() == pytest.approx(1)
    assert found["dci_disentanglement"].item() == pytest.approx(0, abs=1e-6)


def test_factor_vae_score_by_hand():
    variances = torch.tensor([[0.0, 1, 9], [1, 0, 9], [0, 1, 9], [1, 0, 9], [0, 2, 0]])
    fixed = torch.tensor([0, 1, 0, 1, 1])  # votes 0 and 1 are counted; the last but one vote is right, the last wrong
    found = factor_vae_score(torch.tensor([1.0, 1.0, 0.001]), variances, fixed, factors=2, threshold=0.01)
    assert found.item() == pytest.approx(2 / 3)
    unused = factor_vae_score(torch.full((3,), 0.001), variances, fixed, factors=2, threshold=0.01)
    assert unused.item() == 0


def test_boosted_trees_learn_and_tell_what_they_use():
    torch.manual_seed(0)
    inputs = torch.randn(2000, 4)
    target = (inputs[:, 0].sign() + (2 * inputs[:, 2]).sin())[:, None]
    trees = BoostedTrees(inputs[:1500], target[:1500])
    error = (trees.predict(inputs[1500:]) - target[1500:]).square().mean()
    assert error < 0.05 * target.var()
    assert trees.importance[[0, 2]].sum() > 0.97
    assert trees.importance.sum().item() == pytest.approx(1)


SMALL = {
    "dsprites": ["data.size=16", "data.levels=[3,2,4,4,4]", "data.num_test=40"],
    "shapes3d_like": ["data.size=16", "data.levels=[3,4,2,2,4,3]", "data.num_test=40"],
}


@pytest.mark.parametrize("name", SMALL)
def test_an_image_for_each_combination_of_levels(name):
    check_data(name, *SMALL[name])
    data = build_data(compose([f"data={name}", *SMALL[name]], "inspect").data)
    assert sum(data.split_sizes.values()) == math.prod(data.levels)
    drawn = torch.cat([data.levels_of(split) for split in data.split_sizes])
    assert len(drawn.unique(dim=0)) == math.prod(data.levels)
    labels = data.sources["test"].labels
    assert torch.equal(labels, data.levels_of("test")[:, data.factor_names.index("shape")])
    source = data.sources["test"]
    assert torch.equal(
        source.images.index_select(0, torch.arange(5)), torch.stack([source.images[n] for n in range(5)])
    )
    (images, _), *_ = source.batches([torch.arange(5)], torch.device("cpu"))
    torch.testing.assert_close(data.draw(data.levels_of("test")[:5]), images / 127.5 - 1)


@pytest.mark.parametrize("name", SMALL)
def test_each_factor_changes_the_image(name):
    data = build_data(compose([f"data={name}", *SMALL[name], "data.size=32"], "inspect").data)
    last = torch.tensor([factor.levels - 1 for factor in data.factors])  # a heart looks alike at no two angles
    for place, factor in enumerate(data.factors):
        drawn = last.repeat(factor.levels, 1)
        drawn[:, place] = torch.arange(factor.levels)
        assert len(data.draw(drawn).unique(dim=0)) == factor.levels, factor.name


def test_sprites_are_where_their_factors_say():
    data = build_data(compose(["data=dsprites", "data.num_images=10"], "inspect").data)
    drawn = torch.tensor([[0, 5, 0, 0, 0], [0, 5, 0, 31, 0], [0, 5, 0, 0, 31], [0, 0, 0, 0, 0]])
    white = data.draw(drawn)[:, 0] > 0
    rows, columns = (white.sum(dim).float() for dim in (2, 1))
    row, column = (((part * torch.arange(64)).sum(1) / part.sum(1)) for part in (rows, columns))
    assert column[1] > column[0] + 30  # x to the right
    assert row[2] < row[0] - 30  # y upwards
    assert white.sum((1, 2))[3].item() == pytest.approx(white.sum((1, 2))[0].item() / 4, rel=0.15)  # half the scale
    assert set(white[0].unique().tolist()) == {False, True}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.levels=[3,6]"], r"data.levels=\[3, 6\]: give 5 numbers, of shape, scale, orientation, x, y"),
        (["data.levels=[4,2,2,2,2]"], "there are 3 shapes, square, ellipse, heart"),
        (["data.levels=[3,2,2,2,2]"], "data.num_test=5000: there are 48 images, none is left"),
    ],
)
def test_levels_that_do_not_suit(overrides, message):
    with pytest.raises(UserError, match=message):
        build_data(compose(["data=dsprites", *overrides], "inspect").data)


FEW = [f"metrics.disentanglement.{key}" for key in ("images=60", "votes=10", "images_per_vote=4")]


@pytest.mark.slow
def test_it_scores_a_model_on_data_with_factors():
    check_metric("disentanglement", *FEW, "data=dsprites", *SMALL["dsprites"], "model=mlp_vae", "model.latent_dim=2")


def test_other_data_have_no_factors():
    model, data = tiny_vae()
    reason = Disentanglement(10, 20, 10, 4).why_unavailable(model, None, data, {})
    assert reason == "the factors of data=fake are not known, as those of data=dsprites are"
