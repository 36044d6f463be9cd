"""Sequences and images that go on: the scores of predictions, their pictures, and the two commands."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from lightning_gen.batch import Batch
from lightning_gen.cli import main
from lightning_gen.cli.checkpoint_options import images_of
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.errors import UserError
from lightning_gen.images import beside, film, moving_grid
from lightning_gen.metrics.prediction import Prediction
from lightning_gen.sampling.continuation import completions, moving_predictions, predictions
from lightning_gen.training.run import train

SEQUENCES = ["data=fake", "data.image_shape=[6,1,16,16]", "data.num_classes=null", "data.num_images=32"]
IMAGES = ["data=fake", "data.image_shape=[1,8,8]", "data.num_images=32"]
SHORT = ["data.batch_size=8", "debug=smoke", "trainer.max_images=16", "trainer.validate_every_images=16"]


class Repeats:
    """Predicts the last frame, or, as many times as it is asked, that plus a growing error."""

    image_shape = (5, 1, 8, 8)
    context_frames = 2

    def __init__(self, errors=(0.0,)):
        self.errors = list(errors)
        self.draws_predictions = len(errors) > 1

    def to_support(self, images):
        return images

    def predict(self, context, steps):
        error = self.errors.pop(0)
        self.errors.append(error)
        return (context[:, -1:] + error).expand(-1, steps, *context.shape[2:])


def moving(n: int = 3) -> torch.Tensor:
    """Sequences whose brightness grows by 0.1 a frame."""
    start = -torch.rand(n, 1, 1, 8, 8) * 0.5 - 0.5
    return start + 0.1 * torch.arange(5.0).view(1, 5, 1, 1, 1)


def test_scores_are_sums_over_a_frame_and_means_over_frames():
    metric, images = Prediction(), moving()
    metric.update_from(Repeats(), Batch(images[:2], None))
    metric.update_from(Repeats(), Batch(images[2:], None))
    scores = metric.compute()
    # In [0, 1] the frames differ by 0.05, 0.1 and 0.15.
    differences = [0.05, 0.1, 0.15]
    assert scores["prediction_mse"].item() == pytest.approx(64 * sum(d * d for d in differences) / 3, rel=1e-4)
    assert scores["prediction_mae"].item() == pytest.approx(64 * sum(differences) / 3, rel=1e-4)
    psnr = [-20 * math.log10(d) for d in differences]
    assert scores["prediction_psnr"].item() == pytest.approx(sum(psnr) / 3, rel=1e-4)
    assert metric.curves()["prediction_psnr"] == pytest.approx(psnr, rel=1e-4)
    for name in ("mse", "mae", "psnr", "ssim"):
        assert scores[f"copy_last_{name}"] == scores[f"prediction_{name}"]
    assert not any("best" in name for name in scores)
    assert metric.protocol()["frames"] == 3


def test_processes_without_a_sequence_add_nothing():
    plain, *shares = (Prediction() for _ in range(3))
    for share in shares:
        share.start(SimpleNamespace(image_shape=(5, 1, 8, 8)), "test")
    images = moving()
    for metric in (plain, shares[0]):
        metric.update_from(Repeats(), Batch(images, None))
    joined = Prediction()
    for state, reduce in joined._reductions.items():
        setattr(joined, state, reduce(torch.stack([getattr(share, state) for share in shares])))
    assert joined.compute() == plain.compute()
    assert joined.curves() == plain.curves()


def test_ssim_of_the_truth_is_one_and_tiny_frames_have_none():
    truth = torch.rand(2, 3, 1, 8, 8) * 2 - 1
    metric = Prediction()
    metric.update([truth], truth, truth[:, :1])
    scores = metric.compute()
    assert scores["prediction_ssim"].item() == pytest.approx(1, abs=1e-5)
    assert scores["prediction_psnr"].item() == pytest.approx(100)
    tiny = Prediction()
    tiny.update([truth[..., :4, :4]], truth[..., :4, :4], truth[:, :1, :, :4, :4])
    assert "prediction_ssim" not in tiny.compute()


def test_the_best_draw_is_each_sequences_own():
    metric = Prediction(draws=2)
    truth = torch.zeros(2, 3, 1, 8, 8)
    one, other = truth.clone(), truth.clone()
    one[0] += 0.2
    other[1] += 0.4
    metric.update([one, other], truth, truth[:, :1])
    scores = metric.compute()
    assert scores["prediction_best_mse"] == 0
    assert scores["prediction_mse"].item() == pytest.approx(64 * (0.1**2 + 0.2**2) / 4)
    curves = metric.curves()
    assert curves["prediction_best_mse"] == [0, 0, 0]
    assert curves["prediction_mse"] == pytest.approx([scores["prediction_mse"].item()] * 3)
    assert curves["copy_last_ssim"] == pytest.approx([1, 1, 1])


def test_models_that_draw_are_asked_several_times():
    metric = Prediction(draws=3)
    metric.update_from(Repeats([0.4, 0.1, 0.3]), Batch(moving(1), None))
    scores = metric.compute()
    assert scores["prediction_best_mse"] < scores["prediction_mse"]
    assert metric.protocol()["draws"] == 3


def test_missing_scores_have_their_reason():
    assert "single images" in Prediction().why_not(SimpleNamespace(image_shape=(1, 8, 8)), None)
    assert "5 frames" in Prediction(context=5).why_not(Repeats(), None)
    assert Prediction(context=4).why_not(Repeats(), None) is None


def test_films_have_a_row_for_each_sequence():
    sequences = torch.linspace(-1, 1, 6).view(2, 3, 1, 1, 1).expand(2, 3, 1, 4, 4)
    picture = film(sequences)
    assert picture.shape == (1, 2 * 6 + 2, 3 * 6 + 2)
    assert [picture[0, 3, 3 + 6 * n].item() for n in range(3)] == pytest.approx([-1, -0.6, -0.2])
    assert moving_grid(sequences).shape == (3, 1, 8, 14)
    assert beside([picture, picture]).shape == (1, 14, 42)


def test_pictures_of_predictions():
    images = moving()
    still = predictions(Repeats(), images, context=2, steps=3)
    assert still.shape[1] > 3 * 10 + 2  # below captions
    for place, frame in enumerate(images[0, :2]):
        left = 2 + 10 * place
        torch.testing.assert_close(still[:, -30:-22, left : left + 8], frame)
    longer = moving_predictions(Repeats(), images, context=2, steps=6)
    assert longer.shape[:2] == (8, 1)
    longer = longer[..., -22:, :]  # below captions
    torch.testing.assert_close(longer[4, :, 2:10, 2:10], images[0, 4])  # the truth, which has 5 frames,
    torch.testing.assert_close(longer[7, :, 2:10, 2:10], images[0, 4])  # stands still


def test_pictures_of_completions():
    model = build_model(compose(["model=pixel_rnn_row", "model.network.hidden=4"]).model, (1, 8, 8), None).eval()
    images = torch.randint(2, (3, 1, 8, 8)) * 2.0 - 1
    with torch.no_grad():
        picture = completions(model, images, rows=4)
    shown = picture[:, -32:]  # below captions
    second, third = (shown[0] == 1).all(0).nonzero()[1::2, 0] + 1  # after white lines of two pixels
    for left in (0, second, *(third + 10 * column for column in range(4))):
        torch.testing.assert_close(shown[:, 2:6, left + 2 : left + 10], images[0, :, :4])
    assert (shown[:, 6:10, second + 2 : second + 10] == 0).all()


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictor") / "run"
    arguments = ["model=conv_lstm", "model.context_frames=3", *SEQUENCES, *SHORT, "extractor=none", f"run_dir={folder}"]
    train(compose(arguments), arguments)
    return folder


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels") / "run"
    arguments = ["model=pixel_min_gru", "model.network.width=8", *IMAGES, *SHORT, "extractor=none", f"run_dir={folder}"]
    train(compose(arguments), arguments)
    return folder


def test_a_predictors_run(predictor):
    scores = json.loads((predictor / "evaluation.json").read_text())[-1]
    assert {"prediction_mse", "copy_last_mse"} <= scores["scores"].keys()
    assert len(scores["curves"]["prediction_mse"]) == 3
    names = {path.name for path in (predictor / "samples").iterdir()}
    assert {"predictions_0000000016.png", "predictions_moving_0000000016.gif", "samples_moving_0000000016.gif"} <= names


def test_predict(predictor, tmp_path, capsys):
    assert main(["predict", f"checkpoint={predictor}", "n=2", "context=2", "steps=5", f"out={tmp_path / 'a'}"]) == 0
    with Image.open(tmp_path / "a" / "predictions.gif") as gif:
        assert gif.n_frames == 7
    with Image.open(tmp_path / "a" / "predictions.png") as png:
        assert png.height > 2 * 18 + 2  # below captions
        assert png.width > (2 * 18 + 2) + (4 * 18 + 2) + (5 * 18 + 2)
    assert main(["predict", f"checkpoint={predictor}", "context=9"]) == 2
    assert main(["complete", f"checkpoint={predictor}"]) == 2
    assert main(["interpolate", f"checkpoint={predictor}"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert err[0] == "error: context=9: the sequences have 6 frames; give at most 6"
    assert all("makes sequences; this is for single images" in line for line in err[1:])


def test_complete(pixels, tmp_path, capsys):
    assert main(["complete", f"checkpoint={pixels}", "n=2", "rows=3", f"out={tmp_path / 'a'}"]) == 0
    with Image.open(tmp_path / "a" / "completions.png") as png:
        assert png.height > 22  # below captions
    assert main(["complete", f"checkpoint={pixels}", "rows=8"]) == 2
    assert main(["predict", f"checkpoint={pixels}"]) == 2
    err = capsys.readouterr().err.splitlines()
    assert err[0] == "error: rows=8: the images have 8 rows; give fewer"
    assert "predicts no frames" in err[1]


def test_images_of_a_class():
    data = build_data(compose([*IMAGES, "data.batch_size=8"]).data)
    given = OmegaConf.create({"split": "train", "n": 5, "label": ["blob 1", 2]})
    images, labels = images_of(given, data, torch.device("cpu"))
    assert len(images) == 5
    assert set(labels.tolist()) == {1, 2}
    with pytest.raises(UserError, match=r"label=blbo 3: .*did you mean blob 3"):
        images_of(OmegaConf.merge(given, {"label": "blbo 3"}), data, torch.device("cpu"))


def test_samples_of_sequences_move(predictor, tmp_path):
    assert main(["sample", f"checkpoint={predictor}", "n=3", f"out={tmp_path / 'a'}"]) == 0
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["film.png", "grid.gif", "images"]
    with Image.open(tmp_path / "a" / "images" / "000002.gif") as gif:
        assert gif.n_frames == 6
