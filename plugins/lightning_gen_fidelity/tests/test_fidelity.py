"""torch-fidelity's scores are ours on the same weights, here random ones in the shape of the published."""

import hashlib
import math
from unittest.mock import patch

import pytest
import torch
from lightning_gen_fidelity.metric import TorchFidelity
from lightning_gen_fidelity.path_length import TorchFidelityPathLength, trimmed_mean
from lightning_gen_fidelity.wrapping import Wrapped, wrap
from omegaconf import OmegaConf
from torch import nn
from torch_fidelity import calculate_metrics

from lightning_gen.checkpoint import provenance
from lightning_gen.config import build_data, build_model, compose, instantiate
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import build_extractors, build_metrics, evaluate
from lightning_gen.image_generator import KEY
from lightning_gen.testing import check_metric

DATA = ["data=fake", "data.image_shape=[1,12,12]", "data.num_images=64", "data.num_classes=3"]


@pytest.fixture(autouse=True)
def not_installed(monkeypatch):
    """Works in a checkout too, where nobody installed it."""
    monkeypatch.setenv("LIGHTNING_GEN_PLUGINS", "lightning_gen_fidelity")


def config(*overrides):
    return compose(["checkpoint=x", *overrides], "evaluate")


VAE = ("model=mlp_vae", "model.latent_dim=3")


def model_and_data(*overrides, model=VAE):
    chosen = compose([*model, *DATA, *overrides])
    data = build_data(chosen.data)
    torch.manual_seed(0)
    return build_model(chosen.model, data.image_shape, data.num_classes).eval(), data, chosen


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="session")
def inception(tmp_path_factory):
    from torch_fidelity import FeatureExtractorInceptionV3

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.manual_seed(0)
    with patch("torch.load"), patch.object(FeatureExtractorInceptionV3, "load_state_dict"):
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):  # what they start with lets no difference pass
            nn.init.kaiming_normal_(layer.weight)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """The smallest there can be: 8 features."""
    from torch_fidelity.feature_extractor_clip import CLIPVisual

    path = tmp_path_factory.mktemp("weights") / "clip.pt"
    torch.manual_seed(0)
    encoder = CLIPVisual(8, 16, 2, 64, 8)
    nn.init.kaiming_normal_(encoder.visual.conv1.weight)
    encoder.text_projection = nn.Parameter(torch.randn(5, 8))
    encoder.forward = lambda x: x
    torch.jit.trace(encoder.half(), torch.zeros(1)).save(path)
    return path


def scores(extractor, path, measures, ours, **settings):
    """By torch-fidelity and by lightning-gen, in one evaluation."""
    weights = [f"extractor.{extractor}.weights={path}", f"extractor.{extractor}.sha256={sha256(path)}"]
    theirs = [f"metrics.torch_fidelity.{key}" for key in (f"extractor={extractor}", f"weights={path}")]
    theirs += ["metrics.torch_fidelity.neighbors=2"]
    theirs += [f"metrics.torch_fidelity.sha256={sha256(path)}", f"metrics.torch_fidelity.measures={measures}"]
    metrics = f"metrics=[torch_fidelity,{ours}]"
    chosen = config(f"extractor={extractor}", metrics, "metrics.precision_recall.k=2", *weights, *theirs)
    model, data, _ = model_and_data()
    made = build_metrics(chosen.metrics)
    return evaluate(
        model, data, made, build_extractors(chosen.extractor), batch_size=5, show_progress=False, **settings
    )


def assert_agree(result, extractor, *names):
    for name in names:
        found, expected = (
            result.scores[f"torch_fidelity/{name}/{extractor}"].value,
            result.scores[f"{name}/{extractor}"].value,
        )
        assert found == pytest.approx(expected, rel=1e-4), name
        assert (
            result.scores[f"torch_fidelity/{name}/{extractor}"].direction
            == result.scores[f"{name}/{extractor}"].direction
        )


@pytest.mark.slow
def test_agrees_with_ours_on_inception(inception):
    few = {"num_samples": 4, "num_real": 4}
    result = scores("inception", inception, "[isc,kid,prc]", "kid,precision_recall", **few)
    assert_agree(result, "inception", "kid", "precision", "recall")
    assert math.isnan(result.scores["torch_fidelity/is/inception"].value)  # of ten parts
    protocol = result.protocol.metrics["torch_fidelity"]
    assert protocol["weights_sha256"] == sha256(inception)
    assert (protocol["n_real"], protocol["n_fake"], protocol["kid_subset_size"]) == (4, 4, 4)


