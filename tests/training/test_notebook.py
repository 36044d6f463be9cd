"""Runs from Python, and the notebook of examples/ that shows them."""

import json
import re

import pytest
from helpers import ROOT
from helpers.runs import TINY_RUN

import lightning_gen
from lightning_gen.errors import UserError

NOTEBOOK = json.loads((ROOT / "examples" / "first_run.ipynb").read_text())
# In place of the notebook's lengths.
SHORT = "debug=smoke trainer.max_images=16 data.batch_size=8 metrics=[active_units] model.encoder.width=8"


def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            exec(re.sub(r"trainer\.max_images=[\d_]+", SHORT, "".join(cell["source"])), names)
    assert names["run"].scores.keys() == names["again"].scores.keys() != set()
    assert names["run"].model.num_training_images == 4000
    assert names["path"].shape == (8, 1, 28, 28)


def test_the_notebook_is_valid_and_has_no_outputs():
    """By the schema of nbformat 4.5, which is not installed here."""
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for cell in NOTEBOOK["cells"]:
        code = {"execution_count": None, "outputs": []} if cell["cell_type"] == "code" else {}
        assert cell == {
            "cell_type": cell["cell_type"],
            "id": cell["id"],
            "metadata": {},
            "source": cell["source"],
            **code,
        }
        assert cell["cell_type"] in ("code", "markdown")


def test_an_opened_run_samples_as_the_command(tiny_run):
    from PIL import Image

    from lightning_gen.cli import main

    run = lightning_gen.Run(tiny_run())
    assert run.scores == {}
    assert main(["sample", f"checkpoint={run.folder}", "n=3", f"out={run.folder}/drawn", "interpolation=false"]) == 0
    drawn = [Image.open(path) for path in sorted(run.folder.glob("drawn/images/*.png"))]
    assert [image.tobytes() for image in lightning_gen.to_pil(run.sample(3))] == [image.tobytes() for image in drawn]
    assert len(run.pictures("reconstructions")) >= 1


MISTAKES = {
    "no run": (lambda: lightning_gen.Run("absent"), "absent: no run's folder"),
    "key": (lambda: lightning_gen.train("modle=vae"), "modle=vae: no such key; did you mean model?"),
    "processes": (lambda: lightning_gen.train("trainer.devices=2"), "trainer: has 2 processes, and a run from Python"),
    "two texts": (lambda: lightning_gen.compose("model=vae", "data=fake"), "compose(..., 'data=fake'): give all over"),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_mistakes_are_told(mistake):
    call, told = MISTAKES[mistake]
    with pytest.raises(UserError) as caught:
        call()
    assert str(caught.value).startswith(told)


def test_mistakes_with_a_run_are_told(tiny_run):
    run = lightning_gen.Run(tiny_run())
    with pytest.raises(UserError, match="has no such pictures; it has reconstructions, samples"):
        run.pictures("latents")
    with pytest.raises(UserError, match="label=7: this model is unconditional"):
        run.sample(1, label=7)


def test_a_text_is_split_as_by_a_shell():
    config = lightning_gen.compose("model=vae 'run_dir=my folder' model.beta=2")
    assert (config.model.beta, config.run_dir) == (2, "my folder")


def test_an_interrupted_run_raises_keyboard_interrupt(tmp_path, monkeypatch):
    def stop(*_: object) -> None:
        raise SystemExit(130)

    monkeypatch.setattr("lightning_gen.training.run.train", stop)
    with pytest.raises(KeyboardInterrupt, match="the last state is in"):
        lightning_gen.train([*TINY_RUN, f"run_dir={tmp_path}/run"])
