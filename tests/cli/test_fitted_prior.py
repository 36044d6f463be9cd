"""Priors that are fitted after training: densities by numbers, their files, and the commands that use them."""

import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers.linear_gaussian import LinearGaussian
from helpers.tiny_models import FAKE_DATA, TINY_GAN, TINY_VAE, write_checkpoint
from torch import distributions as D

from lightning_gen.batch import Batch
from lightning_gen.cli.commands import evaluate, sample
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose
from lightning_gen.config.options import list_options
from lightning_gen.errors import UserError
from lightning_gen.evaluation.comparison import read_runs
from lightning_gen.models import fitted_prior
from lightning_gen.models.fitted_prior import Codes, codes_of, fit, new_prior, use
from lightning_gen.networks.flow_prior import FlowPrior
from lightning_gen.networks.kernel_density import KernelDensity, best_width
from lightning_gen.networks.mixture_prior import MixturePrior, VampPrior
from lightning_gen.runs.record import Run

NAMES = [option.name for option in list_options("prior")]


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(fitted_prior, "STEPS", 40)


def test_kernel_density_is_a_mixture_of_normals():
    torch.manual_seed(0)
    latents = torch.randn(50, 3) * torch.tensor([0.5, 1.0, 2.0])
    density = KernelDensity(3, kernels=40)
    density.initialize(latents, latents)
    kernels = D.Independent(D.Normal(latents[:40], density.scale.expand(40, 3)), 1)
    expected = D.MixtureSameFamily(D.Categorical(torch.ones(40)), kernels).log_prob(latents)
    torch.testing.assert_close(density.log_prob(latents), expected, rtol=1e-4, atol=1e-4)
    drawn = density.points(torch.randn(20_000, 3))
    torch.testing.assert_close(
        drawn.std(0), latents[:40].var(0, correction=0).add(density.scale**2).sqrt(), rtol=0.05, atol=0
    )


def test_kernels_are_as_wide_as_the_latents_left_out_are_likely():
    torch.manual_seed(0)
    # Silverman's rule for a normal density, and pairs of nearly equal latents, which a narrow kernel explains best
    assert best_width(torch.randn(600, 1)) == pytest.approx(1.06 * 600**-0.2, rel=0.3)
    once = torch.randn(100, 4)
    assert best_width(torch.cat([once, once + 0.01 * torch.randn(100, 4)])) < 0.03


@pytest.mark.parametrize(
    "make",
    [
        partial(MixturePrior, components=8),
        partial(KernelDensity, kernels=500),
        partial(FlowPrior, steps=4, hidden=16),
        partial(VampPrior, components=8),
    ],
    ids=["gmm", "kde", "flow", "vamp"],
)
def test_a_fitted_density_is_nearer_to_the_latents_than_the_prior(make, monkeypatch):
    monkeypatch.setattr(fitted_prior, "STEPS", 200)
    torch.manual_seed(0)
    model = LinearGaussian()
    with torch.no_grad():  # latents in two clusters, far from a standard normal
        images = 0.5 * model.images(600) + 0.5 * torch.where(torch.arange(600) % 2 > 0, 1, -1).view(-1, 1, 1, 1)
        codes = codes_of(model, [Batch(images)])
        own = model.prior_density().log_prob(codes.latents).mean()
    prior = new_prior(make, model, "prior=x")
    fit(prior, codes, model.posterior_of_classes)
    with torch.no_grad():
        density = prior.density(model.posterior_of_classes)
        assert density.log_prob(codes.latents).mean() > own + 0.2
        use(prior, model)
        drawn = model.prior.sample(model.latent(4000))
        bound = model.log_likelihood(images, samples=20).mean()
        expected = model.log_evidence(images).mean()
    torch.testing.assert_close(drawn.mean(0), codes.latents.mean(0), atol=0.25, rtol=0)
    torch.testing.assert_close(drawn.std(0), codes.latents.std(0), atol=0.3, rtol=0.2)
    assert bound > expected  # of the model with its own prior: the bound is that of the new one


def run_command(command, name: str, *overrides: str) -> None:
    command.run(Job(compose([*overrides, "device=cpu"], name), overrides))


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in ("gmm", "kde"))) for n in NAMES])
def test_samples_of_each_prior_are_the_same_from_its_file(name, tmp_path, capsys):
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    write_checkpoint(path, *TINY_VAE)
    grids = []
    for out in ("first", "second"):
        chosen = [f"prior={name}", "n=6", "interpolation=false", f"out={tmp_path / out}"]
        run_command(sample, "sample", f"checkpoint={path}", *chosen)
        grids.append((tmp_path / out / "grid.png").read_bytes())
    told = capsys.readouterr().out
    (file,) = path.parent.glob(f"best.prior-{name}-*.pt")
    assert f"prior={name}: kept in {file}" in told
    assert f"prior={name}: read from {file}" in told
    assert grids[0] == grids[1]


@pytest.mark.slow
def test_other_settings_are_another_file(tmp_path):
    path = tmp_path / "best.ckpt"
    write_checkpoint(path, *TINY_VAE)
    for number, more in enumerate(([], ["prior.gmm.components=5"], ["ema=false"])):
        run_command(sample, "sample", f"checkpoint={path}", "prior=gmm", "n=2", f"out={tmp_path / str(number)}", *more)
    assert len(list(tmp_path.glob("best.prior-gmm-*.pt"))) == 3