def test_agrees_with_ours_offline():
    ours = "kid,precision_recall,inception_score"
    given = [f"metrics=[torch_fidelity,{ours}]", "metrics.precision_recall.k=3", "metrics.torch_fidelity.isc_splits=1"]
    # Eigenvalues of 1280 x 1280 are left to CLIP's 8 x 8.
    given += ["metrics.torch_fidelity.extractor=efficientnet_lite0", "metrics.torch_fidelity.measures=[isc,kid,prc]"]
    chosen = config(*given)
    model, data, _ = model_and_data()
    result = evaluate(
        model, data, build_metrics(chosen.metrics), build_extractors(chosen.extractor), show_progress=False
    )
    assert_agree(result, "efficientnet_lite0", "kid", "precision", "recall", "is")
    assert len(result.values) == 8


def test_keeps_the_contract_of_metrics():
    keys = ("extractor=efficientnet_lite0", "isc_splits=2", "measures=[isc,kid,prc]")
    check_metric("torch_fidelity", *(f"metrics.torch_fidelity.{key}" for key in keys))


@pytest.mark.parametrize("settings", [{}, {"num_samples": 13, "num_real": 14}])
def test_agrees_with_ours_on_clip(clip, settings):
    result = scores("clip_vit_b_32", clip, "[isc,fid,prc]", "frechet,precision_recall", **settings)
    assert_agree(result, "clip_vit_b_32", "frechet", "precision", "recall")
    assert "torch_fidelity/is/clip_vit_b_32" not in result.values  # it has no classes


def metric(path, **changed):
    chosen = {
        "extractor": "clip_vit_b_32",
        "weights": str(path),
        "sha256": sha256(path),
        "measures": ["fid", "kid", "prc"],
    }
    numbers = {
        "isc_splits": 10,
        "kid_subsets": 2,
        "kid_subset_size": 1000,
        "neighbors": 3,
        "max_images": 9,
        "batch_size": 4,
    }
    return TorchFidelity(**(chosen | numbers | changed))


def test_few_images_and_broken_ones_are_nan_and_the_rest_is_bounded(clip):
    _, data, _ = model_and_data()
    found = metric(clip)
    found.start(data, "test")
    found.update(torch.rand(3, 1, 12, 12))
    values = {name: value.item() for name, value in found.compute().items()}
    assert [name for name, value in values.items() if value != value] == [
        "torch_fidelity/precision/clip_vit_b_32",
        "torch_fidelity/recall/clip_vit_b_32",
    ]
    for _ in range(3):
        found.update(torch.rand(5, 1, 12, 12))
    found.compute()
    assert (found.protocol()["n_fake"], found.protocol()["n_real"]) == (9, 9)
    found.update(torch.full((1, 1, 12, 12), torch.nan))
    assert all(map(torch.isnan, found.compute().values()))


def test_samples_of_several_processes_come_in_the_order_of_one(clip, monkeypatch):
    batches = [torch.full((3, 1, 2, 2), number / 100) for number in range(5)]
    alone, together = metric(clip, max_images=100), metric(clip, max_images=100)
    for batch in batches:
        alone.update(batch)
    for batch in (*batches[::2], *batches[1::2]):  # as they are gathered of two
        together.update(batch)
    expected = alone._in_order()
    monkeypatch.setattr("lightning_gen.utilities.ranks.Ranks.size", 2, raising=False)
    monkeypatch.setattr("lightning_gen.utilities.ranks.Ranks.__init__", lambda self: None)
    assert torch.equal(together._in_order(), expected)


