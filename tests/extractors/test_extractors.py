"""Extractors whose weights are files: torch-fidelity's own features, and one line for what is wrong.

The weights are random, in the shapes of the published ones.
"""

import hashlib
import os
import pickle
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from helpers import random_weights
from helpers.tiny_models import TINY_VAE, tiny_vae, write_checkpoint
from torch import nn

from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import build_extractors, evaluate
from lightning_gen.extractors.classifier import ClassifierExtractor
from lightning_gen.extractors.extractor import Extractor, as_channels, protocol_of
from lightning_gen.extractors.video_clips import VideoExtractor
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.images import over_white
from lightning_gen.metrics.frechet import FrechetDistance
from lightning_gen.metrics.kid import KernelDistance

NAMES = ["inception", "vgg16", "clip_vit_b_32", "clip_rn50", "dinov2_vit_s_14"]


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """Files by the names of the extractors that read them."""
    pytest.importorskip("torch_fidelity")
    folder = tmp_path_factory.mktemp("weights")
    return {
        "inception": random_weights.inception(folder / "inception.pth"),
        "vgg16": random_weights.vgg16(folder / "vgg16.pth"),
        "clip_vit_b_32": random_weights.clip(folder, "vit")[0],
        "clip_rn50": random_weights.clip(folder, "resnet")[0],
        "dinov2_vit_s_14": random_weights.dinov2(folder / "dinov2.pth"),
    }


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def extractor(name, path=None, *overrides):
    given = [f"extractor.{name}.weights={path}", f"extractor.{name}.sha256={sha256(path)}"] if path else []
    config = compose([f"extractor={name}", "checkpoint=x", *given, *overrides], command="evaluate")
    (found,) = build_extractors(config.extractor).values()
    return found


