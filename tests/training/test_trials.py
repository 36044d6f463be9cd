"""Plain classes of a plugin work, or are refused in one line before a run writes anything."""

import sys
from pathlib import Path

import pytest
from helpers.configs import composed
from helpers.plugins import make_plugin
from helpers.tiny_models import FAKE_DATA
from omegaconf import OmegaConf

from lightning_gen.errors import UserError
from lightning_gen.training.run import train

CODE = """
import torch
from torch import nn
from lightning.pytorch import Callback
from lightning_gen.data.fake import Fake
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import TensorSource
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.metrics.image_metric import (
    FeatureMetric, ModelMetric, PairedMetric, RealAndSampleMetric, SampleMetric,
)
from helpers.scoring import Pixels
from lightning_gen.models.vae import VAE


class Plain: ...


class NoLoss(VAE):
    def losses(self, batch):
        return {"error": batch.images.mean()}


class Unreduced(VAE):
    def losses(self, batch):
        return {"loss": batch.images.flatten(1).mean(1)}


class Fails(VAE):
    def losses(self, batch):
        return {"loss": self.absent}


class Shapes(VAE):
    def sample(self, n, labels=None):
        return super().sample(n, labels)[:, 0]


class Mean(SampleMetric):
    better = {"mean": "lower"}
    score = "mean"

    def update(self, images, labels=None):
        self.value = images.mean()

    def compute(self):
        return {self.score: self.value}


class Unknown(Mean):
    score = "other"


class NoDictionary(Mean):
    def compute(self):
        return self.value


class Direction(Mean):
    better = {"mean": "smaller"}


class Pictures(RealAndSampleMetric):
    better = {"difference": "lower"}

    def update(self, images, labels):
        pass

    def compute(self):
        return {"difference": 0.0}


class Unmeasured(ModelMetric):
    better = {"score": "lower"}

    def update(self): ...

    def compute(self):
        return {"score": 0.0}


class Brightness(Extractor):
    name = "brightness"
    num_features = 2

    def features(self, images):
        return images.float().mean((1, 2, 3))[:, None]


class Unnamed(Extractor):
    num_features = 1


class OneSplit(Fake):
    def load(self):
        return {"train": super().load()["train"]}


class NoLoad(Fake):
    load = ImageData.load


class Misspelled(Fake):
    def load(self):
        return {"train": self.sorces}


class Lost(RealAndSampleMetric):
    better = {"mean": "higher"}

    def __init__(self):
        super().__init__()
        self.add_state("seen", torch.zeros(()))

    def update(self, images, labels, real):
        self.seen = self.seen + images.mean()

    def compute(self):
        return {"mean": self.seen}


class OwnExtractor(Lost):
    def __init__(self):
        super().__init__()
        self.own_extrator = Pixels()


class Nameless(Fake):
    name = None


class Tuples(Fake):
    def load(self):
        return {split: (source.images, source.labels) for split, source in super().load().items()}


class Floats(Fake):
    def load(self):
        return {split: TensorSource(source.images / 2.0) for split, source in super().load().items()}


class Labels(Fake):
    def load(self):
        sources = super().load()
        self.class_names = self.class_names[:2]
        return sources


class Difference:
    def discriminator(self, real, fake):
        return fake.mean() - real.mean()

    def generator(self, real, fake):
        return -fake.mean()


class NeedsReal(Difference):
    def generator(self, real, fake):
        return real.mean() - fake.mean()


class NoSuper(VAE):
    def __init__(self, *args, **vae):
        self.args = args


class Half:
    def __call__(self, images):
        assert images.dtype == torch.float32
        return images / 2


class Hook(Callback):
    def on_train_start(self, trainer, model):
        print(f"trained on {model.num_training_images}")


def optimizer(parameters):
    return list(parameters)


def schedule(images_seen, total_images):
    return None
"""
SHORT = ["data.image_shape=[1,8,8]", *FAKE_DATA, "metrics=[]", "callbacks=[]", "logger=none", "debug=smoke"]
# What replaces a part of a config of `model=mlp_vae`, or of `model=gan` for the keys in OF_GAN, and what is told.
OF_GAN = ("model.loss", "model.penalty")
REFUSED = {
    "model Plain": "model: Plain() takes no arguments",
    "model NoLoss": "model (lg_plain.NoLoss): losses() has no `loss`, which is minimized; it has error",
    "model Unreduced": "model (lg_plain.Unreduced): loss of losses() is of shape (2,); give a scalar tensor",
    "model Fails": "model (lg_plain.Fails) fails when it is tried: AttributeError: 'Fails' object has no",
    "model Shapes": "model (lg_plain.Shapes): sample(2) gives (2, 8, 8); give images (2, 1, 8, 8)",
    "model NoSuper": "model._target_=lg_plain.NoSuper: its __init__ does not call super().__init__ with image_shape",
    "model.loss NeedsReal": "model.loss: NeedsReal.generator() fails with real=None, which it gets in training: Attr",
    "model.likelihood Plain": "model.likelihood: Plain is no Likelihood; extend lightning_gen.losses.likelihoods.",
    "model.loss Plain": "model.loss: Plain has no method discriminator(real, fake); add it",
    "model.penalty.x Plain": "model.penalty.x: Plain is no Penalty; extend lightning_gen.losses.penalties.Penalty",
    "model.optimizer optimizer": "model.optimizer: makes a list, not a torch.optim.Optimizer",
    "model.schedule schedule": "model.schedule: gives a NoneType, not a number",
    "metrics.x Plain": "metrics.x: Plain is no ImageMetric; extend one of its subclasses, FeatureMetric, SampleMetric",
    "metrics.x Unknown": "metrics.x: compute() gives other, which `better` lacks; add its direction there",
    "metrics.x NoDictionary": "metrics.x: compute() gives a Tensor, not a dictionary of scores",
    "metrics.x Direction": "metrics.x: `better` of Direction is {'mean': 'smaller'}; map each score to",
    "metrics.x Pictures": "metrics.x: Pictures fails when it is tried: TypeError: Pictures.update() got an unex",
    "metrics.x Unmeasured": "metrics.x: Unmeasured has no method `measure`; implement it, as ModelMetric describes",
    "metrics.x Lost": "metrics.x: Lost fails when it is tried: ValueError: real images change the state `seen`; name",
    "metrics.x OwnExtractor": "metrics.x: OwnExtractor has an extractor named `own_extrator`, which is not used; name",
    "extractor.x Plain": "extractor.x: Plain is no Extractor; extend lightning_gen.extractors.extractor.Extractor",
    "extractor.x Unnamed": "extractor.x: Unnamed has no `name`; set it to a value of type str",
    "extractor.x Brightness": "extractor.x: Brightness: features of 2 images are (2, 1), not (2, 2); fix `features` or",
    "data Plain": "data._target_=lg_plain.Plain: is no ImageData",
    "data OneSplit": "data=fake: load() gives train; give a dictionary of sources of train, val, test",
    "data NoLoad": "data: NoLoad has no load(), which gives sources of train, val, test; write it",
    "data Misspelled": "data: Misspelled.load() fails when it is tried: AttributeError: Misspelled has no attr",
    "data Nameless": 'data: Nameless has no name; give the class one, as in name = "nameless"',
    "data Tuples": "data=fake: load() gives a tuple for train; give TensorSource(images, labels)",
    "data Floats": "data=fake: images of train are floats up to 12",
    "data Labels": "data=fake: labels of train are 0 to 3, and class_names has 2; number classes from 0 on",
    "callbacks.x Plain": "callbacks.x: Plain is no Callback; extend lightning.pytorch.callbacks.callback.Callback",
    "logger.x Plain": "logger.x: Plain is no Logger; extend lightning.pytorch.loggers.logger.Logger",
}


