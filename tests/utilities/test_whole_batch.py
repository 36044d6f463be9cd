"""Draws by place in the batch of all ranks: those of simulated ranks are rows of those of one process."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lightning_gen.utilities.whole_batch import batch_dim, batch_rows, no_draws, whole_batch

ROWS = 6
PROBABILITIES = torch.linspace(0.1, 0.9, ROWS).view(-1, 1).expand(-1, 5).contiguous()
IMAGES = torch.linspace(-1, 1, ROWS * 3 * 5 * 5).view(ROWS, 3, 5, 5)
CHANNELS_LAST = IMAGES.contiguous(memory_format=torch.channels_last)
DRAWS = {
    "rand": lambda x: torch.rand(len(x), 3),
    "randn of a size": lambda x: torch.randn((len(x), 20), dtype=torch.float64),
    "rand of a keyword": lambda x: torch.rand(size=(len(x), 2)),
    "randint": lambda x: torch.randint(10, (len(x),)),
    "randint from": lambda x: torch.randint(-3, 3, (len(x), 4)),
    "merged frames": lambda x: torch.randn(len(x) * 4, 7).unflatten(0, (-1, 4)),
    "randn_like": torch.randn_like,
    "rand_like": torch.rand_like,
    "randint_like": lambda x: torch.randint_like(x, 9),
    "uniform_": lambda x: torch.empty(len(x), 1, 1).uniform_(-2, 2),
    "normal_": lambda x: torch.empty_like(x).normal_(1, 2),
    "exponential_": lambda x: torch.empty_like(x).exponential_(),
    "random_": lambda x: torch.empty(len(x)).random_(0, 50),
    "bernoulli_": lambda x: torch.empty_like(x).bernoulli_(0.3),
    "bernoulli_ of a tensor": lambda x: torch.empty(len(x)).bernoulli_(x.flatten(1)[:, 0].sigmoid()),
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid()),
    "normal of tensors": lambda x: torch.normal(x, 1 + x.square()),
    "normal of a mean": lambda x: torch.normal(x, 2.0),
    "normal of a size": lambda x: torch.normal(1.0, 2.0, (len(x), 4)),
    "multinomial": lambda x: torch.multinomial(x.flatten(1).sigmoid(), 3, replacement=True),
    "without replacement": lambda x: torch.multinomial(x.flatten(1).sigmoid(), 3),
    "gumbel_softmax": lambda x: F.gumbel_softmax(x.flatten(1)),
    "dropout": lambda x: nn.Dropout(0.3)(x),
    "dropout in place": lambda x: nn.Dropout(0.3, inplace=True)(x.clone()),
    "dropout2d": lambda x: nn.Dropout2d(0.3)(x),
    "alpha_dropout": lambda x: nn.AlphaDropout(0.3)(x),
    "a distribution": lambda x: torch.distributions.Normal(x, 1.0).rsample(),
}


def drawn(draw, images, ranks):
    """The draws of all rows, of one process or of several that each have some of them."""
    if ranks == 1:
        torch.manual_seed(3)
        return draw(images), torch.rand(())
    parts = []
    for rank in range(ranks):
        torch.manual_seed(3)
        mine = images[rank::ranks].clone()
        with whole_batch(rank, ranks, len(mine), total=len(images)):
            parts.append((draw(mine), torch.rand(())))
    whole = torch.empty(len(images), *parts[0][0].shape[1:], dtype=parts[0][0].dtype)
    for rank, (part, _) in enumerate(parts):
        whole[rank::ranks] = part
    [after] = {float(number) for _, number in parts}  # what is drawn next, by no rows
    return whole, torch.tensor(after)


@pytest.mark.parametrize("ranks", [2, 3, 4])  # 4 ranks have 2, 2, 1 and 1 rows
@pytest.mark.parametrize("name", DRAWS)
def test_ranks_draw_the_rows_of_one_process(name, ranks):
    for one, several in zip(drawn(DRAWS[name], IMAGES, 1), drawn(DRAWS[name], IMAGES, ranks), strict=True):
        torch.testing.assert_close(several, one, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["randn_like", "normal_", "dropout"])
def test_memory_formats_do_not_matter(name):
    one, several = drawn(DRAWS[name], CHANNELS_LAST, 1)[0], drawn(DRAWS[name], CHANNELS_LAST, 2)[0]
    torch.testing.assert_close(several, one, rtol=0, atol=0)


def test_dropout_has_gradients():
    images = IMAGES[::2].clone().requires_grad_()
    with whole_batch(0, 2, 3):
        output = nn.Dropout(0.5)(images)
        gradient = torch.autograd.grad(output.square().sum(), images, create_graph=True)[0]
    kept = (output != 0) * 4.0
    torch.testing.assert_close(gradient, 2 * images * kept)
    torch.testing.assert_close(torch.autograd.grad(gradient.sum(), images)[0], 2 * kept)


def test_the_batch_may_be_another_dimension():
    def draw(x):
        with batch_dim(1):
            return torch.rand(4, len(x)).T

    assert torch.equal(drawn(draw, IMAGES, 1)[0], drawn(draw, IMAGES, 2)[0])


def test_parts_of_a_batch_are_rows_too():
    def draw(x):
        parts = []
        for part in x.chunk(3):
            with batch_rows(len(part)):
                parts.append(torch.randn(len(part), 2))
        return torch.cat(parts)

    assert torch.equal(drawn(draw, IMAGES, 1)[0], drawn(draw, IMAGES, 2)[0])


def test_draws_of_other_sizes_and_with_generators_are_left_alone():
    with whole_batch(1, 2, 3):
        torch.manual_seed(3)
        several = [torch.rand(4), torch.rand(3, generator=torch.Generator().manual_seed(1)), torch.rand(0, 3)]
    torch.manual_seed(3)
    one = [torch.rand(4), torch.rand(3, generator=torch.Generator().manual_seed(1)), torch.rand(0, 3)]
    assert all(map(torch.equal, several, one))


def test_one_process_has_no_mode():
    with whole_batch(0, 1, 4), batch_rows(2), batch_dim(1):
        torch.manual_seed(3)
        drawn = torch.rand(4)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(4))


def test_the_mode_can_be_left_and_comes_back():
    def draw(x):
        with no_draws():
            torch.rand(len(x))
            torch.manual_seed(3)
        return torch.rand(len(x))

    assert torch.equal(drawn(draw, IMAGES, 1)[0], drawn(draw, IMAGES, 2)[0])
