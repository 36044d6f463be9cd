"""Every shipped option of every group composes, and those that run on any machine run."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import pytest
import torch
from helpers.runs import TINY_RUN, run

from lightning_gen.cli.sweep_words import is_installed
from lightning_gen.config.composition import compose
from lightning_gen.config.options import list_groups, list_options
from lightning_gen.errors import UserError
from lightning_gen.training.run import train

# Groups that are used under another name, and what else an option needs to be chosen.
PLACES = {
    "network": lambda name: f"network@model.{name.rpartition('_')[2]}={name}",
    "optimizer": lambda name: f"optimizer@model.optimizer={name}",
    "schedule": lambda name: f"schedule@model.schedule={name}",
}
SETS = ("callbacks", "logger", "metrics", "data/augment", "model/penalty")
NEEDS = {
    "data=folder": ["data.path=somewhere"],
    "data=huggingface": ["data.path=somewhere"],
    "data=moving_mnist": ["data.path=somewhere"],
    "data=frames": ["data.path=somewhere"],
    "data=shards": ["data.path=somewhere"],
    "experiment=my_pictures/classifier": ["data.path=somewhere"],
    "experiment=my_pictures/vae": ["data.path=somewhere"],
    "experiment=my_pictures/gan": ["data.path=somewhere"],
    "experiment=my_pictures/gan_64": ["data.path=somewhere"],
    "extractor=classifier": ["extractor.classifier.checkpoint=somewhere"],
    "extractor=module": ["extractor.module.network._target_=torch.nn.Identity"],
    "metrics=[classes]": ["metrics.classes.classifier=somewhere"],
}
# Groups of the parts of a model, by a model that has them; the others go with any.
PARTS = {
    "dcgan": ("model/loss", "model/penalty", "model/augment", "model/conditioning"),
    "vae": ("model/likelihood", "model/objective", "model/posterior", "model/prior", "optimizer", "schedule"),
    "conv_lstm": ("model/cells",),
    "vqvae": ("model/quantizer",),
}
COMMANDS = {"prior": "evaluate"}  # groups of other commands than `train`
NETWORKS = {"generator": "dcgan", "discriminator": "dcgan", "encoder": "vae", "decoder": "vae"}


def override(group: str, name: str) -> str:
    if group in PLACES:
        return PLACES[group](name)
    return f"{group}=[{name}]" if group in SETS else f"{group}={name}"


def host(group: str, name: str) -> str:
    """The model whose part the option is; "" of options beside any model.

    "experiment" of what chooses models, and a command of what belongs to that.
    """
    if group in COMMANDS:
        return COMMANDS[group]
    if group == "network":
        return NETWORKS.get(name.rpartition("_")[2], "pixel_rnn_row")
    return next((model for model, groups in PARTS.items() if group in groups), "experiment" * (group == "experiment"))


def choices() -> Iterator[list[str]]:
    """Overrides that between them choose every option: as many in one composition as can be chosen side by side."""
    hosts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for group in list_groups():
        for option in list_options(group):
            if group == "launcher" and not is_installed(option.name):
                continue
            chosen = override(group, option.name)
            hosts[host(group, option.name)][chosen.partition("=")[0]].append(chosen)
    for model, columns in hosts.items():
        base = [] if model in ("", "experiment", *COMMANDS.values()) else [f"model={model}"]
        for row in zip_longest(*columns.values()):
            yield [*base, *filter(None, row)]


def mistake(chosen: Sequence[str]) -> str:
    """What is wrong with a composition; "" of a right one."""
    command = COMMANDS.get(chosen[0].partition("=")[0], "train")
    try:
        compose([*chosen, *(need for each in chosen for need in NEEDS.get(each, []))], command)
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("chosen", choices(), ids=" ".join)
def test_composes(chosen):
    if wrong := mistake(chosen):
        model = [each for each in chosen if each.startswith("model=")]
        alone = {each: mistake([each] if each in model else [*model, each]) for each in chosen}
        pytest.fail("\n".join(f"{each}: {text}" for each, text in alone.items() if text) or f"{chosen}: {wrong}")


def names(group: str) -> str:
    # Scores with other values, and trackers that write elsewhere: tests/training/test_tracking.py
    left_out = ("none", "scores_without_loss", "mlflow", "trackio")
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


@pytest.mark.slow
@pytest.mark.usefixtures("algorithms")
def test_deterministic_compiled_by_epochs(tmp_path):
    folder = run(
        tmp_path / "run", "trainer.deterministic=true", "trainer.max_epochs=1", "model.compile=[decoder]", images=1
    )
    assert "64 of 64 images" in (folder / "log.txt").read_text()


@pytest.mark.parametrize("experiment", [option.name for option in list_options("experiment")])
def test_a_smoke_run_of_an_experiment_is_short(experiment):
    config = compose([f"experiment={experiment}", "debug=smoke", *NEEDS.get(f"experiment={experiment}", [])])
    assert (config.trainer.max_images, config.trainer.accelerator) == (4, "cpu")
    assert (config.data.batch_size, config.evaluation.num_real, config.evaluation.num_samples) == (2, 16, 16)