def images(channels=3, height=40, width=40, n=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    small = torch.randint(256, (n, channels, 8, 8), dtype=torch.uint8, generator=generator)
    return F.interpolate(small.float(), (height, width), mode="bicubic").clamp(0, 255).round().to(torch.uint8)


class Reference(nn.Module):
    """DINOv2's ViT-S/14 written out, https://arxiv.org/abs/2010.11929 with layer scale."""

    def __init__(self, tensors):
        super().__init__()
        self.tensors = tensors

    def forward(self, x):
        t = self.tensors
        x = F.conv2d(x, t["patch_embed.proj.weight"], t["patch_embed.proj.bias"], stride=14)
        height, width = x.shape[2:]
        side = round((t["pos_embed"].shape[1] - 1) ** 0.5)
        places = t["pos_embed"][:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        scale = ((height + 0.1) / side, (width + 0.1) / side)
        places = F.interpolate(places, scale_factor=scale, mode="bicubic").flatten(2).transpose(1, 2)
        token = (t["cls_token"] + t["pos_embed"][:, :1]).expand(len(x), -1, -1)
        x = torch.cat([token, x.flatten(2).transpose(1, 2) + places], 1)
        for number in range(12):
            b = {name.split(".", 2)[2]: value for name, value in t.items() if name.startswith(f"blocks.{number}.")}
            y = F.layer_norm(x, (384,), b["norm1.weight"], b["norm1.bias"], 1e-6)
            q, k, v = (
                F.linear(y, b["attn.qkv.weight"], b["attn.qkv.bias"]).unflatten(2, (3, 6, 64)).permute(2, 0, 3, 1, 4)
            )
            y = ((q @ k.transpose(2, 3)) / 8).softmax(3) @ v
            y = F.linear(y.transpose(1, 2).flatten(2), b["attn.proj.weight"], b["attn.proj.bias"])
            x = x + b["ls1.gamma"] * y
            y = F.layer_norm(x, (384,), b["norm2.weight"], b["norm2.bias"], 1e-6)
            y = F.gelu(F.linear(y, b["mlp.fc1.weight"], b["mlp.fc1.bias"]))
            x = x + b["ls2.gamma"] * F.linear(y, b["mlp.fc2.weight"], b["mlp.fc2.bias"])
        return F.layer_norm(x, (384,), t["norm.weight"], t["norm.bias"], 1e-6)[:, 0]


def theirs(name, path, monkeypatch):
    """torch-fidelity's own extractor of the same weights."""
    import torchvision
    from torch_fidelity.feature_extractor_clip import FeatureExtractorCLIP
    from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.feature_extractor_vgg16 import FeatureExtractorVGG16

    if name == "inception":
        return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    if name == "vgg16":
        plain = torchvision.models.vgg16
        monkeypatch.setattr(torchvision.models, "vgg16", lambda: plain(init_weights=False))
        return FeatureExtractorVGG16("vgg16", ["fc2_relu"], str(path))
    if name.startswith("clip"):
        return FeatureExtractorCLIP(name.replace("_", "-"), ["clip"], str(path))
    # It knows only downloaded code.
    monkeypatch.setattr(torch.hub, "load", lambda *_: Reference(torch.load(path, weights_only=True)))
    monkeypatch.setenv("XFORMERS_DISABLED", "1")
    return FeatureExtractorDinoV2("dinov2-vit-s-14", ["dinov2"])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_features_are_torch_fidelitys(name, weights, monkeypatch):
    ours = extractor(name, weights[name])
    batch = images()
    reference = theirs(name, weights[name], monkeypatch)
    if name == "vgg16":  # a smaller size tells as much, in a tenth of the time
        assert ours.size == reference.INPUT_IMAGE_SIZE
        ours.size = reference.INPUT_IMAGE_SIZE = 64
    (expected,) = reference(batch)
    found = ours(batch)
    assert expected.std(0).mean() > 1e-3 * expected.abs().mean()  # images differ
    assert ((found - expected).norm() / expected.norm()).item() < 1e-5
    assert found.shape == (2, ours.num_features)
    assert ours.protocol()["weights_sha256"] == sha256(weights[name])
    assert ours.protocol()["resize"].startswith("bilinear of TensorFlow")
    assert ours.name == name
    gray = images(1, 30, 50, n=1)  # and not square
    torch.testing.assert_close(ours(gray), ours(gray.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    if name == "vgg16":
        ours.network.classifier = ours.network.classifier[:-1]
        before = extractor("vgg16", weights[name], "extractor.vgg16.layer=fc2")
        assert before.name == "vgg16_fc2"
        assert torch.equal(before.network.classifier[-1].weight, ours.network.classifier[-1].weight)


@pytest.mark.parametrize("name", NAMES)
def test_other_weights_than_meant_end_in_one_line(name, weights, tmp_path):
    with pytest.raises(UserError, match=rf"extractor\.{name}\.sha256=.*has the sha256 .*if these weights are meant"):
        extractor(name, None, f"extractor.{name}.weights={weights[name]}")
    other = tmp_path / "other.pth"
    torch.save({"visual.proj": torch.zeros(2, 2), "pos_embed": torch.zeros(1, 5, 2)}, other)
    with pytest.raises(UserError, match=rf"extractor\.{name}\.weights=.*other.pth: holds the weights of another net"):
        extractor(name, other)
    with pytest.raises(UserError, match=rf"extractor\.{name}\.weights=nowhere: no such file"):
        extractor(name, None, f"extractor.{name}.weights=nowhere")
    harmful = tmp_path / "harmful.pth"
    harmful.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(UserError, match=rf"extractor\.{name}\.weights=.*harmful.pth: not a file of tensors"):
        extractor(name, harmful)
    assert not (tmp_path / "harmed").exists()


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("name", [*NAMES, "clip_vit_l_14_336px"])
def test_offline_says_what_to_get_and_where_to_put_it(name, monkeypatch, tmp_path):
    def offline(*_, **__):
        raise URLError("no network")

    pytest.importorskip("torch_fidelity")
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError) as caught:
        extractor(name)
    text = str(caught.value)
    assert "\n" not in text
    for part in (f"extractor.{name}.weights=null", "no network", "https://", str(tmp_path / "hub" / "checkpoints")):
        assert part in text
    if name.startswith("clip"):  # called as torch-fidelity calls it
        assert f"{name.replace('_', '-')}-" in text


def test_clip_reads_a_plain_state_dict_too(weights):
    archive = weights["clip_rn50"]
    ours = extractor("clip_rn50", archive.with_suffix(".pth"))
    assert torch.equal(ours(images()), extractor("clip_rn50", archive)(images()))
    clean = extractor("clip_rn50", archive, "extractor.clip_rn50.resize=clean")
    assert clean.name == "clip_rn50_clean"
    assert not torch.allclose(clean(images()), ours(images()), rtol=1e-3)


def test_unknown_variants_end_in_one_line(weights):
    for name in ("clip_rn50", "dinov2_vit_s_14"):
        with pytest.raises(UserError, match=r"variant=big: choose one of "):
            extractor(name, weights[name], f"extractor.{name}.variant=big")


@pytest.mark.parametrize(("given", "wanted"), [(1, 1), (3, 1), (4, 1), (1, 3), (4, 3), (1, 4), (3, 4), (4, 4)])
def test_channels(given, wanted):
    batch = images(given)
    found = as_channels(batch, wanted)
    assert found.shape == (2, wanted, 40, 40)
    assert found.dtype == torch.uint8
    if wanted == 1 and given > 1:
        luma = (over_white(batch)[0, :, 5, 5].float() * torch.tensor([0.299, 0.587, 0.114])).sum()
        assert found[0, 0, 5, 5] == round(luma.item())
        assert torch.equal(as_channels(as_channels(found, given), 1), found)  # of gray colors is that gray
    elif given < 4:
        assert torch.equal(found[:, :3], batch.expand(-1, 3, -1, -1)[:, :wanted])
        assert (found[:, 3:] == 255).all()
    elif wanted == 3:
        assert torch.equal(found, over_white(batch))
        fractions = as_channels(batch.float(), 3)
        assert (fractions - found).abs().max() <= 0.51


def test_the_protocol_says_what_becomes_of_transparency():
    plain = SimpleNamespace(name="net", channels=3, protocol=dict)
    assert protocol_of(plain, (3, 8, 8)) == {"name": "net"}
    assert protocol_of(plain, (5, 4, 8, 8)) == {"name": "net", "alpha": "blended with white"}
    assert protocol_of(SimpleNamespace(name="net", channels=4, protocol=dict), (4, 8, 8)) == {"name": "net"}


# A classifier of ours

NARROW_CLASSIFIER = [
    "model=classifier",
    "model.encoder.width=4",
    "data=fake",
    "data.num_classes=3",
    "data.num_images=8",
]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 12)])
def test_classifier_gives_its_last_hidden_features_and_its_logits(shape, tmp_path):
    path = tmp_path / "classifier.ckpt"
    model = write_checkpoint(path, *NARROW_CLASSIFIER, f"data.image_shape=[{','.join(map(str, shape))}]")
    ours = extractor("classifier", None, f"extractor.classifier.checkpoint={path}")
    batch = images(*shape)
    features = ours(batch)
    assert features.shape == (2, ours.num_features)
    with torch.no_grad():
        expected = model.classify(batch / 127.5 - 1)
    torch.testing.assert_close(ours.logits(features).softmax(1), expected)
    assert not torch.equal(features[0], features[1])
    for other in (images(4, 20, 9), images(1, 5, 5)):
        assert ours(other).isfinite().all()
    assert ours.protocol() == {
        "name": "classifier",
        "weights_sha256": sha256(path),
        "num_features": ours.num_features,
        "resize": "bilinear of PyTorch, antialiased",
        "input_size": list(shape[1:]),
        "channels": shape[0],
        "normalization": "x / 127.5 - 1",
    }


