"""On a GPU every metric would score and every extractor extract: no mixed devices, and the values of the CPU.

The device is pretended, so this says nothing of CUDA's kernels themselves.
"""

import hashlib

import pytest
import torch
from helpers import random_weights
from helpers.configs import composed
from helpers.scoring import ClassifyingPixels, sample_metrics
from helpers.tiny_models import FAKE_DATA, TINY_GAN, TINY_VAE, write_checkpoint
from torch import nn

from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.config.options import list_options
from lightning_gen.evaluation.evaluator import build_extractors, build_metrics, evaluate
from lightning_gen.testing.pretended_tensor import WHY_NOT

if WHY_NOT is not None:
    pytest.skip(WHY_NOT, allow_module_level=True)

from lightning_gen.testing.pretended_device import PretendedDevice

SHAPE = "data.image_shape=[1,20,20]"
CLASSES = ["model.conditional=true", "data.num_classes=2"]
MODELS = {
    "vae": [*TINY_VAE, *CLASSES, SHAPE],
    "classifier": ["model=classifier", "model.encoder.width=4", "model.encoder.hidden=8", *FAKE_DATA],
    "gaussians": [*TINY_GAN[:1], "data=gaussians", "data.batch_size=8"],
    "frames": ["model=frame_lstm", *FAKE_DATA, "data.image_shape=[5,1,12,12]", "data.num_classes=null",
               "model.context_frames=3"],
}  # fmt: skip
OF_MODELS = {"accuracy": "classifier", "modes": "gaussians", "prediction": "frames"}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    """Each metric of the config group, by the model that it is tested with."""
    from torchvision.models import squeezenet1_1

    folder = tmp_path_factory.mktemp("weights")
    write_checkpoint(folder / "classifier.ckpt", *MODELS["classifier"], SHAPE, "data.num_classes=2")
    torch.save(squeezenet1_1(weights=None).state_dict(), folder / "squeeze.pth")
    sha256 = hashlib.sha256((folder / "squeeze.pth").read_bytes()).hexdigest()
    given = [f"metrics.classes.classifier={folder}/classifier.ckpt", "metrics.lpips.net=squeeze"]
    given += [f"metrics.lpips.weights={folder}/squeeze.pth", f"metrics.lpips.sha256={sha256}"]
    names = [option.name for option in list_options("metrics") if option.source.startswith("core ")]
    names = [name for name in names if name not in ("none", "disentanglement", *sample_metrics())]
    config = composed("checkpoint=x", f"metrics=[{','.join(names)}]", *given, command="evaluate")
    by_model = {name: {} for name in MODELS}
    for name, metric in {**build_metrics(config.metrics), **sample_metrics()}.items():
        by_model[OF_MODELS.get(name, "vae")][name] = metric
    return by_model


def scores(overrides, metrics, extractors, device):
    config = composed(*overrides)
    data = build_data(config.data)
    torch.manual_seed(0)
    model = build_model(config.model, data.image_shape, data.num_classes).to(device)
    settings = {"batch_size": 5, "num_samples": 16, "num_real": 16, "half_samples": 2, "device": device}
    return evaluate(model, data, metrics, extractors, show_progress=False, **settings)


@pytest.mark.parametrize("name", MODELS)
def test_metrics(name, metrics, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path))
    expected = scores(MODELS[name], metrics[name], {"pixels": ClassifyingPixels()}, "cpu")
    with PretendedDevice() as device, device.trace() as trace:
        found = scores(MODELS[name], metrics[name], {"pixels": ClassifyingPixels()}, device.device)
    assert not found.skipped
    assert not [line for line in trace.waits if "index on the CPU" in line]  # such as those of each subset of kid
    for score in expected.scores:
        assert found.scores[score].value == pytest.approx(expected.scores[score].value, rel=1e-4, nan_ok=True), score


WEIGHTS = {
    "clip_vit_b_32": lambda folder: random_weights.clip(folder, "vit")[0],
    "clip_rn50": lambda folder: random_weights.clip(folder, "resnet")[0],
    "dinov2_vit_s_14": lambda folder: random_weights.dinov2(folder / "dinov2.pth"),
    "inception": lambda folder: random_weights.inception(folder / "inception.pth"),
    "vgg16": lambda folder: random_weights.vgg16(folder / "vgg16.pth"),
}


def extractor(name, folder, *overrides):
    given = []
    if name in WEIGHTS:
        path = WEIGHTS[name](folder)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        given = [f"extractor.{name}.weights={path}", f"extractor.{name}.sha256={sha256}"]
    config = composed(f"extractor={name}", "checkpoint=x", *given, *overrides, command="evaluate")
    (found,) = build_extractors(config.extractor).values()
    return found


@pytest.mark.parametrize("name", [*WEIGHTS, "efficientnet_lite0", "clips", "module", "classifier"])
def test_extractors(name, tmp_path):
    if name in WEIGHTS:
        pytest.importorskip("torch_fidelity")
    overrides = []
    if name == "classifier":
        write_checkpoint(tmp_path / "x.ckpt", *MODELS["classifier"], SHAPE)
        overrides = [f"extractor.classifier.checkpoint={tmp_path}/x.ckpt"]
    if name == "module":
        overrides = ["extractor.module.network._target_=torch.nn.Identity", "extractor.module.size=4"]
    network = extractor(name, tmp_path, *overrides)
    shape = (1, 3, 3, 32, 32) if network.takes_clips else (1, 3, 32, 32)
    images = torch.randint(256, shape, dtype=torch.uint8)
    expected = network(images)
    with PretendedDevice() as device, device.trace() as trace:
        found = network.to(device.device)(images.to(device.device))
        assert found.device == device.device
        if isinstance(network.logits(found), torch.Tensor):
            assert network.logits(found).device == device.device
    torch.testing.assert_close(found.wrapped, expected, rtol=1e-4, atol=1e-5)
    assert trace.kernels
    assert isinstance(network, nn.Module)
