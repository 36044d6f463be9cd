"""A run's files that were changed, cut or exchanged: resuming ends in one line, and changes nothing."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers.runs import resume, run

from lightning_gen.config.composition import compose
from lightning_gen.errors import UserError
from lightning_gen.training.run import train


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    return run(tmp_path_factory.mktemp("runs") / "run", images=32)


@pytest.fixture
def folder(done, tmp_path) -> Path:
    return shutil.copytree(done, tmp_path / "run")


def refusal(folder: Path, *overrides: str) -> str:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as caught:
        resume(folder, *overrides)
    assert "\n" not in str(caught.value)
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in after} - {path.name for path in before} <= {".lock"}
    told = (".lock", "log.txt", "config.yaml")  # of the attempt, which the folder's config has too
    assert all(after[path] == content for path, content in before.items() if path.name not in told)
    return str(caught.value)


OBJECTS = "seed: 0\nmodel: {_target_: lightning_gen.models.vae.VAE}\ndata: {_target_: lightning_gen.data.fake.Fake}\n"
TRAINER = "lightning_gen.trainer.ImageTrainer"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "config.yaml holds no config of a run"),
        ("- a\n- b\n", "config.yaml holds no config of a run"),
        ("abc", "config.yaml holds no config of a run"),
        ("seed: 0\nmodel: {", "config.yaml line 2: "),
        ("seed: 0\n", "config.yaml lacks model"),
        ("seed: abc\nmodel: {}\ndata: {}\ntrainer: {}\n", "its config is damaged: seed=abc: expected int"),
        (f"{OBJECTS}trainer: abc\n", "its config is damaged: trainer=abc: expected mapping"),
        (f"{OBJECTS}trainer: {{_target_: {TRAINER}}}\nlogger: [1]\n", "its config is damaged: logger=[1]: expected"),
    ],
)
def test_the_config_of_a_run(folder, text, told):
    (folder / "config.yaml").write_text(text)
    message = refusal(folder)
    assert message.startswith(f"run_dir={folder}: {told}")


def test_half_a_config(folder):
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text[: len(text) // 2])
    assert refusal(folder).startswith(f"run_dir={folder}: config.yaml ")


def test_bytes_that_are_no_text(folder):
    (folder / "config.yaml").write_bytes(b"\xff\xfe\x00")
    assert refusal(folder).startswith(f"run_dir={folder}: config.yaml cannot be read: ")


@pytest.mark.parametrize(
    "text",
    ["a,b\n1,2\n", "images\nabc\n", "images,a\n1,2,3\n", "images,a\n,2\n"],
    ids=["other", "word", "long", "empty"],
)
def test_metrics_of_another_program(folder, text):
    (folder / "metrics.csv").write_text(text)
    message = refusal(folder, "trainer.max_images=64")
    assert message == f"{folder / 'metrics.csv'}: is damaged, or no metrics.csv of a run; move it away, then resume"


def changed(folder: Path, change) -> Path:
    path = folder / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.pop("optimizer_states"), "damaged, it lacks optimizer_states"),
        (lambda c: c.update(optimizer_states=[]), "has the states of 0 optimizers, this model has 1"),
        (lambda c: c.update(optimizer_states="abc"), "damaged, optimizer_states is 'abc'"),
        (lambda c: c["optimizer_states"][0].clear(), "optimizer_states[0] doesn't fit Adam here"),
        (lambda c: c["optimizer_states"][0]["param_groups"][0].update(params=[0]), "optimizer_states[0] doesn't fit"),
        (
            lambda c: c["optimizer_states"][0]["state"][0].update(exp_avg=torch.zeros(1, 2, 3)),
            "optimizer_states[0] doesn't fit Adam here (exp_avg has another shape than its weight)",
        ),
        (lambda c: c.update(loops=None), "damaged, loops is None"),
        (lambda c: c.update(global_step=-1), "damaged, global_step is -1"),
        (lambda c: c["lightning_gen"].pop("batches_seen"), "damaged, it lacks lightning_gen.batches_seen"),
        (lambda c: c["lightning_gen"].update(terms=7), "damaged, lightning_gen.terms are no sums of terms"),
        (
            lambda c: c["lightning_gen"].update(terms=[[["loss"], torch.zeros(2), 1.0]]),
            "damaged, lightning_gen.terms are no sums of terms: names and values differ in number",
        ),
    ],
)
def test_the_state_of_training(folder, change, told):
    path = changed(folder, change)
    assert refusal(folder, "trainer.max_images=64").startswith(f"resume={path}: {told}")


def test_a_group_without_its_device_is_that_of_this_machine(tmp_path, done):
    """`~trainer.accelerator` leaves the choice to Lightning."""
    kept = ["data=fake", "data.image_shape=[1,12,12]", "debug=smoke", "metrics=[]", "trainer.max_images=16"]
    train(compose([*kept, "~trainer.accelerator", f"run_dir={tmp_path / 'run'}"]))
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()


def test_an_unknown_score_to_monitor(tmp_path):
    with pytest.raises(
        UserError, match=r"^callbacks\.early_stopping\.monitor=val/los: no such score; did you mean val/loss"
    ):
        run(
            tmp_path / "run",
            "callbacks=[log_terms,sample_grid,reconstructions,checkpoint,early_stopping]",
            "callbacks.early_stopping.monitor=val/los",
            images=32,
        )