@pytest.fixture(autouse=True)
def plugin(tmp_path, monkeypatch):
    make_plugin(tmp_path, "lg_plain", {"model/nothing.yaml": "# Nothing.\n"}, entry_point=None, code=CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lg_plain")
    monkeypatch.delitem(sys.modules, "lg_plain", raising=False)


def changed(run_dir: Path, **classes: str):
    """A config in which each key describes an object of the named class of the plugin."""
    model = "gan" if any(key.startswith(OF_GAN) for key in classes) else "mlp_vae"
    config = OmegaConf.create(OmegaConf.to_container(composed(*SHORT, f"model={model}", "run_dir=somewhere")))
    config.run_dir = str(run_dir)
    for key, name in classes.items():
        replaced = {"_target_": f"lg_plain.{name}"}
        if key in ("model", "data") and name != "Plain":
            replaced = {**config[key], **replaced}
        elif key in ("model.optimizer", "model.schedule"):
            replaced["_partial_"] = True
        OmegaConf.update(config, key, replaced, merge=False, force_add=True)
    if any(key.startswith("extractor") for key in classes):
        config.metrics.kid = {"_target_": "lightning_gen.metrics.kid.KernelDistance"}
        config.extractor = {"x": config.extractor.x}
    return config


@pytest.mark.parametrize("case", list(REFUSED))
def test_refused(case, tmp_path):
    key, name = case.split()
    with pytest.raises(UserError) as caught:
        train(changed(tmp_path / "run", **{key: name}))
    assert str(caught.value).startswith(REFUSED[case])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_plain_classes_work(tmp_path, capsys):
    chosen = {"model.loss": "Difference", "data.augment.x": "Half", "metrics.x": "Mean", "callbacks.x": "Hook"}
    evaluation = train(changed(tmp_path / "run", **chosen))
    assert "trained on 64" in capsys.readouterr().out
    assert evaluation.values["mean"] < 1