def test_classifier_scores_another_models_samples(tmp_path):
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    write_checkpoint(path, *NARROW_CLASSIFIER, "data.image_shape=[1,16,16]")
    model, data = tiny_vae()  # 8 pixels
    ours = ClassifierExtractor(str(tmp_path / "run"), resize="tf")
    result = evaluate(model, data, {"frechet": FrechetDistance()}, {"classifier": ours}, show_progress=False)
    assert result.scores["frechet/classifier"].value > 0


def test_checkpoints_that_cannot_classify_end_in_one_line(tmp_path):
    key = r"extractor\.classifier\.checkpoint"
    write_checkpoint(tmp_path / "vae.ckpt", *TINY_VAE)
    with pytest.raises(UserError, match=rf"{key}=.*vae.ckpt: holds a VAE, give a run of model=classifier"):
        ClassifierExtractor(str(tmp_path / "vae.ckpt"), resize="tf")
    with pytest.raises(UserError, match=rf"{key}=nowhere: no such file"):
        ClassifierExtractor("nowhere", resize="tf")
    write_checkpoint(tmp_path / "two.ckpt", *NARROW_CLASSIFIER, "data.image_shape=[2,8,8]")
    with pytest.raises(UserError, match=rf"{key}=.*two.ckpt: takes images of 2 channels"):
        ClassifierExtractor(str(tmp_path / "two.ckpt"), resize="tf")


# Any module


class Net(nn.Module):
    """Maps, values or something else."""

    def __init__(self, kind: str = "maps", channels: int = 3):
        super().__init__()
        self.kind = kind
        self.convolution = nn.Conv2d(channels, 5, 3)

    def forward(self, x):
        maps = self.convolution(x)
        return {"maps": maps, "rows": maps[:, :, 0].mean(2), "pair": (maps, maps)}[self.kind]


def module(*overrides, kind="maps", channels=3):
    net = [f"_target_={__name__}.Net", f"kind={kind}", f"channels={channels}"]
    target, *keys = (f"extractor.module.network.{text}" for text in net)
    return extractor("module", None, target, *(f"+{key}" for key in keys), "extractor.module.size=16", *overrides)


