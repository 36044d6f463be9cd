"""Synced batch normalization of two ranks against nn.BatchNorm of one process, with first and second derivatives."""

from pathlib import Path

import pytest
import torch
from helpers.processes import on_two_ranks
from torch import nn

from lightning_gen.networks.synced_batch_norm import synced_batch_norm
from lightning_gen.utilities.ranks import Ranks, std_over_ranks
from lightning_gen.utilities.whole_batch import whole_batch


def images() -> torch.Tensor:
    # Means far from zero, and other ones on each rank.
    return (10 + torch.randn(8, 3, 4, 4) + torch.arange(8.0).view(-1, 1, 1, 1)).double()


def results(norm: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Output, gradients of a loss with a gradient penalty, and running statistics."""
    inputs = inputs.clone().requires_grad_()
    output = norm(inputs)
    per_image = output.tanh().flatten(1).sum(1)
    (gradient,) = torch.autograd.grad(per_image.sum(), inputs, create_graph=True)
    (per_image.square() + gradient.square().flatten(1).sum(1)).mean().backward()
    parameters = {name: p.grad for name, p in norm.named_parameters()}
    return {"output": output, "gradient": gradient, "input": inputs.grad} | parameters | dict(norm.named_buffers())


def norm() -> nn.Module:
    torch.manual_seed(0)
    made = nn.BatchNorm2d(3).double()
    nn.init.normal_(made.weight)
    return made


def on_a_rank(rank: int, folder: Path, size: int) -> None:
    store = torch.distributed.FileStore(str(folder / "store"), size)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    torch.manual_seed(1)
    mine = images()[rank::size]
    with whole_batch(rank, size, len(mine), replaced={nn.functional.batch_norm: synced_batch_norm}):
        found = results(norm(), mine)
    found = {name: tensor.detach() for name, tensor in found.items()} | {"std": std_over_ranks(mine)}
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_normalize_as_one(tmp_path):
    on_two_ranks(on_a_rank, tmp_path)
    torch.manual_seed(1)
    whole = images()
    expected = results(norm(), whole) | {"std": whole.std(correction=0)}
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, value in expected.items():
        found = first[name]
        if name in ("output", "gradient", "input"):
            found = torch.stack([first[name], second[name]], 1).flatten(0, 1)
        elif name in ("weight", "bias"):
            found = (first[name] + second[name]) / 2
        else:
            assert torch.equal(first[name], second[name])
        if name == "input":
            found = found / 2  # its loss is a mean over half of the images
        torch.testing.assert_close(found, value.detach(), msg=lambda text, name=name: f"{name}: {text}")


def test_one_rank_normalizes_as_torch():
    assert Ranks().size == 1
    torch.manual_seed(1)
    inputs = images()
    mine, theirs = norm(), norm()
    for training in (True, False):
        output = theirs.train(training)(inputs)
        with torch.no_grad():
            buffers = mine.running_mean, mine.running_var
            found = synced_batch_norm(inputs, *buffers, mine.weight, mine.bias, training, 0.1, 1e-5)
        torch.testing.assert_close(found, output)
    torch.testing.assert_close(mine.running_var, theirs.running_var)
