"""Every option passes the checks of `lightning_gen.testing`, those of installed plugins too, and no broken one does."""

import sys
from collections.abc import Callable

import pytest
from helpers import ROOT
from helpers.plugins import make_plugin

from lightning_gen.config.options import Option, list_options
from lightning_gen.errors import UserError
from lightning_gen.testing import check_augment, check_data, check_metric, check_model, check_network, network_role

# What metrics are of that a plain VAE on images has not, and fewer of what they draw.
METRICS = {
    "accuracy": ["model=classifier"],
    "class_frechet": ["model.conditional=true", "data.num_classes=2"],
    "classification_accuracy": [
        *("model.conditional=true", "metrics.classification_accuracy.images=64"),
        "metrics.classification_accuracy.batch_size=8",
    ],
    "modes": ["model=gan", "data=gaussians"],
    "path_length": ["metrics.path_length.pairs=8", "metrics.path_length.epsilon=0.1"],
    "prediction": [
        "model=frame_lstm",
        "data.image_shape=[6,1,12,12]",
        "data.num_classes=null",
        "model.context_frames=3",
    ],
}
# Those of trained networks that can't be had here are tested with others: test_classes.py, test_sample_metrics.py.
OF_WEIGHTS = ("classes", "lpips")
OF_FACTORS = ("disentanglement",)  # of data whose factors are known: test_disentanglement.py
# Those that need files of the user's or a download are tested with files like theirs: test_data_sets.py.
NOT_HERE = ("folder", "frames", "huggingface", "moving_mnist", "shards")
DOWNLOADED = ("celeba", "cifar10", "cifar100", "fashion_mnist", "mnist", "svhn")
FEW_IMAGES = {"moving_digits": ["data.num_test=16"]}


def options(group: str, *left_out: str) -> list:
    return [pytest.param(option, id=option.name) for option in list_options(group) if option.name not in left_out]


def passes(check: Callable[..., None], option: Option, *overrides: str) -> None:
    try:
        check(option.name, *overrides)
    except UserError as error:
        if option.source.startswith("core "):
            raise
        pytest.skip(str(error))  # a plugin's weights or files that are not here: its own tests see to it


PLAIN = [
    o.name
    for o in list_options("metrics")
    if o.source.startswith("core ") and o.name not in {*METRICS, *OF_WEIGHTS, *OF_FACTORS}
]


@pytest.mark.parametrize("option", options("metrics", *PLAIN, *OF_WEIGHTS, *OF_FACTORS))
def test_metric(option):
    passes(check_metric, option, *METRICS.get(option.name, []))


@pytest.mark.slow
def test_metrics_of_a_plain_vae():
    check_metric(",".join(PLAIN))  # in one run: most of its time goes to the extractor


@pytest.mark.parametrize("option", options("data", *NOT_HERE, *DOWNLOADED))
def test_data(option):
    passes(check_data, option, *FEW_IMAGES.get(option.name, []))


@pytest.mark.parametrize("option", options("data/augment", "none"))
def test_augment(option):
    passes(check_augment, option)


@pytest.mark.parametrize("option", options("network"))
def test_network(option):
    if network_role(option.name):  # the others are checked as parts of their models
        passes(check_network, option)


def test_the_loss_in_the_docs(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "plugins.md").read_text().partition("## By hand")[2]
    code, option = (text.partition(f"```{kind}\n")[2].partition("```")[0] for kind in ("python", "yaml"))
    files = {"model/loss/boundary_seeking.yaml": option}
    make_plugin(tmp_path, "my_losses", files, entry_point=None, code=code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "my_losses")
    check_model("gan", "model/loss=boundary_seeking", data="gray")


BROKEN = """
import torch
from torch import nn

from lightning_gen.data.fake import Fake
from lightning_gen.data.source import TensorSource
from lightning_gen.metrics.image_metric import SampleMetric


class Restless(SampleMetric):
    better = {"score": "lower"}
    asked = 0

    def update(self, images, labels=None):
        pass

    def compute(self):
        Restless.asked += 1
        return {"score": torch.tensor(float(Restless.asked))}


class Labels(Fake):
    def load(self):
        sources = super().load()
        self.class_names = self.class_names[:1]
        return sources


class Unseeded(Fake):
    def load(self):
        return {split: TensorSource(torch.randint_like(s.images, 256)) for split, s in super().load().items()}


class Invert:
    takes_bytes = False

    def __call__(self, images):
        return images.neg_().mul_(self.scale)

    def __init__(self, scale):
        self.scale = scale


class Bytes(Invert):
    takes_bytes = True

    def __call__(self, images):
        return images * 0


class Encoder(nn.Linear):
    def __init__(self, image_shape, out_dim, extra=0):
        super().__init__(image_shape[2], out_dim)
        self.unused = nn.Parameter(torch.zeros(1))
        self.extra = extra

    def forward(self, images):
        return super().forward(images[:, 0]).mean(1) if self.extra else super().forward(images)


class Other(nn.Linear):
    pass
"""
BROKEN_DATA = "defaults: [_base]\nimage_shape: [1, 8, 8]\nnum_classes: {}\nnum_images: 32\n_target_: lg_broken.{}\n"
FILES = {
    "metrics/restless.yaml": "restless: {_target_: lg_broken.Restless}\n",
    "data/labels.yaml": BROKEN_DATA.format(4, "Labels"),
    "data/unseeded.yaml": BROKEN_DATA.format("null", "Unseeded"),
    "data/augment/invert.yaml": "invert: {_target_: lg_broken.Invert, scale: 1}\n",
    "data/augment/brighten.yaml": "brighten: {_target_: lg_broken.Invert, scale: 2}\n",
    "data/augment/bytes.yaml": "bytes: {_target_: lg_broken.Bytes, scale: 2}\n",
    "network/shapes.yaml": "_target_: lg_broken.Encoder\n_partial_: true\n",
    "network/gradients.yaml": "_target_: lg_broken.Encoder\n_partial_: true\nextra: 1\n",
    "network/other.yaml": "_target_: lg_broken.Other\n_partial_: true\n",
}


@pytest.mark.parametrize(
    ("check", "name", "message"),
    [
        (check_metric, "restless", "after training and .* for the checkpoint"),
        (check_metric, "modes", "nothing to score"),
        (check_data, "labels", "labels of train are 0 to 3, and class_names has 1"),
        (check_data, "unseeded", "a second pass differs"),
        (check_augment, "brighten", "images leave"),
        (check_augment, "bytes", "bytes and floats"),
        (check_network, "shapes", r"become \(4, 1, 28, 5\), not \(4, 5\)"),
        (check_network, "gradients", "unused has no gradient"),
        (check_network, "other", "give the model and the part"),
    ],
)
def test_broken_options_do_not_pass(check, name, message, tmp_path, monkeypatch):
    make_plugin(tmp_path, "lg_broken", FILES, entry_point=None, code=BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lg_broken")
    monkeypatch.delitem(sys.modules, "lg_broken", raising=False)
    with pytest.raises((AssertionError, UserError), match=message):
        check(name)