def test_the_same_density_is_fitted_each_time(tmp_path):
    files = []
    for folder in ("a", "b"):
        path = tmp_path / folder / "best.ckpt"
        write_checkpoint(path, *TINY_VAE)
        torch.manual_seed(len(files))
        run_command(
            sample,
            "sample",
            f"checkpoint={path}",
            "prior=flow",
            "n=2",
            "interpolation=false",
            f"out={tmp_path / folder / 'out'}",
        )
        files += path.parent.glob("best.prior-*.pt")
    first, second = (torch.load(file)["state_dict"] for file in files)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_its_scores_stand_beside_those_of_the_own_prior(tmp_path):
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    write_checkpoint(path, *TINY_VAE)
    chosen = [
        f"checkpoint={path}",
        "metrics=[likelihood,reconstruction]",
        "metrics.likelihood.samples=2",
        "extractor=none",
    ]
    for more in ([], ["prior=gmm"]):
        run_command(evaluate, "evaluate", *chosen, *more)
    own, fitted = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert "prior" not in own["protocol"]
    assert fitted["protocol"]["prior"]["name"] == "gmm"
    assert own["scores"]["nll_nats"] != fitted["scores"]["nll_nats"]
    assert [run.name for run in read_runs([tmp_path / "run"])] == ["run", "run prior=gmm"]
    assert Run(tmp_path / "run", tmp_path).scores == own["scores"]


def test_scores_of_another_temperature_stand_beside_those_of_training(tmp_path):
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    write_checkpoint(path, *TINY_VAE)
    chosen = [f"checkpoint={path}", "metrics=[likelihood]", "metrics.likelihood.samples=2", "extractor=none"]
    for more in ([], ["temperature=0.5"], ["temperature=0.25"], ["temperature=0.5", "prior=gmm"], ["temperature=1"]):
        run_command(evaluate, "evaluate", *chosen, *more)
    own, half, *_ = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert "sampling" not in own["protocol"]
    assert half["protocol"]["sampling"] == {"temperature": 0.5}
    assert own["scores"] == half["scores"]  # a likelihood is of the model, whatever its samples
    names = ["run", "run temperature=0.5", "run temperature=0.25", "run prior=gmm temperature=0.5"]
    assert [run.name for run in read_runs([tmp_path / "run"])] == names
    assert Run(tmp_path / "run", tmp_path).scores == own["scores"]


@pytest.mark.slow
def test_other_encoders_have_samples_of_it_but_no_likelihood(tmp_path):
    path = tmp_path / "best.ckpt"
    few = ["model.hidden=8", "model.latent_dim=2", "model.steps=2"]
    write_checkpoint(path, "model=draw", *few, "data.image_shape=[1,8,8]", *FAKE_DATA)
    chosen = ["metrics=[likelihood,active_units]", "extractor=none", f"out={tmp_path / 'scores.json'}"]
    run_command(evaluate, "evaluate", f"checkpoint={path}", "prior=kde", *chosen)
    (entry,) = json.loads((tmp_path / "scores.json").read_text())
    assert set(entry["scores"]) == {"active_units", "active_units_share"}


@pytest.mark.parametrize(
    ("model", "overrides", "message"),
    [
        (TINY_GAN, ["prior=gmm"], "prior=gmm: GAN has no encoder"),
        (TINY_VAE, ["prior=[gmm,kde]"], r"prior=\[gmm,kde\]: choose one"),
        ([*TINY_VAE, "model/posterior=householder"], ["prior=vamp"], "prior=vamp: is made of normal posteriors"),
        (
            [*TINY_VAE, "model/posterior=von_mises_fisher", "model/prior=uniform_sphere"],
            ["prior=kde"],
            "prior=kde: the latents of this VAE lie on a sphere",
        ),
    ],
)
def test_refusals(model, overrides, message, tmp_path):
    write_checkpoint(tmp_path / "best.ckpt", *model)
    with pytest.raises(UserError, match=message):
        run_command(sample, "sample", f"checkpoint={tmp_path / 'best.ckpt'}", *overrides)
    assert [file.name for file in tmp_path.iterdir()] == ["best.ckpt"]


def test_a_damaged_file_is_neither_used_nor_overwritten(tmp_path):
    path = tmp_path / "best.ckpt"
    write_checkpoint(path, *TINY_VAE)
    chosen = [f"checkpoint={path}", "prior=kde", "n=2", "interpolation=false"]
    run_command(sample, "sample", *chosen, f"out={tmp_path / 'a'}")
    (file,) = tmp_path.glob("best.prior-*.pt")
    for content in (file.read_bytes()[:-200], _with_nan(file)):
        file.write_bytes(content)
        with pytest.raises(UserError, match=rf"{file.name} is damaged.*remove it"):
            run_command(sample, "sample", *chosen, f"out={tmp_path / 'b'}")
        assert file.read_bytes() == content


def _with_nan(file: Path) -> bytes:
    other = file.with_name("other")
    torch.save(
        {"lightning_gen_prior": {}, "state_dict": {"latents": torch.full((2, 3), math.nan), "scale": torch.ones(3)}},
        other,
    )
    content = other.read_bytes()
    other.unlink()
    return content


def test_codes_are_of_the_first_images_in_order():
    model = LinearGaussian()
    images = model.images(30)
    codes = codes_of(model, [Batch(images[:20]), Batch(images[20:])])
    assert isinstance(codes, Codes)
    assert codes.latents.shape == (30, 2)
    torch.testing.assert_close(codes.images, images)
