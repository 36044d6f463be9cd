"""What newcomers type works, or ends in a line that names a spelling which works."""

import re
from functools import cache
from pathlib import Path

import pytest

from lightning_gen.config import plain_words
from lightning_gen.config.composition import compose
from lightning_gen.config.hydra_setup import choices_of, compose_unchecked, prepare_hydra
from lightning_gen.config.plain_words import written_out
from lightning_gen.errors import UserError


@pytest.fixture(autouse=True, scope="module")
def quick():
    """The same base configs for all words: composing one takes 0.2 s."""
    prepare_hydra()
    composed, choices = (
        cache(lambda *args: compose_unchecked(args[0], args[1:])),
        cache(lambda *a: choices_of(a[0], a[1:])),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_words, "compose_unchecked", lambda command, overrides: composed(command, *overrides))
        patch.setattr(plain_words, "choices_of", lambda command, overrides: choices(command, *overrides))
        yield


# The command with the options that are chosen, then words and what they mean.
MEANINGS = {
    "train": {
        "optimizer=sgd": "optimizer@model.optimizer=sgd",
        "optimizer=SGD": "optimizer@model.optimizer=sgd",
        "optim=AdamW": "optimizer@model.optimizer=adamw",
        "model.optimizer=sgd": "optimizer@model.optimizer=sgd",
        "model/optimizer=sgd": "optimizer@model.optimizer=sgd",
        "schedule=linear": "schedule@model.schedule=linear",
        "lr_scheduler=cosine": "schedule@model.schedule=cosine",
        "activation=tanh": "model.encoder.activation=tanh model.decoder.activation=tanh",
        "lr=1e-3": "model.optimizer.lr=1e-3",
        "learning-rate=1e-3": "model.optimizer.lr=1e-3",
        "optimizer.lr=1e-3": "model.optimizer.lr=1e-3",
        "weight_decay=0.01": "+model.optimizer.weight_decay=0.01",
        "loss=mse": "model/likelihood=mse",
        "loss=BCE": "model/likelihood=bernoulli",
        "likelihood=gaussian": "model/likelihood=gaussian",
        "model.likelihood=mse": "model/likelihood=mse",
        "encoder=resnet": "network@model.encoder=resnet_encoder",
        "network=mlp": "network@model.encoder=mlp_encoder network@model.decoder=mlp_decoder",
        "prior=autoregressive": "model/prior=autoregressive",
        "augment=flip": "data/augment=flip",
        "data.augment=[flip]": "data/augment=[flip]",
        "metrics=[fid]": "metrics=[frechet] extractor=[inception]",
        "max_time=8m": "trainer.max_time=8m",
        "batch_size=32": "data.batch_size=32",
        "epochs=10": "trainer.max_epochs=10",
        "steps=1000": "trainer.max_images=64000",
        "images=1000": "trainer.max_images=1000",
        "latent_dim=16": "model.latent_dim=16",
        "z_dim=16": "model.latent_dim=16",
        "beta=4": "model.beta=4",
        "warmup=0": "model.schedule.warmup_images=0",
        "ema=false": "model.ema_decay=null",
        "grad_clip=1.0": "model.gradient_clip=1.0",
        "num_workers=4": "data.num_workers=4",
        "device=cpu": "trainer=cpu",
        "precision=32": "trainer.precision=32",
        "limit_val_batches=2": "+trainer.limit_val_batches=2",
        "name=my_run": "run_dir=outputs/my_run",
        "output=my_run": "run_dir=my_run",
        "debug=true": "debug=smoke",
        "wandb=true": "logger=[csv,wandb]",
        "logger=[+tensorboard,-csv]": "logger=[tensorboard]",
    },
    "train model=GAN": {
        "optimizer=sgd": "optimizer@model.optimizer=sgd optimizer@model.discriminator_optimizer=sgd",
        "lr=1e-4": "model.optimizer.lr=1e-4",
        "loss=wgan": "model/loss=wasserstein",
        "penalty=gp": "model/penalty=gradient_penalty",
        "augment=ada": "model/augment=ada",
    },
    "train dataset=CIFAR-10": {"device=cuda": "trainer=gpu", "fp16=true": "trainer.precision=16-mixed"},
    "train model=rgb_vae": {"size=small": "model.size=small"},
    "train data=folder data.path=.": {"size=64": "data.size=64", "channels=3": "data.channels=3"},
    "train gpus=2": {"smoke=true": "debug=smoke"},
    "train experiment=digits/likelihood": {"callbacks=[-sample_grid,-progress]": None},
    "sample ckpt=my_run": {"num_samples=9": "n=9", "class=7": "label=7", "model.beta=2": "+model.beta=2"},
    "evaluate checkpoint=my_run": {"metrics=FID": "metrics=frechet extractor=[inception]", "output=a": "out=a"},
}
WORDS = [(context, word, meant) for context, words in MEANINGS.items() for word, meant in words.items() if meant]


@pytest.mark.parametrize(("context", "word", "meant"), WORDS, ids=lambda value: str(value))
def test_words_mean_what_the_model_has(context, word, meant):
    command, *options = context.split()
    assert written_out(command, [*options, word])[word] == meant.split()


