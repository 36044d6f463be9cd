"""The GAN for pictures of one's own: its sizes, with and without labels."""

import pytest
import torch

from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_model

WEIGHTS = {"small": (300, 400), "base": (400, 600), "large": (2000, 2600)}  # thousands, at least and at most


@pytest.mark.parametrize(("size", "labels"), [("small", True), ("base", False), ("large", True)])
def test_three_sizes_with_and_without_labels(size, labels):
    overrides = ["data.path=somewhere", f"model.size={size}", f"model.conditional={labels}"]
    model = build_model(compose(["experiment=my_pictures/gan", *overrides]).model, (3, 33, 32), 4 if labels else None)
    least, most = WEIGHTS[size]
    assert least < sum(weight.numel() for weight in model.parameters() if weight.requires_grad) / 1000 < most
    with torch.no_grad():
        images = model.sample(2, torch.tensor([0, 3]) if labels else None)
    assert images.shape == (2, 3, 33, 32)