def test_mistakes_end_in_one_line_before_any_sample(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    key = r"metrics\.torch_fidelity"
    for changed, text in (
        ({"extractor": "inceptoin"}, rf"{key}\.extractor=inceptoin: .*did you mean inception"),
        ({"weights": "nowhere"}, rf"{key}\.weights=nowhere: no such file"),
        ({"sha256": None}, rf"{key}\.sha256=40d3657.*has the sha256"),
        ({"extractor": "dinov2_vit_s_14"}, rf"{key}\.weights=.*: torch-fidelity reads DINOv2 from torch.hub alone"),
        ({"extractor": "dinov2_vit_s_14", "weights": None}, rf"{key}\.extractor=dinov2_vit_s_14: .*not in {tmp_path}"),
        ({"extractor": "efficientnet_lite0"}, rf"{key}\.weights=.*: efficientnet_lite0 has its weights in a package"),
        ({"max_images": 1}, rf"{key}\.max_images=1: give at least 2"),
    ):
        with pytest.raises(UserError, match=text):
            metric(clip, **changed)
    with patch("torch.hub.download_url_to_file", side_effect=OSError("no network")):
        with pytest.raises(
            UserError, match=r"metrics=\[torch_fidelity_ppl\]: vgg16-397923af.pth could not .*no network"
        ):
            instantiate(config("metrics=torch_fidelity_ppl").metrics)
        with pytest.raises(UserError, match=r"metrics\.torch_fidelity\.weights=null: weights-inception.*no network"):
            instantiate(config("metrics=torch_fidelity").metrics)


def test_a_checkpoint_becomes_its_generative_model(clip, tmp_path):
    for conditional in (False, True):
        model, data, chosen = model_and_data(f"model.conditional={conditional}")
        ours = provenance(OmegaConf.to_container(chosen, resolve=True), data) | {"images_seen": 0}
        torch.save({"state_dict": model.state_dict(), KEY: ours}, tmp_path / "last.ckpt")
        wrapped = wrap(tmp_path / "last.ckpt")
        assert wrapped.z_size == 3 + conditional
        noise = wrapped.sample_noise(6)
        images = wrapped(noise)
        assert (images.shape, images.dtype) == ((6, 3, 12, 12), torch.uint8)
        labels = noise[:, 3].long() if conditional else None
        assert torch.equal(wrapped(noise * 1.0001)[:, 0] > 127, model.decode(noise[:, :3], labels)[:, 0] > 0)
        found = calculate_metrics(
            input1=wrapped,
            input1_model_num_samples=8,
            input2=wrap(tmp_path / "last.ckpt"),
            input2_model_num_samples=8,
            fid=True,
            feature_extractor="clip-vit-b-32",
            feature_extractor_weights_path=str(clip),
            cuda=False,
            verbose=False,
        )
        assert found["frechet_inception_distance"] == pytest.approx(0, abs=1e-3)  # the same noise, twice
    classifier, _, _ = model_and_data(model=["model=classifier", "model.encoder.width=4"])
    with pytest.raises(UserError, match="makes no images"):
        Wrapped(classifier)


class Distance(nn.Module):
    """Stands in for LPIPS, whose weights are no small file."""

    def __init__(self, name, **settings):
        super().__init__()

    def forward(self, first, second):
        return (first.float() - second.float()).square().mean((1, 2, 3))


def test_path_length_is_that_of_the_models_own_latents(monkeypatch):
    from torch_fidelity import registry

    monkeypatch.setitem(registry.SAMPLE_SIMILARITY_REGISTRY, "lpips-vgg16", Distance)
    monkeypatch.setattr("lightning_gen_fidelity.path_length.checked_in_cache", lambda *_: None)
    model, data, _ = model_and_data()
    (found,) = instantiate(config("metrics=torch_fidelity_ppl").metrics).values()
    found.samples, found.epsilon, found.rounded = 40, 0.5, False
    result = evaluate(model, data, {"ppl": found}, {}, show_progress=False)

    import numpy as np

    wrapped, rng = Wrapped(model, rounded=False), np.random.RandomState(2020)
    start, end = (wrapped._noise_source(rng, (40, 3)) for _ in range(2))
    with torch.no_grad():
        distances = Distance("")(wrapped(start), wrapped(torch.lerp(start, end, 0.5))) / 0.25
    assert result.scores["torch_fidelity/ppl"].value == pytest.approx(trimmed_mean(distances.numpy(), 1, 99), rel=1e-5)
    assert trimmed_mean([[5], [1], [2], [3], [1000]], 25, 75) == (2 + 3 + 5) / 3
    pixels, data, _ = model_and_data(model=["model=pixel_rnn_row"])
    result = evaluate(
        pixels, data, {"ppl": TorchFidelityPathLength(4, 0.1, "lerp", 64, None, True, 4)}, {}, show_progress=False
    )
    assert "has no decode" in result.skipped["ppl"]