@pytest.mark.parametrize("context", MEANINGS)
def test_words_together_compose_and_are_valid(context):
    command, *options = context.split()
    assert compose([*options, *MEANINGS[context]], command)


# What is refused: the suggestions of the line, each in its place, must be accepted.
REFUSED = [
    "model.lr=1e-3",
    "model.optimizer.learning_rate=1e-3",
    "model.optimizer.weight_decay=0.1",
    "model.activation=tanh",
    "model.encoder.activation=Tanh",
    "model.beta_warmup=3",
    "model=resnet",
    "model=vea",
    "trainer.max_time=8",
    "trainer.gpus=2",
    "trainer.max_steps=100",
    "data=~/no_such_folder",
    "data.path=my_images",
    "size=64",
    "momentum=0.9",
    "dropout=0.1",
    "penalty=gp",
    "num_classes=10",
    "n=8",
    "patience=5",
    "callbacks.early_stopping.patience=5",
    "callbacks=[-early_stopping]",
    "conditional=yes",
    "experiment=r3gan",
    "checkpoint=my_run",
]


@pytest.mark.parametrize("typed", REFUSED)
def test_a_hint_never_leads_into_a_second_failure(typed):
    with pytest.raises(UserError) as refused:
        compose([typed])
    alternatives = suggested(typed, str(refused.value))
    assert alternatives
    for overrides in alternatives[:2]:
        try:
            compose(overrides)
        except UserError as error:
            pytest.fail(f"{refused.value}\n{' '.join(overrides)}: {error}")


def suggested(typed: str, message: str) -> list[list[str]]:
    """The command lines that a message suggests in place of what was typed."""
    key, _, value = typed.partition("=")
    hint = message.removeprefix(typed).replace("FOLDER", ".").replace("~/no_such_folder", ".")
    also = [typed] if "choose it too" in hint else []
    if match := re.search(r"(?:write|mean|choose it too, as) (.*?=.*)", hint):
        found = [re.findall(r"[+~]?[\w/@.]+=[^\s?;,\[]*(?:\[[^\]]*\])?", part) for part in match[1].split(" or ")]
        return [[*overrides, *also] for overrides in found]
    if match := re.search(r"did you mean (.*)\?|write (\S+)", hint):
        names = (match[1] or match[2]).split(" or ")
        message_key = re.match(r"[\w.@/]+(?==)", message)
        place = message_key[0] if message_key else key
        return [[f"{name}={value}" if "." in name else f"{place}={name}"] for name in names]
    if match := re.search(r"(?:options:|chosen are) ([\w/]+)", hint):
        return [[f"{key}={match[1]}"]] if "[" not in value else [[f"{key}=[-{match[1]}]"]]
    return []


def test_own_values_of_a_part_win_over_the_model_file_and_typed_ones_over_both():
    """Without `own_values.py` SGD keeps the rate that vae.yaml has for Adam, and sngan.yaml's betas are refused."""
    assert compose(["optimizer=sgd"]).model.optimizer.lr == 0.01
    assert compose(["optimizer=adam"]).model.optimizer.lr == 0.006
    assert compose(["optimizer=sgd", "lr=0.5", "weight_decay=0.1"]).model.optimizer == {
        **{"_target_": "torch.optim.SGD", "_partial_": True, "fused": True},
        **{"lr": 0.5, "momentum": 0.9, "weight_decay": 0.1},
    }
    gan = compose(["model=sngan", "optimizer=sgd", "lr=0.5"]).model
    assert gan.optimizer.lr == gan.discriminator_optimizer.lr == 0.5
    assert "betas" not in gan.discriminator_optimizer


def test_options_left_out_take_their_values_along():
    config = compose(["experiment=digits/likelihood", "callbacks=[-sample_grid]"])
    assert "sample_grid" not in config.callbacks
    assert "reconstructions" in config.callbacks
    assert list(compose(["model=r3gan", "model/penalty=[gradient_penalty]"]).model.penalty) == ["gradient_penalty"]


def test_a_sweep_over_a_word_of_several_keys_changes_them_together():
    word = "activation=tanh,relu"
    assert written_out("train", [word])[word][1] == "model.decoder.activation=${model.encoder.activation}"


def test_a_folder_is_data(tmp_path):
    word = f"data={tmp_path}"
    assert written_out("train", [word]) == {word: ["data=folder", f"data.path={tmp_path}"]}


def test_what_is_spelled_out_costs_nothing(monkeypatch):
    monkeypatch.setattr(plain_words, "choices_of", None)
    overrides = ["model=vae", "model.beta=2", "+trainer.x=1", "model/prior=autoregressive", "callbacks=[progress]"]
    assert written_out("train", overrides) == {}


def test_the_folder_of_a_plugin_is_no_folder_of_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("shapes").mkdir()
    assert written_out("train", ["data=shapes"])["data=shapes"] == ["data=folder", "data.path=shapes"]
    Path("shapes", "pyproject.toml").touch()
    assert "data=shapes" not in written_out("train", ["data=shapes"])
