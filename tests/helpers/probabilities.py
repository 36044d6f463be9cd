"""What holds of the probabilities of all images there are."""

import math

import pytest
import torch

from lightning_gen.models.latent_variable_model import LatentVariableModel


def all_images(rows: int, columns: int) -> torch.Tensor:
    """Each black and white image there is."""
    bits = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * (rows * columns))
    return bits.view(-1, 1, rows, columns)


def check_probabilities(model: LatentVariableModel) -> None:
    """Those of all images `(1, 2, 2)` sum to one, as importance weights estimate them; the lower bounds to less."""
    images, runs = all_images(2, 2), 200
    many = images.repeat(runs, 1, 1, 1)
    with torch.no_grad():
        elbo = model.log_likelihood(many).view(runs, -1).mean(0)
        evidence = model.log_likelihood(many, samples=15).view(runs, -1).logsumexp(0) - math.log(runs)
    assert (evidence > elbo).all()
    assert evidence.exp().sum().item() == pytest.approx(1, abs=0.03)
    assert elbo.exp().sum() < 0.97
