"""Muon for matrices beside AdamW for the rest, against the two of torch on their own."""

import io

import pytest
import torch
from torch import nn
from torch.optim import AdamW, Muon

from lightning_gen.optim.muon import MuonWithAdamW

SHAPES = ((4, 6), (4,), (2, 3, 3, 3), (8, 3), ())
OPTIONS = {"lr": 0.01, "weight_decay": 0.1}


def walk(parameters, optimizers, steps):
    """Give all the gradients of each step, which depend on its number alone, and step."""
    for step in steps:
        random = torch.Generator().manual_seed(step)
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=random)
        for optimizer in optimizers:
            optimizer.step()


def make(shapes=SHAPES):
    random = torch.Generator().manual_seed(99)
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in shapes]


@pytest.mark.parametrize("shapes", [SHAPES, [(4, 6)], [(4,), (2, 3, 3, 3)]], ids=["both", "matrices", "others"])
def test_is_the_two_optimizers(shapes):
    joint, apart = make(shapes), make(shapes)
    matrices, others = [p for p in apart if p.ndim == 2], [p for p in apart if p.ndim != 2]
    muon = [Muon(matrices, momentum=0.9, adjust_lr_fn="match_rms_adamw", **OPTIONS)] if matrices else []
    adamw = [AdamW(others, **OPTIONS)] if others else []
    walk(joint, [MuonWithAdamW(joint, momentum=0.9, **OPTIONS)], range(5))
    walk(apart, [*muon, *adamw], range(5))
    assert all(torch.equal(one, other) for one, other in zip(joint, apart, strict=True))


def test_a_matrix_moves_by_an_orthogonal_one_of_adamws_size():
    (matrix,) = make([(8, 3)])
    before = matrix.detach().clone()
    walk([matrix], [MuonWithAdamW([matrix], lr=0.01, momentum=0.9, weight_decay=0.0)], [0])
    singular = torch.linalg.svdvals((matrix.detach() - before) / (0.01 * 0.2 * 8**0.5))
    assert singular.min() > 0.5
    assert singular.max() < 1.5


def test_a_saved_state_goes_on_identically():
    straight, resumed = make(), make()
    first = MuonWithAdamW(straight, momentum=0.9, **OPTIONS)
    for group in first.param_groups:
        group["lr"] = 0.02
    walk(straight, [first], range(3))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    with torch.no_grad():
        for one, other in zip(resumed, straight, strict=True):
            one.copy_(other)
    second = MuonWithAdamW(resumed, momentum=0.9, **OPTIONS)
    second.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    for optimizer, parameters in ((first, straight), (second, resumed)):
        walk(parameters, [optimizer], range(3, 6))
        for group in optimizer.param_groups:
            group["lr"] = 0.001
        walk(parameters, [optimizer], range(6, 8))
    assert all(torch.equal(one, other) for one, other in zip(straight, resumed, strict=True))
