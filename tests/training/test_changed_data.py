"""Runs on folders: what is known to be wrong at their start, and what is told when their images change."""

import json
from pathlib import Path

import pytest
import torch
from helpers.runs import resume, saved, train_with
from omegaconf import OmegaConf
from PIL import Image

from lightning_gen.checkpoint import load_model, match_data
from lightning_gen.cli.commands import evaluate, interpolate, neighbors, project, sample
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data
from lightning_gen.errors import UserError
from lightning_gen.evaluation.sample_sources import ModelSampler
from lightning_gen.image_generator import KEY

TINY = [
    *("model=mlp_vae", "model.latent_dim=2", "debug=smoke"),
    *("data=folder", "data.batch_size=4", "data.num_workers=0", "trainer.max_images=8", "metrics=[]"),
    *("extractor=[none]", "trainer.validate_every_images=8", "callbacks=[checkpoint]"),
]
CONDITIONAL = "model.conditional=true"


def save(folder: Path, count: int = 12, value: int = 0, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.new("L", (8, 8), value + number).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Three classes; natural order differs from that of text."""
    for number, name in enumerate(("2", "10", "cat")):
        save(tmp_path / "images" / name, 30, 60 * number)
    return tmp_path / "images"


def train(run: Path, data: Path, *overrides: str) -> str:
    """The run's log."""
    return (train_with(run, *TINY, f"data.path={data}", *overrides) / "log.txt").read_text()


def command(module, checkpoint: Path, *overrides: str) -> None:
    name = module.__name__.rpartition(".")[2]
    module.run(Job(compose([f"checkpoint={checkpoint}", "device=cpu", *overrides], name)))


def test_the_log_names_what_is_left_out(classes: Path, tmp_path: Path) -> None:
    (classes / "notes.txt").write_text("")
    text = train(tmp_path / "run", classes)
    assert "data=images: 91 files seen, 90 used, 1 left out\n" in text
    assert "data=images: left out, of another kind: notes.txt\n" in text
    assert saved(tmp_path / "run")[KEY]["class_names"] == ["2", "10", "cat"]


def test_a_continued_run_tells_of_changes_and_keeps_splits_and_labels(classes: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", classes, CONDITIONAL)
    before = saved(tmp_path / "run")[KEY]["data"]
    assert sum(count for count, _ in before["splits"].values()) == 90
    resume(tmp_path / "run", "trainer.max_images=16")
    assert "changed since" not in (tmp_path / "run" / "log.txt").read_text()
    save(classes / "2", 30, first=100)
    (classes / "cat" / "0.png").unlink()
    resume(tmp_path / "run", "trainer.max_images=24")
    text = (tmp_path / "run" / "log.txt").read_text()
    (line,) = (line for line in text.splitlines() if "changed since" in line)
    after = saved(tmp_path / "run")[KEY]["data"]["splits"]
    assert f"train {before['splits']['train'][0]} to {after['train'][0]}" in line
    assert line.endswith("; images keep their split")
    resume(tmp_path / "run", "trainer.max_images=32", "data.seed=1")
    text = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert sum(line.endswith("splits are drawn anew, test images may have been trained on") for line in text) == 1


def test_old_runs_keep_the_order_of_their_classes_and_their_splits(classes: Path, tmp_path: Path) -> None:
    old = train_with(tmp_path / "old", *TINY, f"data.path={classes}", CONDITIONAL, "data.split_by=number")
    config = OmegaConf.load(old / "config.yaml")
    del config.data["split_by"]  # as in the configs of then
    OmegaConf.save(config, old / "config.yaml")
    content = saved(old)
    assert content[KEY]["class_names"] == ["10", "2", "cat"]
    for key in (content[KEY]["config"]["data"], content[KEY]):
        key.pop("split_by", None)
    del content[KEY]["data"]
    torch.save(content, old / "checkpoints" / "last.ckpt")
    resume(old, "trainer.max_images=16")
    assert saved(old)[KEY]["class_names"] == ["10", "2", "cat"]
    assert saved(old)[KEY]["data"]["splits"]["train"][0] == 72
    # Other splits, but the same numbers for the classes, if it is given the folder as new data.
    data = build_data(compose(["data=folder", f"data.path={classes}", "data.num_workers=0"], "inspect").data)
    image_of = {image[0, 0, 0].item(): data.class_names[label] for image, label in pairs(data)}
    assert data.class_names == ["2", "10", "cat"]
    changed = "its splits are not those of the checkpoint (data.split_by): test images may have been trained on"
    assert match_data(data, content[KEY]) == [changed]
    assert data.class_names == ["10", "2", "cat"]
    assert {image[0, 0, 0].item(): data.class_names[label] for image, label in pairs(data)} == image_of


def test_samples_are_compared_by_the_names_of_their_classes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name, value in (("a", 0), ("b", 100), ("c", 200)):
        save(tmp_path / "reference" / name, 12, value)
    for name, value in (("b", 100), ("c", 200)):
        save(tmp_path / "samples" / name, 12, value)
    given = [f"samples={tmp_path / 'samples'}", f"reference={tmp_path / 'reference'}", "device=cpu"]
    inputs = evaluate._from_files(compose([*given], "evaluate"))
    assert inputs.files.class_names == ["a", "b", "c"]
    assert {(int(image[0, 0, 0]) // 100, label) for image, label in pairs(inputs.files)} == {(1, 1), (2, 2)}
    assert inputs.files.notes[-1] == "has other classes than the data: lacks a"
    evaluate.run(Job(compose([*given, "metrics=[class_frechet]"], "evaluate")))
    out, err = capsys.readouterr()
    assert "data=samples: has other classes than the data: lacks a\n" in err
    assert "class_frechet/efficientnet_lite0" in out


def test_evaluate_tells_of_changes(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(tmp_path / "run", classes)
    for new in (0, 5):
        save(classes / "cat", new, first=200)
        command(evaluate, tmp_path / "run", "metrics=[likelihood]", "extractor=[none]")
        err = capsys.readouterr().err
        assert ("its images have changed since the checkpoint, train 7" in err) == (new > 0)
    command(neighbors, tmp_path / "run", "n=2", "k=1", "extractor=none")
    assert "images keep their split" in capsys.readouterr().err


def pairs(data) -> list:
    sources = data.sources.values()
    return [pair for source in sources for pair in zip(source.images, source.labels.tolist(), strict=True)]


def test_a_class_that_is_gone_or_new_moves_no_label(classes: Path, tmp_path: Path) -> None:
    facts = {"class_names": ["2", "10", "cat"], "config": {"data": {}}}
    (classes / "10").rename(tmp_path / "10")
    data = build_data(compose(["data=folder", f"data.path={classes}", "data.num_workers=0"], "inspect").data)
    assert match_data(data, facts) == ["has other classes than the checkpoint: lacks 10"]
    assert (data.class_names, data.num_classes) == (["2", "10", "cat"], 3)
    assert {label for _, label in pairs(data)} == {0, 2}
    (tmp_path / "10").rename(classes / "1")
    data = build_data(compose(["data=folder", f"data.path={classes}", "data.num_workers=0"], "inspect").data)
    assert match_data(data, facts) == ["has other classes than the checkpoint: lacks 10 and adds 1"]
    assert data.class_names == ["2", "10", "cat", "1"]
    other = {"class_names": ["a", "b", "c"], "config": {"data": {}}}
    assert match_data(data, other) == ["has other classes than the checkpoint; labels go by their numbers"]


@pytest.mark.parametrize("data", [None, 3, {}, {"name": "images"}, {"name": "images", "splits": {"train": "x"}}])
@pytest.mark.parametrize("names", [None, 5, "abc", [1, None]])
def test_damaged_facts_are_no_error(classes: Path, data: object, names: object) -> None:
    loaded = build_data(compose(["data=folder", f"data.path={classes}", "data.num_workers=0"], "inspect").data)
    lines = match_data(loaded, {"class_names": names, "data": data, "config": {"data": {}}})
    assert all(isinstance(line, str) for line in lines)


def test_labels_by_name(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(tmp_path / "run", classes, CONDITIONAL)
    capsys.readouterr()
    run = tmp_path / "run"
    command(sample, run, "n=4", "label=[cat,0]", f"out={tmp_path / 'a'}")
    assert "classes of the rows: 2 cat, 0 2\n" in capsys.readouterr().out
    command(sample, run, "n=6", f"out={tmp_path / 'all'}")
    assert "classes of the rows: 0 2, 1 10, 2 cat\n" in capsys.readouterr().out
    command(sample, run, "n=4", "label='10'", f"out={tmp_path / 'b'}")  # as text: a name
    assert "classes of the rows: 1 10\n" in capsys.readouterr().out
    command(interpolate, run, "n=3", "steps=1", "stops=2", "label=[2,cat]", f"out={tmp_path / 'c'}")
    assert "classes of the rows: 0 2 (2), 2 cat\n" in capsys.readouterr().out
    command(neighbors, run, "n=3", "label=[cat,1]", "extractor=none", "k=1", f"out={tmp_path / 'd'}")
    assert "classes of the rows: 2 cat (2), 1 10\n" in capsys.readouterr().out
    photos = [f"images={classes / 'cat'}", "n=2", "steps=1", "starts=1"]
    command(project, run, *photos, "label=[cat,'2']", f"out={tmp_path / 'e'}")
    assert "classes of the images: 2 cat, 0 2\n" in capsys.readouterr().out
    for label, fix in (("cta", r" \(2, 10, cat\); did you mean cat\?"), ("3", r" \(2, 10, cat\)")):
        with pytest.raises(UserError, match=rf"^label={label}: .* 0 to 2{fix}$"):
            command(sample, run, f"label={label}", f"out={tmp_path / 'f'}")


def test_unlabeled_test_images(classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """As on Kaggle: scores that need their labels are left out, and the log of the start says so."""
    root = tmp_path / "kaggle"
    root.mkdir()
    (classes / "cat").rename(classes.parent / "test_images")
    classes.rename(root / "train")
    (tmp_path / "test_images").rename(root / "test")
    metrics = "metrics=[likelihood,reconstruction]"
    text = train(tmp_path / "free", root, metrics)
    assert "no score" not in text
    scores = json.loads((tmp_path / "free" / "evaluation.json").read_text())[0]["scores"]
    assert {"nll_nats", "reconstruction_mse"} <= scores.keys()
    text = train(tmp_path / "bound", root, CONDITIONAL, metrics)
    assert "metrics.likelihood: needs labels, and the images of split=test have none: no score" in text
    assert "skipped likelihood, reconstruction: needs labels" in capsys.readouterr().out
    evaluations = json.loads((tmp_path / "bound" / "evaluation.json").read_text())
    assert [list(entry["skipped"]) for entry in evaluations] == [["likelihood", "reconstruction"]]
    command(evaluate, tmp_path / "bound", "metrics=[diversity]", "extractor=[efficientnet_lite0]")
    assert (
        "warning: split=test has no labels: samples have the classes of the training images" in capsys.readouterr().out
    )
    with pytest.raises(UserError, match=r"split=test: data=kaggle has no labels in it"):
        command(project, tmp_path / "bound", "split=test", "n=2", f"out={tmp_path / 'p'}")
    for number in range(15):
        (root / "train" / "2" / f"{number}.png").unlink()
    data = build_data(compose(["data=folder", f"data.path={root}", "data.split=[1,0,0]"], "inspect").data)
    labels = ModelSampler(load_model(tmp_path / "bound"), data, "test", 30, 0).labels
    assert labels.bincount().tolist() == [10, 20]
    (root / "test").rename(root / "val")
    with pytest.raises(UserError, match=r"split=val: data=kaggle has no labels in it, which the model needs"):
        train(tmp_path / "val", root, CONDITIONAL)
    assert not (tmp_path / "val").exists()


def test_scores_in_training_need_two_validation_images(tmp_path: Path) -> None:
    save(tmp_path / "images" / "train", 12)
    save(tmp_path / "images" / "val", 1)
    options = ["model=gan", "metrics=[frechet]", "callbacks=[checkpoint,scores_without_loss]", "extractor=[none]"]
    with pytest.raises(UserError, match=r"split=val: data=images has 1 in it.*: add images to the folder of val"):
        train(tmp_path / "run", tmp_path / "images", *options, "evaluation.split=train")
    assert not list(tmp_path.rglob("*.ckpt"))


def test_too_few_images_are_refused_before_the_training(tmp_path: Path) -> None:
    data = save(tmp_path / "images", 10)
    with pytest.raises(UserError, match=r"split=\w+: data=images has .* data\.seed=(\d+) to draw others") as caught:
        train(tmp_path / "run", data, "metrics=[likelihood]")
    assert not (tmp_path / "run").exists()
    seed = str(caught.value).partition("data.seed=")[2].split()[0]
    train(tmp_path / "run", data, f"data.seed={seed}", "metrics=[likelihood]")
    assert (tmp_path / "run" / "evaluation.json").exists()
    with pytest.raises(UserError, match=r"a comparison needs at least 2 images: set data\.split$"):
        train(tmp_path / "other", data, "data.split_by=number", "metrics=[likelihood]")
    assert not (tmp_path / "other").exists()
    text = train(
        tmp_path / "few",
        data,
        "data.split=[0.6,0.2,0.2]",
        "data.split_by=number",
        "metrics=[precision_recall]",
        "extractor=[efficientnet_lite0]",
    )
    assert "metrics.precision_recall: needs 4 images, and there are 2 (split=test): no score" in text
