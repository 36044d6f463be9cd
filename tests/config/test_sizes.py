"""`model.size`, the dial of a model's YAML file."""

import pytest
from helpers.configs import composed

from lightning_gen.errors import UserError


@pytest.mark.parametrize("size", ["small", "base", "large"])
def test_size_chooses_the_widths(size):
    width = {"small": 16, "base": 32, "large": 64}[size]
    model = composed("model=rgb_vae", f"model.size={size}").model
    assert (model.encoder.width, model.decoder.width, model.size) == (width, width, size)


def test_a_given_width_replaces_that_of_the_size():
    model = composed("model=rgb_vae", "model.size=small", "model.encoder.width=48").model
    assert (model.encoder.width, model.decoder.width) == (48, 16)


def test_an_unknown_size_is_one_line():
    with pytest.raises(
        UserError, match=r"^model\.size=smal: expected one of small, base, large; did you mean small\?$"
    ):
        composed("model=rgb_vae", "model.size=smal")


def test_a_model_without_sizes_names_those_that_have_them():
    with pytest.raises(UserError, match=r"^model\.size=small: this model has no sizes; those of .*rgb_vae"):
        composed("model=vae", "model.size=small")
