"""Scoring: one protocol, the same scores twice, nothing disturbed, and honest about what can't be had."""

import json
import math
import re
import statistics
from dataclasses import replace

import pytest
import torch
from helpers.processes import on_two_ranks
from helpers.scoring import ClassifyingPixels, Pixels, sample_metrics
from helpers.tiny_models import TINY_VAE, tiny_vae, write_checkpoint
from torch import nn
from torch.backends import cudnn

from lightning_gen.cli.commands import evaluate as evaluate_command
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import evaluate
from lightning_gen.evaluation.report import print_table, save_evaluation
from lightning_gen.evaluation.result import Evaluation, Origin, Score
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.images import to_uint8
from lightning_gen.metrics.frechet import FrechetDistance
from lightning_gen.metrics.image_metric import FeatureMetric
from lightning_gen.metrics.kid import KernelDistance
from lightning_gen.metrics.likelihood import LikelihoodMetric
from lightning_gen.metrics.precision_recall import PrecisionRecall
from lightning_gen.metrics.reconstruction import Reconstruction
from lightning_gen.models.vae import VAE


class Sampler(ImageGenerator):
    """Can only sample: like a GAN."""

    def __init__(self, image_shape, num_classes=None):
        super().__init__(image_shape, num_classes, conditional=num_classes is not None, optimizer=torch.optim.Adam)
        self.averages = nn.ModuleDict()
        self.labels = []

    def sample(self, n, labels=None):
        self.labels.append(labels)
        return torch.rand(n, *self.image_shape) * 2 - 1


def pixels(extractor=None):
    return {"pixels": extractor or Pixels()}


def all_metrics():
    return {
        "likelihood": LikelihoodMetric(samples=3),
        "reconstruction": Reconstruction(),
        "frechet": FrechetDistance(),
        "kid": KernelDistance(subsets=4, subset_size=8),
    }


def test_scores_names_and_protocol():
    model, data = tiny_vae()
    result = evaluate(model, data, all_metrics(), pixels(), num_samples=20, batch_size=6, seed=3)
    assert set(result.values) == {
        "nll_nats",
        "nll_bits_per_dim",
        "negative_elbo_nats",
        "negative_elbo_bits_per_dim",
        "reconstruction_mse",
        "reconstruction_mae",
        "reconstruction_psnr",
        "reconstruction_ssim",
        "frechet/pixels",
        "kid/pixels",
    }
    assert all(math.isfinite(value) for value in result.values.values())
    assert {score.direction for score in result.scores.values()} == {"lower", "higher"}
    assert result.scores["reconstruction_psnr"].direction == "higher"
    assert result.skipped == {}
    assert result.warnings == []
    protocol = result.protocol
    assert (protocol.n_real, protocol.n_fake, protocol.seed) == (16, 20, 3)
    assert (protocol.data, protocol.split, protocol.binarize) == ("fake", "test", False)
    assert protocol.metrics["likelihood"] == {"samples": 3, "likelihood": "Bernoulli"}
    assert protocol.metrics["kid"]["subset_size"] == 8
    assert torch.__version__.startswith(protocol.versions["torch"])
    json.dumps(result.to_json())


@pytest.mark.parametrize("conditional", ["false", "true"])
def test_the_same_scores_twice_and_nothing_disturbed(conditional):
    model, data = tiny_vae(f"model.conditional={conditional}")
    model.train()
    model.encoder.eval()
    modes = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = evaluate(model, data, all_metrics(), pixels())
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    torch.manual_seed(6)
    second = evaluate(model, data, all_metrics(), pixels())
    assert second.values == first.values
    other = evaluate(model, data, all_metrics(), pixels(), seed=1)
    assert other.scores["frechet/pixels"].value != first.scores["frechet/pixels"].value


def test_a_score_does_not_depend_on_the_other_metrics():
    model, data = tiny_vae()
    together = evaluate(model, data, all_metrics(), pixels()).values
    for name, metric in all_metrics().items():
        for score, value in evaluate(model, data, {name: metric}, pixels()).values.items():
            assert value == together[score]


