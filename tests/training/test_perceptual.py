"""The perceptual objective: its term by numbers, and what a run and its checkpoint keep of the extractor."""

import pytest
import torch
from helpers.linear_gaussian import LinearGaussian
from helpers.runs import run
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.checkpoint import load_model, read_checkpoint
from lightning_gen.errors import UserError
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.models.perceptual import Perceptual


class Sums(Extractor):
    """Sums of the rows of gray images."""

    name, num_features, channels = "sums", 2, 1

    def features(self, images: Tensor) -> Tensor:
        return images.float().sum((1, 3))


def test_the_term_is_a_distance_of_features_with_gradients_to_encoder_and_decoder():
    model = LinearGaussian(objective=Perceptual(weight=3.0, extractor="sums"))
    images = model.images(40).clamp(-1, 1)
    with pytest.raises(UserError, match="has its extractor only in training"):
        model.losses(Batch(images))
    model.objective.use(Sums(), "a")
    torch.manual_seed(0)
    terms = model.losses(Batch(images))
    torch.manual_seed(0)
    latent, inference = model.infer(model.posterior(images), model.prior_density(), images, None)
    expected = model.likelihood.mean(model.decoder_output(latent, None)).clamp(-1, 1)
    rows = [torch.nn.functional.normalize(((x + 1) * 127.5).sum((1, 3)), dim=1) for x in (expected, images)]
    distance = (rows[0] - rows[1]).square().sum(1).mean()
    torch.testing.assert_close(terms["perceptual"], distance)
    bound = (inference.kl - inference.log_prob).mean()
    torch.testing.assert_close(terms["loss"], bound + 3 * distance)
    (3 * distance).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in (model.encoder[1].weight, model.decoder[0].weight))


def test_another_extractor_than_that_of_the_run_is_refused():
    objective = Perceptual(weight=1.0, extractor="sums", extractor_hash="a")
    objective.use(Sums(), "a")
    with pytest.raises(UserError, match=r"extractor=sums: its weights or settings are not those .*\(a, now b\)"):
        objective.use(Sums(), "b")


@pytest.mark.slow
def test_a_checkpoint_has_the_hash_of_the_extractor_and_not_its_weights(tmp_path):
    folder = run(tmp_path / "run", "model/objective=perceptual")
    content = read_checkpoint(folder / "checkpoints" / "last.ckpt")
    objective = content["lightning_gen"]["config"]["model"]["objective"]
    assert len(objective["extractor_hash"]) == 16
    assert not [name for name in content["state_dict"] if name.startswith("objective")]
    assert load_model(folder).sample(2).isfinite().all()
    assert "train/perceptual" in (folder / "metrics.csv").read_text().splitlines()[0]


def test_an_extractor_that_the_run_lacks(tmp_path):
    with pytest.raises(UserError, match=r"model.objective.extractor=efficientnet_lite0: is no extractor of this run"):
        run(tmp_path / "run", "model/objective=perceptual", "extractor=none")