def test_any_module_is_an_extractor(tmp_path):
    torch.manual_seed(0)
    net = Net()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    given = [f"extractor.module.weights={tmp_path / 'net.pth'}", "extractor.module.name=mine"]
    ours = module(*given)
    assert (ours.name, ours.num_features) == ("mine", 5)
    batch = images(height=16, width=16)
    x = (batch / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        3, 1, 1
    )
    torch.testing.assert_close(ours(batch), net(x).mean((2, 3)).detach())
    torch.testing.assert_close(module(*given, kind="rows")(batch), net(x)[:, :, 0].mean(2).detach())
    protocol = ours.protocol()
    assert protocol["network"] == f"{__name__}.Net"
    assert protocol["normalization"] == "(x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]"
    assert module(*given).protocol() == protocol
    assert module().protocol()["weights_sha256"] != protocol["weights_sha256"]
    gray = module("extractor.module.mean=[0.5]", "extractor.module.std=[0.5]", channels=1)
    assert gray(images(4)).shape == (2, 5)


def test_wrong_modules_end_in_one_line(tmp_path):
    with pytest.raises(
        UserError, match=r"extractor\.module\.network: Net fails on images \(1, 3, 16, 16\): .*1 channels"
    ):
        module(channels=1)
    with pytest.raises(UserError, match=r"extractor\.module\.network: Net fails on .*tuple"):
        module(kind="pair")
    with pytest.raises(UserError, match=r"extractor\.module\.network: makes a dict, give the _target_ of an nn.Module"):
        extractor("module", None, "extractor.module.network._target_=builtins.dict")
    with pytest.raises(UserError, match=r"extractor\.module\.mean=\[0.5\]: give 1 .* and as many in std"):
        module("extractor.module.mean=[0.5]")
    torch.save({}, tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"extractor\.module\.weights=.*net.pth: .* another network than Net"):
        module(f"extractor.module.weights={tmp_path / 'net.pth'}")


# Sequences


class Halves(Extractor):
    """The brightest pixel of the upper half, and twice that of the lower."""

    name = "halves"
    num_features = 2

    def features(self, images):
        values = images[:, 0].flatten(1).float()  # (B, H W)
        half = values.shape[1] // 2
        return torch.stack([values[:, :half].amax(1), 2 * values[:, half:].amax(1)], 1)

    def protocol(self):
        return {"name": self.name}


class Still(ImageGenerator):
    """Draws sequences in which nothing moves."""

    takes_sequences = True

    def __init__(self, image_shape):
        super().__init__(image_shape, None, conditional=False, optimizer=torch.optim.Adam)
        self.averages = nn.ModuleDict()

    def sample(self, n, labels=None):
        return (torch.rand(n, 1, *self.image_shape[1:]) * 2 - 1).expand(-1, self.image_shape[0], -1, -1, -1)


def test_clips_are_looks_and_motion():
    ours = VideoExtractor({"halves": Halves()})
    assert (ours.name, ours.num_features) == ("clips_halves", 4)
    sequence = torch.zeros(2, 3, 1, 8, 8, dtype=torch.uint8)
    sequence[0, :, 0, 0, 0] = torch.tensor([10, 40, 10])
    sequence[0, :, 0, -1, -1] = torch.tensor([0, 0, 3])
    assert ours(sequence).tolist() == [[20, 2, 30, 3], [0, 0, 0, 0]]
    assert torch.equal(ours(sequence), ours(sequence.flip(1)))
    assert ours(sequence[:, :1]).tolist() == [[10, 0, 0, 0], [0, 0, 0, 0]]
    assert ours.protocol() == {
        "name": "clips_halves",
        "num_features": 4,
        "clips": "mean over time; mean absolute change between frames",
        "frames": {"name": "halves"},
    }
    for frames in ({}, {"a": Halves(), "b": Halves()}, {"clips": ours}):
        with pytest.raises(
            UserError, match=r"extractor@extractor.clips.frames=.*: give one extractor of single images"
        ):
            VideoExtractor(frames)


def test_clips_tell_what_frames_do_not():
    options = ["data=moving_digits", "data.size=16", "data.digit_size=8", "data.frames=4", "data.num_test=24"]
    data = build_data(compose(options).data)
    model = Still(data.image_shape)
    extractors = {"clips": VideoExtractor({"halves": Halves()}), "frames": Halves()}
    metrics = {"frechet": FrechetDistance(), "kid": KernelDistance()}
    result = evaluate(model, data, metrics, extractors, show_progress=False)
    assert set(result.values) == {f"{m}/{e}" for m in ("frechet", "kid") for e in ("clips_halves", "halves")}
    assert result.protocol.extractors["clips"]["frames"] == {"name": "halves"}
    result = evaluate(*tiny_vae(), metrics, extractors, show_progress=False)
    assert result.skipped["frechet/clips_halves"] == "takes sequences, and the data are single images"
    assert "frechet/halves" in result.values