def test_frechet_is_that_of_all_samples_at_once():
    _, data = tiny_vae()
    model = Sampler(data.image_shape)
    result = evaluate(model, data, {"frechet": FrechetDistance()}, pixels(), num_samples=30, batch_size=7)
    drawn = []
    for start in range(0, 30, 7):
        from lightning_gen.randomness import seed_all

        seed_all("evaluate", 0, "samples", start)
        drawn.append(model.sample(min(7, 30 - start)))
    metric, extractor = FrechetDistance(), Pixels()
    metric.update(extractor(data.sources["test"].images), real=True)
    metric.update(extractor(to_uint8(torch.cat(drawn))), real=False)
    assert result.scores["frechet/pixels"].value == pytest.approx(metric.compute()["frechet"].item(), rel=1e-9)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_each_image_is_extracted_once_and_real_ones_never_again(empty_cache):
    model, data = tiny_vae()
    extractor = Pixels()
    first = evaluate(model, data, all_metrics(), pixels(extractor), num_samples=20)
    assert extractor.seen == 16 + 20
    again = Pixels()
    second = evaluate(model, data, all_metrics(), pixels(again), num_samples=20)
    assert again.seen == 20
    assert first.values == second.values
    evaluate(model, data, all_metrics(), pixels(again), num_samples=20, split="val")
    assert again.seen == 20 + 36


def test_features_and_samples_are_in_ieee_float32_and_the_protocol_says_so():
    seen = []

    class Watched(Pixels):
        def features(self, images):
            seen.append((cudnn.conv.fp32_precision, torch.get_float32_matmul_precision()))
            return super().features(images)

    before = cudnn.conv.fp32_precision
    model, data = tiny_vae()
    result = evaluate(model, data, all_metrics(), pixels(Watched()), num_samples=20)
    assert set(seen) == {("ieee", "highest")}
    assert cudnn.conv.fp32_precision == before
    assert result.to_json()["protocol"]["precision"] == "IEEE float32"


def test_a_cache_that_is_damaged_or_of_other_images_is_not_used(empty_cache):
    model, data = tiny_vae()
    first = evaluate(model, data, all_metrics(), pixels()).values
    (file,) = (empty_cache / "features").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    assert evaluate(model, data, all_metrics(), pixels()).values == first
    assert file.read_bytes() == whole
    file.write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])  # one bit of a feature
    assert evaluate(model, data, all_metrics(), pixels()).values == first
    assert file.read_bytes() == whole
    data.sources["test"].images[3] ^= 1
    extractor = Pixels()
    evaluate(model, data, all_metrics(), pixels(extractor))
    assert extractor.seen == 16 + 16


def test_a_cache_that_cannot_be_written_costs_only_time(empty_cache, caplog):
    empty_cache.write_text("a file where the folder should be")
    model, data = tiny_vae()
    assert evaluate(model, data, all_metrics(), pixels()).values


def test_several_extractors_see_one_stream_of_samples():
    _, data = tiny_vae()
    model = Sampler(data.image_shape)
    other = Pixels()
    other.name = "others"
    result = evaluate(model, data, {"frechet": FrechetDistance()}, {"a": Pixels(), "b": other})
    assert result.scores["frechet/pixels"].value == result.scores["frechet/others"].value
    assert len(model.labels) == 1  # one batch was drawn
    assert result.scores["frechet/others"].origin == Origin("frechet", "b", of_samples=True, splits=["test"])


def test_every_score_says_which_images_it_is_of():
    model, data = tiny_vae()
    compared = evaluate(model, data, all_metrics(), pixels()).protocol.images
    assert evaluate(model, data, {"reconstruction": Reconstruction()}, {}).protocol.images == compared
    _, other = tiny_vae("data.seed=1")
    assert evaluate(model, other, {"reconstruction": Reconstruction()}, {}).protocol.images != compared


def test_seeds_give_a_mean_and_its_scatter():
    model, data = tiny_vae()
    several = evaluate(model, data, all_metrics(), pixels(), seeds=3)
    alone = [evaluate(model, data, all_metrics(), pixels(), seed=seed).values for seed in range(3)]
    for name, score in several.scores.items():
        values = score.per_seed
        assert values == [scores[name] for scores in alone]
        assert score.value == pytest.approx(sum(values) / 3)
        assert score.uncertainty.std == pytest.approx(statistics.stdev(values))


def test_halves_of_the_samples_scatter_as_new_samples_do():
    _, data = tiny_vae("data.num_images=400")
    model = Sampler(data.image_shape)
    options = {"num_samples": 100, "show_progress": False}
    metrics = {"kid": KernelDistance(subsets=1, subset_size=100)}
    several = evaluate(model, data, metrics, pixels(), seeds=40, **options).scores["kid/pixels"].uncertainty.std
    halves = [
        evaluate(model, data, metrics, pixels(), seed=seed, half_samples=40, **options).scores["kid/pixels"].uncertainty
        for seed in range(5)
    ]
    assert sum(each.std for each in halves) / 5 == pytest.approx(several, rel=0.35)


