"""Explanations of options and keys, and the reference pages, which are up to date."""

from pathlib import Path

import pytest

from lightning_gen.cli.commands import explain
from lightning_gen.cli.reference import core_options, page, page_name
from lightning_gen.config.explanation import explain_key, explain_option
from lightning_gen.config.option_files import read_option
from lightning_gen.config.options import list_groups
from lightning_gen.config.yaml_comments import comments_in
from lightning_gen.errors import UserError

PAGES = Path(__file__).parents[2] / "docs" / "reference"


def test_an_option_has_its_keys_with_comments_defaults_types_and_parts():
    found = explain_option("model", "beta_vae")
    keys = {key.name: key for key in found.keys}
    assert (keys["model.beta"].value, keys["model.beta"].type) == (4.0, "float of at least 0")
    assert keys["model.beta_warmup_images"].comment.startswith("images of linear warm-up")
    assert (keys["model.optimizer.lr"].value, keys["model.optimizer.lr"].type) == (0.006, "float")
    parts = {part.choice.key: part for part in found.parts}
    assert parts["network@model.encoder"].choice.option == "gated_encoder"
    assert "resnet_decoder" not in {option.name for option in parts["network@model.encoder"].others}


def test_options_that_replace_parts_of_others():
    parts = read_option("model", "r3gan").parts
    assert {name: parts[name].option for name in ("loss", "conditioning", "schedule", "generator")} == {
        **{"loss": "relativistic", "conditioning": "projection"},
        **{"schedule": "cosine", "generator": "r3gan_generator"},
    }
    assert {"penalty.r1", "penalty.r2"} <= parts.keys()


def test_keys_of_a_run():
    (beta,) = explain_key("model.beta", ["model=beta_vae"])
    assert (beta.value, beta.type) == (4.0, "float of at least 0")
    with pytest.raises(UserError, match=r"^model\.betta: no such key; did you mean model\.beta\?$"):
        explain_key("model.betta")


@pytest.mark.parametrize("argument", ["model=veo", "modle", "optimizer=sdg", "dcgan"])
def test_unknown_names_have_a_suggestion(argument):
    with pytest.raises(UserError, match="did you mean"):
        explain.run([argument])


def test_comments_are_behind_a_key_or_above_it(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("# About the file.\n_target_: x\na: 1 # one\n# Two,\n# and more.\nb:\n  c: '#' # inner\nd: x#y\n")
    found = comments_in(path)
    assert (found["a"], found["b"], found["b.c"], found["d"]) == ("one", "Two, and more.", "inner", "")


def test_every_option_has_its_section():
    for group in list_groups():
        text = (PAGES / page_name(group)).read_text()
        assert not [name for name in core_options(group) if f"## {name}\n" not in text]


@pytest.mark.parametrize("group", ["data", "model/likelihood", "model/penalty", "schedule"])
def test_pages_are_up_to_date(group):
    fix = "run lightning-gen explain all out=docs/reference"
    assert (PAGES / page_name(group)).read_text() == page(group), fix
