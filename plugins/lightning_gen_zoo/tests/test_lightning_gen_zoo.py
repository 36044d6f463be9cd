"""Every checkpoint of the zoo loads and draws, is as large and as good as its description says, and is documented."""

import json
import re
from pathlib import Path

import lightning_gen_zoo
import pytest
import torch
import yaml

from lightning_gen import list_options, load_model

PROJECT = Path(__file__).parents[1]
PACKAGE = Path(lightning_gen_zoo.__file__).parent
NAMES = sorted(path.stem for path in PACKAGE.glob("conf/zoo/*.yaml"))
SCORES = {"kid": "kid/efficientnet_lite0", "nats": "nll_nats", "MSE": "prediction_mse"}


@pytest.fixture(autouse=True)
def not_installed(monkeypatch):
    """Works in a checkout too, where nobody installed it."""
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lightning_gen_zoo")


def folder(name: str) -> Path:
    return PACKAGE / yaml.safe_load((PACKAGE / f"conf/zoo/{name}.yaml").read_text())["checkpoint"]


def description(name: str) -> str:
    return next(option.description for option in list_options("zoo") if option.name == name)


@pytest.mark.parametrize("name", NAMES)
def test_it_draws(name):
    model = load_model(f"zoo:{name}")
    torch.manual_seed(0)
    with torch.no_grad():
        images = model.sample(2)
    assert images.shape == (2, *model.image_shape)
    assert images.isfinite().all()
    assert images.max() > 0 > images.min() or name.endswith("frame_lstm")  # which continues a blank frame


@pytest.mark.parametrize("name", NAMES)
def test_its_description_is_true(name):
    """Scores are those of the very file, by `evaluate`."""
    text = description(name)
    newest = json.loads((folder(name) / "evaluation.json").read_text())[-1]
    found = re.findall(r"(kid|nats|MSE) ([\d.]+)", text)
    assert found
    for score, value in found:
        digits = len(value.partition(".")[2])
        assert f"{newest['scores'][SCORES[score]]:.{digits}f}" == value
    assert newest["checkpoint"] == "model.safetensors"
    size = (folder(name) / "model.safetensors").stat().st_size
    assert f"{size / 1e6:.1f} MB" in text


def test_all_are_documented_and_small():
    readme = (PROJECT / "README.md").read_text()
    for name in NAMES:
        assert f"| `zoo:{name}` |" in readme
        assert re.findall(r"(?:kid|nats|MSE) [\d.]+", description(name))[0] in readme
    assert sum(path.stat().st_size for path in PACKAGE.rglob("*") if path.is_file()) < 10e6