class MeanFeature(FeatureMetric):
    """Knows nothing of parts of the samples."""

    better = {"mean": "higher"}

    def __init__(self):
        super().__init__()
        self.add_state("values", [], dist_reduce_fx="cat")

    def update(self, features, real):
        if not real:
            self.values.append(features)

    def compute(self):
        return {"mean": torch.cat(self.values).mean()}


def test_there_are_fewer_halves_of_many_samples(monkeypatch):
    monkeypatch.setattr("lightning_gen.evaluation.evaluator.MANY", 8)
    model, data = tiny_vae()
    metrics = {"mean": MeanFeature(), "kid": KernelDistance()}
    for wanted, used in ((40, 20), (12, 8), (5, 5)):
        result = evaluate(model, data, metrics, pixels(), half_samples=wanted, num_samples=16)
        assert result.protocol.half_samples == used
        assert all(score.uncertainty.std > 0 for score in result.scores.values())


def test_metrics_that_a_model_cannot_have_are_skipped_with_the_reason():
    _, data = tiny_vae()
    model = Sampler(data.image_shape)
    result = evaluate(model, data, all_metrics(), pixels())
    assert set(result.values) == {"frechet/pixels", "kid/pixels"}
    assert result.skipped == {
        "likelihood": "Sampler has no log_likelihood",
        "reconstruction": "Sampler has no reconstruct",
    }
    result = evaluate(model, data, all_metrics(), {})
    assert result.values == {}
    assert "extractor=none" in result.skipped["frechet"]
    assert result.protocol.extractors == {}
    assert result.protocol.n_fake == 0


def test_conditional_models_without_labels_are_scored_on_samples_alone():
    model, _ = tiny_vae("model.conditional=true")
    _, unlabeled = tiny_vae("data.num_classes=null")
    result = evaluate(model, unlabeled, all_metrics(), pixels())
    assert set(result.skipped) == {"likelihood", "reconstruction"}
    assert "labels" in result.skipped["likelihood"]
    assert math.isfinite(result.scores["frechet/pixels"].value)


def test_labels_of_samples_follow_the_split():
    _, data = tiny_vae()
    model = Sampler(data.image_shape, num_classes=4)
    evaluate(model, data, {"frechet": FrechetDistance()}, pixels(), num_samples=32, batch_size=5)
    drawn, real = torch.cat(model.labels), data.sources["test"].labels
    assert torch.equal(drawn.bincount(minlength=4), 2 * real.bincount(minlength=4))
    assert not torch.equal(drawn, drawn.sort().values)


def test_broken_samples_get_no_score():
    _, data = tiny_vae()
    model = Sampler(data.image_shape)
    draw = model.sample
    model.sample = lambda n, labels=None: draw(n).index_fill(0, torch.tensor([0]), torch.nan)
    result = evaluate(model, data, all_metrics(), pixels())
    assert all(math.isnan(value) for value in result.values.values())
    assert len(result.warnings) == 2
    assert result.warnings[0] == "frechet/pixels is nan: NaN or infinity in 1 of the samples"


def test_scores_without_a_value_say_why():
    model, data = tiny_vae()
    few = evaluate(model, data, {"frechet": FrechetDistance(), "pr": PrecisionRecall()}, pixels(), num_samples=2)
    assert few.warnings == [
        f"{name}/pixels is nan: undefined for 16 real images and 2 samples, which are too few"
        for name in ("precision", "recall")
    ]
    assert few.broken_samples == 0
    next(model.decoder.parameters()).data.fill_(torch.nan)
    result = evaluate(model, data, {"reconstruction": Reconstruction()}, {}, ema=False)
    assert "reconstruction_mse is nan: the model's output is not finite" in result.warnings


def test_a_model_whose_samples_are_not_finite_is_not_evaluated(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "a.ckpt", *TINY_VAE)
    monkeypatch.setattr(VAE, "sample", lambda self, n, labels=None: torch.full((n, *self.image_shape), torch.nan))
    arguments = [f"checkpoint={tmp_path / 'a.ckpt'}", "metrics=[frechet]", "num_samples=10", "device=cpu"]
    with pytest.raises(UserError, match=r"NaN or infinity in 10 of the samples"):
        evaluate_command.run(Job(compose(arguments, "evaluate"), arguments))
    assert [path.name for path in tmp_path.iterdir()] == ["a.ckpt"]


