"""Models of each kind train on the processor in bfloat16, whether it computes in it or emulates it."""

import math

import pytest
from helpers.runs import rows, train_with

from lightning_gen.testing import DATA, FAKE, narrow
from lightning_gen.utilities import hardware

NOT_TERMS = {"images_seen", "epoch", "seconds", "images_per_second", "memory_gib"}
QUIET = [
    *("callbacks=[log_terms]", "callbacks.log_terms.every_steps=1", "metrics=[]", "data.batch_size=4"),
    *("trainer.max_images=12", "trainer.steps_per_call=1", "trainer.validate_every_images=12"),
]
MODELS = [("dcgan", "rgb"), ("sngan", "rgb"), ("r3gan", "gray"), ("stylegan2", "rgb"), ("vae", "gray")]


@pytest.mark.parametrize(
    ("name", "data"), [*MODELS, ("frame_lstm", "sequence"), ("pixel_rnn_row", "gray")], ids=lambda value: value
)
def test_losses_are_finite(name, data, tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "cpu_computes_in_bfloat16", lambda: True)
    small = [f"model={name}", *FAKE, *DATA[data], *narrow(name), *QUIET]
    folder = train_with(tmp_path / "run", *small, "trainer.precision=auto", "trainer.channels_last=true")
    assert "bf16-mixed" in (folder / "log.txt").read_text()
    logged = [{key: value for key, value in row.items() if value and key not in NOT_TERMS} for row in rows(folder)]
    assert len([row for row in logged if len(row) > 1]) >= 2
    assert all(math.isfinite(float(value)) for row in logged for value in row.values())
