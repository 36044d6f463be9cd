"""Every shipped option of every group composes, and those that run on any machine run."""

import pytest
import torch
from helpers.runs import TINY_RUN, run

from lightning_gen.config import compose
from lightning_gen.listing import list_groups, list_options
from lightning_gen.training import train

# Groups that are used under another name, and what else an option needs to be chosen.
PLACES = {
    "network": lambda name: f"network@model.{name.rpartition('_')[2]}={name}",
    "optimizer": lambda name: f"optimizer@model.optimizer={name}",
    "schedule": lambda name: f"schedule@model.schedule={name}",
}
SETS = ("callbacks", "logger", "metrics", "data/augment", "model/penalty")
OF_GANS = ("model/loss", "model/penalty", "model/augment", "model/conditioning")
NEEDS = {
    "data=folder": ["data.path=somewhere"],
    "data=huggingface": ["data.path=somewhere"],
    "data=moving_mnist": ["data.path=somewhere"],
    "data=frames": ["data.path=somewhere"],
    "extractor=classifier": ["extractor.classifier.checkpoint=somewhere"],
    "extractor=module": ["extractor.module.network._target_=torch.nn.Identity"],
    "metrics=[classes]": ["metrics.classes.classifier=somewhere"],
}
OPTIONS = [(group, option.name) for group in list_groups() for option in list_options(group)]


def override(group: str, name: str) -> str:
    if group in PLACES:
        return PLACES[group](name)
    return f"{group}=[{name}]" if group in SETS else f"{group}={name}"


@pytest.mark.parametrize(("group", "name"), OPTIONS)
def test_composes(group, name):
    chosen = override(group, name)
    players = name.endswith(("generator", "discriminator")) or group in OF_GANS
    model = ["model=dcgan"] if players else ["model=pixel_rnn_row"] if name.endswith("_network") else []
    predictor = ["model=conv_lstm"] if group == "model/cells" else []
    assert compose([*model, *predictor, chosen, *NEEDS.get(chosen, [])])


def names(group: str) -> str:
    left_out = ("none", "scores_without_loss")  # the latter is scores with other values
    return "[" + ",".join(option.name for option in list_options(group) if option.name not in left_out) + "]"


def test_all_callbacks_and_loggers_together(tmp_path):
    folder = run(
        tmp_path / "run",
        f"callbacks={names('callbacks')}",
        f"logger={names('logger')}",
        "metrics=[likelihood,reconstruction,frechet,kid]",
        "metrics.likelihood.samples=2",
        "callbacks.scores.num_samples=8",
        "callbacks.best.monitor=val/kid/efficientnet_lite0",
    )
    assert list((folder / "tensorboard").glob("events*"))
    assert list((folder / "wandb").glob("offline-run-*"))
    header = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    wanted = ("train/loss", "val/loss", "val/active_units", "images_per_second", "memory_gib", "learning_rate")
    assert {*wanted, "val/kid/efficientnet_lite0", "test/nll_nats", "test/frechet/efficientnet_lite0"} <= set(header)


def test_all_augmentations_together(tmp_path):
    run(tmp_path / "run", f"data/augment={names('data/augment')}", "data.binarize=true")


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_no_callbacks_no_loggers(precision, tmp_path):
    kept = [argument for argument in TINY_RUN if not argument.startswith("callbacks")]
    options = ["callbacks=[]", "logger=[]", f"trainer.precision={precision}", "trainer.channels_last=true"]
    train(compose([*kept, *options, "trainer.max_images=32", f"run_dir={tmp_path / 'run'}"]))
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.fixture
def algorithms():
    """Deterministic algorithms are a setting of the process, which slows all that follows."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("algorithms")
def test_deterministic_compiled_by_epochs(tmp_path):
    folder = run(
        tmp_path / "run", "trainer.deterministic=true", "trainer.max_epochs=1", "model.compile=[decoder]", images=1
    )
    assert "64 of 64 images" in (folder / "log.txt").read_text()


@pytest.mark.parametrize("experiment", [option.name for option in list_options("experiment")])
def test_a_smoke_run_of_an_experiment_is_short(experiment):
    trainer = compose([f"experiment={experiment}", "debug=smoke", *NEEDS.get(f"experiment={experiment}", [])]).trainer
    assert (trainer.max_images, trainer.accelerator) == (256, "cpu")