def test_averaged_weights_are_used_unless_refused():
    model, data = tiny_vae()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(3)
    metrics = {"reconstruction": Reconstruction()}
    averaged = evaluate(model, data, metrics, {})
    trained = evaluate(model, data, metrics, {}, ema=False)
    assert averaged.values != trained.values
    assert (averaged.protocol.ema, trained.protocol.ema) == (True, False)
    model.use_averaged_weights()
    assert evaluate(model, data, metrics, {}).values == averaged.values


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tets"}, "did you mean test"),
        ({"num_samples": 1}, "num_samples=1"),
        ({"num_real": 1}, "num_real=1"),
    ],
)
def test_mistakes_end_in_one_line(options, message):
    model, data = tiny_vae()
    with pytest.raises(UserError, match=message):
        evaluate(model, data, all_metrics(), pixels(), **options)


def test_data_of_another_shape_or_other_classes_is_refused():
    model, _ = tiny_vae("model.conditional=true")
    for other, message in (("data.image_shape=[3,8,8]", r"\(3, 8, 8\)"), ("data.num_classes=5", "5 classes")):
        _, data = tiny_vae(other)
        with pytest.raises(UserError, match=message):
            evaluate(model, data, all_metrics(), pixels())


def test_two_metrics_of_one_name_are_refused():
    model, data = tiny_vae()
    with pytest.raises(UserError, match=r"metrics\.b"):
        evaluate(model, data, {"a": FrechetDistance(), "b": FrechetDistance()}, pixels())


def _of_all_metrics():
    # three real images: one process has two, one has one; one batch of samples: the second process has none
    model, data = tiny_vae("data.num_images=12", "model.conditional=true")
    return model, data, all_metrics() | sample_metrics(), pixels(ClassifyingPixels())


def _process(rank, folder, world_size):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=world_size)
    model, data, metrics, extractor = _of_all_metrics()

    result = evaluate(model, data, metrics, extractor, num_samples=13, batch_size=13, half_samples=2).to_json()
    result = {key: result[key] for key in ("scores", "uncertainty", "curves")}
    (folder / f"{rank}.json").write_text(json.dumps(result))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_give_the_scores_of_one(tmp_path):
    on_two_ranks(_process, tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert str(first) == str(second)  # NaN is no equal of itself
    model, data, metrics, extractor = _of_all_metrics()
    alone = evaluate(model, data, metrics, extractor, num_samples=13, batch_size=13, half_samples=2).to_json()
    assert len(alone["scores"]) > 20
    for name, value in first["scores"].items():
        # means over images are added up in another order
        exact = alone["origin"][name]["metric"] not in ("likelihood", "reconstruction")
        assert value == pytest.approx(alone["scores"][name], rel=0 if exact else 1e-12, nan_ok=True), name
    for name, each in first["uncertainty"].items():
        assert each["std"] == pytest.approx(alone["uncertainty"][name]["std"], rel=1e-9), name
    for name, curve in first["curves"].items():
        assert curve == pytest.approx(alone["curves"][name], nan_ok=True), name


def test_json_gives_the_evaluation_back():
    model, data = tiny_vae()
    for options in ({"seeds": 2}, {"half_samples": 2}):
        result = evaluate(model, data, all_metrics() | sample_metrics(), pixels(ClassifyingPixels()), **options)
        result = replace(result, source={"checkpoint": "last.ckpt"}, protocol=replace(result.protocol, model={"k": 1}))
        entry = json.loads(json.dumps(result.to_json()))
        again = Evaluation.from_json(entry)
        assert json.dumps(again.to_json()) == json.dumps(entry)  # also the order of keys
        assert str(again) == str(result)  # NaN is no equal of itself


def test_every_evaluation_is_kept(tmp_path):
    model, data = tiny_vae()
    result = evaluate(model, data, {"reconstruction": Reconstruction()}, {})
    path = tmp_path / "deep" / "evaluation.json"
    save_evaluation(result, path)
    broken = Score(math.nan, "lower", Origin("frechet", "pixels", of_samples=True, splits=["test"]))
    save_evaluation(replace(result, scores={"frechet/pixels": broken}), path)
    first, second = json.loads(path.read_text())
    assert first["scores"] == result.values
    assert second["scores"] == {"frechet/pixels": None}
    assert Evaluation.from_json(first) == result
    assert math.isnan(Evaluation.from_json(second).values["frechet/pixels"])
    path.write_text("{")
    with pytest.raises(UserError, match="move it away"):
        save_evaluation(result, path)
    assert path.read_text() == "{"


def test_table_shows_scores_and_what_was_skipped(capsys):
    _, data = tiny_vae()
    result = evaluate(Sampler(data.image_shape), data, all_metrics(), pixels())
    print_table(result)
    printed = capsys.readouterr().out
    assert "fake test, 16 real, 16 samples, pixels, trained weights, seed 0" in printed
    assert f"{result.values['kid/pixels']:.6g}" in printed
    floor = result.real_against_real["kid/pixels"]
    assert (list(result.real_against_real), floor.images) == (["kid/pixels"], 8)
    (line,) = [line for line in printed.splitlines() if "real against real" in line]
    assert line.split()[0] == "kid/pixels"
    assert abs(floor.value) < 3 * floor.uncertainty.std
    (line,) = [line for line in printed.splitlines() if "has no" in line]
    assert re.match(r"  skipped likelihood, .*: Sampler has no log_likelihood, ", line)


# The command


def command(*overrides):
    evaluate_command.run(Job(compose([*overrides, "metrics=[reconstruction,likelihood]", "device=cpu"], "evaluate")))


def test_command_needs_only_the_checkpoint(tmp_path, capsys):
    write_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt", *TINY_VAE)
    command(f"checkpoint={tmp_path / 'run'}")
    command(f"checkpoint={tmp_path / 'run' / 'checkpoints' / 'best.ckpt'}", "split=val", "+data.num_images=32")
    first, second = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert (first["checkpoint"], first["protocol"]["images_seen"]) == ("best.ckpt", 640)
    assert (first["protocol"]["n_real"], second["protocol"]["n_real"]) == (16, 8)
    assert "nll_bits_per_dim" in capsys.readouterr().out


def test_command_scores_folders_of_images(tmp_path, capsys):
    from PIL import Image

    for folder, mode in (("samples", "L"), ("reference", "RGB")):  # gray files are made RGB, as the others are
        (tmp_path / folder).mkdir()
        for n in range(6):
            Image.new(mode, (8, 8), n * 40 if mode == "L" else (n * 40, 0, 0)).save(tmp_path / folder / f"{n}.png")
    small = ["extractor.efficientnet_lite0.size=32", "half_samples=0"]
    settings = ["metrics=[kid,likelihood]", *small, "device=cpu", f"out={tmp_path / 'scores.json'}"]
    folders = [f"{key}={tmp_path / key}" for key in ("samples", "reference")]
    evaluate_command.run(Job(compose([*folders, *settings], "evaluate")))
    (result,) = json.loads((tmp_path / "scores.json").read_text())
    assert (result["protocol"]["n_fake"], result["protocol"]["samples"]) == (6, "samples")
    assert math.isfinite(result["scores"]["kid/efficientnet_lite0"])
    assert result["skipped"]["likelihood"] == "needs a model, and files were given"
    for wrong, message in (
        ([], "evaluate needs checkpoint=PATH, or samples=FOLDER"),
        (folders[:1], "say what to compare with"),
        ([*folders, "data=fake"], "leave it out"),
        ([*folders, "seeds=2"], "files stay the same"),
        ([folders[0], f"reference={tmp_path / 'none'}"], "reference=.*does not exist"),
    ):
        with pytest.raises(UserError, match=message):
            evaluate_command.run(Job(compose([*wrong, *settings], "evaluate")))


def test_command_takes_other_data_and_another_file(tmp_path):
    write_checkpoint(tmp_path / "kept.ckpt", *TINY_VAE)
    command(f"checkpoint={tmp_path / 'kept.ckpt'}", "data=fake", "data.image_shape=[1,8,8]", f"out={tmp_path}")
    (result,) = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["protocol"]["n_real"] == 64


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("checkpoint={}/bset.ckpt", "did you mean .*best.ckpt"),
        ("+data.num_image=3", "num_images"),
        ("batch_size=0", "batch_size=0"),
        ("device=cdua", "did you mean cuda"),
        ("device=xpu:7", "not on this machine"),
        ("out={}/best.ckpt", "move it away"),
    ],
)
def test_command_explains_mistakes(tmp_path, override, message):
    write_checkpoint(tmp_path / "best.ckpt", *TINY_VAE)
    checkpoint = f"checkpoint={tmp_path / 'best.ckpt'}"
    overrides = [checkpoint, "metrics=[reconstruction]", "extractor=none", override.format(tmp_path)]
    with pytest.raises(UserError, match=message):
        evaluate_command.run(Job(compose(overrides, "evaluate")))
