"""The two-player game: objectives and penalties by numbers, who gets gradients, and when each player steps."""

import math
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import nn
from torch.optim import SGD

from lightning_gen.batch import Batch
from lightning_gen.callbacks.collapse_guard import CollapseGuard
from lightning_gen.config.composition import compose, conf_dir
from lightning_gen.config.instantiation import build_model
from lightning_gen.config.options import list_options
from lightning_gen.errors import UserError
from lightning_gen.losses import adversarial, penalties
from lightning_gen.losses.penalties import Players, Round
from lightning_gen.models.acgan import ACGAN
from lightning_gen.models.gan import GAN
from lightning_gen.models.infogan import InfoGAN
from lightning_gen.models.truncation import truncated
from lightning_gen.networks.players import ConcatenatingDiscriminator, PlainDiscriminator, ProjectionDiscriminator

REAL, FAKE = torch.tensor([2.0, -0.5]), torch.tensor([0.3, -1.7])


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def mean(*values: float) -> float:
    return sum(values) / len(values)


DISCRIMINATION = -mean(log_sigmoid(2), log_sigmoid(-0.5)) - mean(log_sigmoid(-0.3), log_sigmoid(1.7))
# What the discriminator and the generator minimize, for those logits.
CLOSED_FORMS = {
    "non_saturating": (DISCRIMINATION, -mean(log_sigmoid(0.3), log_sigmoid(-1.7))),
    "saturating": (DISCRIMINATION, mean(log_sigmoid(-0.3), log_sigmoid(1.7))),
    "hinge": (mean(0, 1.5) + mean(1.3, 0), mean(-0.3, 1.7)),
    "wasserstein": (mean(0.3, -1.7) - mean(2, -0.5), mean(-0.3, 1.7)),
    "least_squares": (0.5 * (mean(1, 2.25) + mean(0.09, 2.89)), 0.5 * mean(0.49, 7.29)),
    "relativistic": (
        -mean(log_sigmoid(2 - 0.3), log_sigmoid(-0.5 + 1.7)),
        -mean(log_sigmoid(0.3 - 2), log_sigmoid(-1.7 + 0.5)),
    ),
}
SMOOTHED = -mean(*(0.9 * log_sigmoid(x) + 0.1 * log_sigmoid(-x) for x in (2, -0.5)))


def test_every_loss_is_in_the_table():
    assert {each.name for each in list_options("model/loss")} == CLOSED_FORMS.keys()


@pytest.mark.parametrize(
    ("loss", "discriminator", "generator"),
    [
        (adversarial.NonSaturating(), *CLOSED_FORMS["non_saturating"]),
        (
            adversarial.NonSaturating(smoothing=0.1),
            SMOOTHED - mean(log_sigmoid(-0.3), log_sigmoid(1.7)),
            CLOSED_FORMS["non_saturating"][1],
        ),
        (adversarial.Saturating(), *CLOSED_FORMS["saturating"]),
        (adversarial.Hinge(), *CLOSED_FORMS["hinge"]),
        (adversarial.Wasserstein(), *CLOSED_FORMS["wasserstein"]),
        (adversarial.LeastSquares(), *CLOSED_FORMS["least_squares"]),
        (adversarial.Relativistic(), *CLOSED_FORMS["relativistic"]),
    ],
)
def test_losses_have_their_closed_form(loss, discriminator, generator):
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(discriminator, rel=1e-6)
    real = REAL if loss.relativistic else None
    assert loss.generator(real, FAKE).item() == pytest.approx(generator, rel=1e-6)


class Quadratic:
    """D(x) = a . x + |x|^2 / 2, whose gradient is a + x."""

    a = torch.tensor([1.0, -2.0, 0.5, 3.0]).view(1, 1, 2, 2)

    def __call__(self, images, labels=None):
        return (self.a * images).flatten(1).sum(1) + images.square().flatten(1).sum(1) / 2


def game(logits: bool = False) -> tuple[Players, Round]:
    torch.manual_seed(0)
    real, fake = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2)
    judge = Quadratic()
    round = Round(real, fake, torch.randn(3, 4))
    if logits:
        real, fake = real.requires_grad_(), fake.requires_grad_()
        round = Round(real, fake, round.latent, None, judge(real)[:, None], judge(fake)[:, None])
    return Players(lambda latent, labels: latent.view(-1, 1, 2, 2) * 2, judge), round


class TestPenalties:
    @pytest.mark.parametrize("shared", [False, True])
    @pytest.mark.parametrize(("penalty", "side"), [(penalties.R1, "real"), (penalties.R2, "fake")])
    def test_gradient_at_a_side(self, penalty, side, shared):
        players, round = game(logits=shared)
        expected = 0.5 * (Quadratic.a + getattr(round, side)).square().flatten(1).sum(1).mean()
        torch.testing.assert_close(penalty(1.0)(players, round), expected)

    def test_one_centered_between_the_sides(self):
        players, round = game()
        torch.manual_seed(1)
        share = torch.rand(3, 1, 1, 1)
        between = round.real + share * (round.fake - round.real)
        norms = (Quadratic.a + between).flatten(1).norm(dim=1)
        torch.manual_seed(1)
        value = penalties.GradientPenalty(10.0)(players, round)
        torch.testing.assert_close(value, (norms - 1).square().mean())

    def test_one_centered_around_real_images(self):
        players, round = game()
        torch.manual_seed(1)
        around = round.real + 0.5 * round.real.std(correction=0) * torch.rand_like(round.real)
        norms = (Quadratic.a + around).flatten(1).norm(dim=1)
        torch.manual_seed(1)
        torch.testing.assert_close(penalties.DRAGAN(10.0)(players, round), (norms - 1).square().mean())

    def test_gradient_of_a_flat_discriminator_is_finite(self):
        weight = torch.zeros(4, requires_grad=True)
        players = Players(None, lambda images, labels: images.flatten(1) @ weight)
        _, round = game()
        penalties.GradientPenalty(1.0)(players, round).backward()
        assert weight.grad.isfinite().all()

    def test_lecam_pulls_to_the_other_sides_mean(self):
        players, round = game(logits=True)
        penalty = penalties.LeCam(1.0, decay=0.0)  # the anchors are this round's means
        real, fake = round.real_logits, round.fake_logits
        expected = (real - fake.mean()).square().mean() + (fake - real.mean()).square().mean()
        torch.testing.assert_close(penalty(players, round), expected)
        torch.testing.assert_close(penalty.anchors, torch.stack([real.mean(), fake.mean()]).detach())

    def test_consistency_moves_by_whole_pixels(self):
        torch.manual_seed(0)
        penalty = penalties.Consistency(1.0, shift=3)
        images = torch.arange(48.0).view(1, 1, 6, 8).expand(64, -1, -1, -1)
        moved = penalty.moved(images)
        assert set(moved.unique().tolist()) <= set(images.unique().tolist())
        down = (moved[:, 0, 3, 0] // 8 - 3).unique().tolist()
        assert set(down) == {-3, -2, -1, 0, 1, 2}  # 3 further down is the border again

    def test_latent_penalties(self):
        players, round = game(logits=True)
        torch.manual_seed(1)
        near = players.generator(round.latent + 0.1 * torch.randn_like(round.latent), None)
        torch.manual_seed(1)
        value = penalties.LatentConsistency(1.0, step=0.1)(players, round)
        torch.testing.assert_close(value, (players.discriminator(near) - round.fake_logits).square().mean())
        torch.manual_seed(1)
        value = penalties.LatentDiversity(1.0, step=0.1)(players, round)
        torch.testing.assert_close(value, -(near - round.fake).square().mean())

    def test_factor_makes_up_for_lazy_steps_and_follows_the_schedule(self):
        penalty = penalties.R1(2.0, every=16, schedule=lambda seen, total: 1 - seen / total)
        assert [step for step in range(40) if penalty.is_due(step)] == [0, 16, 32]
        assert penalty.factor(25, 100) == pytest.approx(2 * 16 * 0.75)


class Encoder(nn.Module):
    def __init__(self, image_shape, out_dim, condition_dim=0):
        super().__init__()
        self.layer = nn.Linear(math.prod(image_shape) + condition_dim, out_dim)

    def forward(self, images, *condition):
        return self.layer(torch.cat([images.flatten(1), *condition], 1))


class Decoder(nn.Module):
    calls = 0

    def __init__(self, in_dim, image_shape, condition_dim=0):
        super().__init__()
        self.shape = image_shape
        self.layer = nn.Linear(in_dim + condition_dim, math.prod(image_shape))

    def forward(self, latent, *condition):
        Decoder.calls += 1
        return self.layer(torch.cat([latent, *condition], 1)).unflatten(1, self.shape)


def tiny_gan(model=GAN, num_classes=None, **changes) -> GAN:
    torch.manual_seed(0)
    game = {
        "generator": Decoder,
        "discriminator": Encoder,
        "loss": adversarial.NonSaturating(),
        "conditioning": PlainDiscriminator,
        "penalty": {},
        "augment": None,
        "latent_dim": 3,
        "label_dim": 2,
        "output": "none",
        "optimizer": partial(SGD, lr=0.1),
        "discriminator_optimizer": partial(SGD, lr=0.1),
        "generator_every": 1,
        "weight_clip": None,
        "spectral_norm": [],
        "init_std": None,
        "conditional": num_classes is not None,
    }
    gan = model((1, 2, 2), num_classes, **game | changes)
    gan.setup_parts()
    return started(gan)


def started(gan: GAN) -> GAN:
    """Ready to step without a trainer."""
    gan.trainer = SimpleNamespace(max_images=1000, precision_plugin=SimpleNamespace(scaler=None), world_size=1)
    gan.configure_optimizers()
    return gan


def batch(n: int = 6, classes: int | None = None, size: int = 2) -> Batch:
    images = torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
    return Batch(images, None if classes is None else torch.arange(n) % classes)


def weights(part: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in part.parameters()]).clone()


def gradients_at_steps(gan: GAN, monkeypatch) -> list[tuple[int, list[bool]]]:
    """Filled as the players step: which stepped, and whether the generator and the discriminator had gradients."""
    turns = []
    for index, stepper in enumerate(gan.steppers):
        original = stepper.step

        def spied(*progress, index=index, original=original):
            parts = gan.generator, gan.discriminator
            turns.append((index, [any(p.grad is not None for p in part.parameters()) for part in parts]))
            original(*progress)

        monkeypatch.setattr(stepper, "step", spied)
    return turns


class TestGame:
    def test_a_step_by_hand(self):
        gan, by_hand = tiny_gan(), tiny_gan()
        data = batch()
        torch.manual_seed(5)
        gan.step(data)
        torch.manual_seed(5)
        generator, discriminator = by_hand.generator, by_hand.discriminator
        latent = torch.randn(6, 3)
        fake = generator(latent).detach()
        loss = F.softplus(-discriminator(data.images)).mean() + F.softplus(discriminator(fake)).mean()
        gradients = torch.autograd.grad(loss, list(discriminator.parameters()))
        with torch.no_grad():
            for p, g in zip(discriminator.parameters(), gradients, strict=True):
                p -= 0.1 * g
        loss = F.softplus(-discriminator(generator(latent))).mean()
        gradients = torch.autograd.grad(loss, list(generator.parameters()))
        with torch.no_grad():
            for p, g in zip(generator.parameters(), gradients, strict=True):
                p -= 0.1 * g
        torch.testing.assert_close(weights(gan.generator), weights(generator))
        torch.testing.assert_close(weights(gan.discriminator), weights(discriminator))

    def test_gradients_reach_only_the_player_that_steps(self, monkeypatch):
        gan = tiny_gan(penalty={"r1": penalties.R1(1.0), "r2": penalties.R2(1.0), "z": penalties.LatentDiversity(0.1)})
        seen = gradients_at_steps(gan, monkeypatch)
        gan.step(batch())
        assert seen == [(1, [False, True]), (0, [True, False])]
        assert all(p.requires_grad for p in gan.parameters())

    def test_one_forward_of_the_generator_serves_both_players(self):
        gan = tiny_gan()
        Decoder.calls = 0
        gan.step(batch())
        assert Decoder.calls == 1

    def test_generator_steps_at_every_nth_batch(self):
        gan = tiny_gan(generator_every=3)
        moved = []
        for number in range(6):
            gan.batches_seen = number
            before = weights(gan.generator), weights(gan.discriminator)
            gan.step(batch())
            after = weights(gan.generator), weights(gan.discriminator)
            moved.append(tuple(not torch.equal(b, a) for b, a in zip(before, after, strict=True)))
        assert moved == [(False, True), (False, True), (True, True)] * 2

    def test_accumulation_gives_the_gradient_of_the_whole_batch(self):
        # Constant latents: what is drawn differs between one part and several.
        class Fixed(GAN):
            def latent(self, n):
                return torch.ones(n, self.latent_dim)

        whole, parts = tiny_gan(Fixed), tiny_gan(Fixed, accumulate=3)
        for gan in (whole, parts):
            gan.step(batch())
        torch.testing.assert_close(weights(whole.generator), weights(parts.generator))
        torch.testing.assert_close(weights(whole.discriminator), weights(parts.discriminator))

    def test_weights_are_clipped(self):
        gan = tiny_gan(weight_clip=0.01)
        gan.step(batch())
        assert weights(gan.discriminator).abs().max() <= 0.01
        assert weights(gan.generator).abs().max() > 0.01

    def test_lazy_penalty_comes_at_its_steps(self):
        gan = tiny_gan(penalty={"r1": penalties.R1(1.0, every=4)})
        terms = []
        for number in range(5):
            gan.batches_seen = number
            gan.step(batch())
            terms.append("r1" in gan.terms.flush())
        assert terms == [True, False, False, False, True]

    def test_a_lazy_penalty_logs_its_mean_over_steps(self):
        gan = tiny_gan(penalty={"r1": penalties.R1(2.0, every=4)})
        value = penalties.R1(1.0)(
            Players(None, lambda x, y: gan.discriminator(x)[:, 0]), Round(batch().images, None, None)
        )
        gan.step(batch())
        assert gan.terms.flush()["r1"] == pytest.approx(2 * value.item(), rel=1e-5)

    def test_average_follows_the_generator_when_it_steps(self):
        gan = tiny_gan(generator_every=2, ema_decay=0.5)
        initial = weights(gan.generator)
        assert set(gan.averages) == {"generator"}
        gan.step(batch())
        assert torch.equal(weights(gan.averages["generator"]), initial)
        gan.batches_seen = 1
        gan.step(batch())
        decay = 2 / 11  # of step 1, warming up
        expected = decay * initial + (1 - decay) * weights(gan.generator)
        torch.testing.assert_close(weights(gan.averages["generator"]), expected)

    def test_beta2_follows_its_schedule(self):
        adam = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.9))
        gan = tiny_gan(
            optimizer=adam, discriminator_optimizer=adam, beta2_schedule=lambda seen, total: 1 + seen / total
        )
        gan.images_seen = 50
        gan.prepare()
        for stepper in gan.steppers:
            assert stepper.optimizer.param_groups[0]["betas"] == (0.0, pytest.approx(0.9 * 1.05))

    def test_accuracy_counts_pairs(self):
        gan = tiny_gan()
        terms = gan.losses(batch())
        assert set(terms) == {"discriminator", "generator", "accuracy"}
        assert 0 <= terms["accuracy"] <= 1

    def test_spectral_norm_bounds_every_weight(self):
        gan = tiny_gan(spectral_norm=["discriminator"])
        for _ in range(30):
            gan.discriminate(batch().images, None)
        gan.eval()
        layer = gan.discriminator.encoder.layer
        assert torch.linalg.matrix_norm(layer.weight, 2).item() == pytest.approx(1, abs=1e-3)

    def test_initial_weights(self):
        gan = tiny_gan(init_std=0.02, latent_dim=500)
        assert gan.generator.decoder.layer.weight.std().item() == pytest.approx(0.02, rel=0.05)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"model": partial(InfoGAN, categories=10, continuous=2, information_weight=1.0)}, "latent_dim=3: give 12"),
        ],
    )
    def test_latents_too_small_for_the_codes_are_refused(self, wrong, message):
        with pytest.raises(UserError, match=message):
            tiny_gan(**wrong)

    def test_a_schedule_of_beta2_needs_an_optimizer_that_has_it(self):
        with pytest.raises(UserError, match="SGD has no beta2"):
            tiny_gan(beta2_schedule=lambda seen, total: 1.0).prepare()


class TestConditioning:
    @pytest.mark.parametrize(
        "conditioning",
        [partial(ConcatenatingDiscriminator, label_dim=2), partial(ProjectionDiscriminator, features=5)],
    )
    def test_the_label_changes_the_logit_and_the_image(self, conditioning):
        gan = tiny_gan(num_classes=3, conditioning=conditioning)
        images = batch().images[:1].expand(3, -1, -1, -1)
        labels = torch.arange(3)
        assert len(gan.discriminate(images, labels)[:, 0].unique()) == 3
        assert len(gan.decode(torch.ones(3, 3), labels).unique(dim=0)) == 3

    def test_plain_discriminator_does_not_see_it(self):
        gan = tiny_gan(num_classes=3)
        images = batch().images[:1].expand(3, -1, -1, -1)
        assert len(gan.discriminate(images, torch.arange(3)).unique()) == 1

    def test_projection_by_hand(self):
        judge = ProjectionDiscriminator(Encoder, (1, 2, 2), 3, features=5)
        images, labels = batch().images, batch(classes=3).labels
        features = judge.encoder(images)
        expected = (
            features @ judge.linear.weight[0] + judge.linear.bias + (features * judge.embedding.weight[labels]).sum(1)
        )
        torch.testing.assert_close(judge(images, labels)[:, 0], expected)


# What each GAN plays: its loss, and its penalties with the factors they come in with at the first step.
GAMES = {
    "gan": ("non_saturating", {}),
    "dcgan": ("non_saturating", {}),
    "lsgan": ("least_squares", {}),
    "wgan": ("wasserstein", {}),
    "wgan_gp": ("wasserstein", {"gradient_penalty": 10}),
    "dragan": ("non_saturating", {"dragan": 10}),
    "sngan": ("hinge", {}),
    "cgan_pd": ("hinge", {}),
    "acgan": ("non_saturating", {}),
    "infogan": ("non_saturating", {}),
    "sagan": ("hinge", {}),
    "biggan": ("hinge", {}),
    "stylegan2": ("non_saturating", {"r1": 16 * 1.0, "path_length": 4 * 2.0}),
    "r3gan": ("relativistic", {"r1": 0.5, "r2": 0.5}),
}


def test_no_gan_is_left_out():
    def is_gan(name: str) -> bool:
        path = conf_dir() / "model" / f"{name}.yaml"
        bases = OmegaConf.load(path).get("defaults") if path.is_file() else None
        return bool(bases) and isinstance(bases[0], str) and (bases[0] == "_gan" or is_gan(bases[0]))

    gans = {each.name for each in list_options("model") if is_gan(each.name)}
    assert gans == GAMES.keys() | {"mocogan", "vae_gan"}  # which have tests of their own


@pytest.mark.parametrize("name", GAMES)
def test_each_gan_has_its_objective_and_each_player_its_own_gradients(name, monkeypatch):
    loss, expected_penalties = GAMES[name]
    config = compose([f"model={name}", "model.generator_every=1", "callbacks=[]", "metrics=[]"]).model
    for network in (config.generator, config.discriminator):
        network.update({key: 8 for key in ("width", "largest") if key in network})
    gan = build_model(config, (1, 16, 16), 3)
    judged = {f"{side}_output": logits[:, None] for side, logits in (("real", REAL), ("fake", FAKE))}
    extra = torch.zeros(2, gan.extra_outputs)  # for which guesses of classes and codes are uniform
    judged = {side: torch.cat([output, extra], 1) for side, output in judged.items()}
    round = Round(None, None, gan.latent(2), torch.tensor([0, 1]) if gan.num_classes else None, **judged)
    for player, value in zip(("discriminator", "generator"), CLOSED_FORMS[loss], strict=True):
        terms = getattr(gan, f"{player}_terms")(round)
        assert terms[player].item() == pytest.approx(value, rel=1e-6)
        others = {"acgan": {"class_real", "class_fake", "class"}, "infogan": {"information"}}.get(name, set())
        assert terms.keys() - {player} <= others
    factors = {key: penalty.factor(0, 1000) for key, penalty in gan.penalties.items()}
    assert factors == pytest.approx(expected_penalties)

    turns = gradients_at_steps(started(gan), monkeypatch)
    gan.train()
    gan.step(batch(4, classes=3, size=16))
    assert turns == [(1, [False, True]), (0, [True, False])]
    assert all(p.requires_grad for part in (gan.generator, gan.discriminator) for p in part.parameters())


class TestTruncation:
    def test_is_the_truncated_normal(self):
        latent = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
        values = truncated(latent, 0.5)
        assert values.abs().max() <= 0.5
        # Variance of the normal cut off at ±t: 1 - 2 t phi(t) / (2 Phi(t) - 1)
        density = math.exp(-0.125) / math.sqrt(2 * math.pi)
        variance = 1 - 2 * 0.5 * density / math.erf(0.5 / math.sqrt(2))
        assert values.var().item() == pytest.approx(variance, rel=0.01)

    def test_wide_bound_changes_nothing(self):
        latent = torch.randn(1000, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(truncated(latent, 8.0), latent, rtol=1e-5, atol=1e-5)

    def test_codes_that_are_not_normal_stay_what_they_are(self):
        gan = tiny_gan(partial(InfoGAN, categories=3, continuous=2, information_weight=0.1), latent_dim=8)
        gan.truncation = 0.1
        latent = gan.latent(50)
        assert latent[:, [0, 1, 2, 6, 7]].abs().max() <= 0.1
        assert torch.equal(latent[:, 3:6].sort().values, torch.tensor([0.0, 0, 1]).expand(50, 3))


class TestModels:
    def test_acgan_terms(self):
        gan = tiny_gan(partial(ACGAN, class_weight=0.5), num_classes=3)
        data = batch(classes=3)
        round = gan.discriminator_round(gan.forward_generator(data))
        logits = round.fake_output[:, 1:].log_softmax(1)
        expected = -0.5 * logits[torch.arange(6), data.labels].mean()
        torch.testing.assert_close(gan.generator_terms(round)["class"], expected)
        torch.testing.assert_close(gan.discriminator_terms(round)["class_fake"], expected)
        judged = gan.discriminator_round(round)
        expected = -0.5 * judged.real_output[:, 1:].log_softmax(1)[torch.arange(6), data.labels].mean()
        torch.testing.assert_close(gan.discriminator_terms(judged)["class_real"], expected)

    def test_infogan_codes_and_bound(self):
        model = partial(InfoGAN, categories=3, continuous=2, information_weight=0.1)
        gan = tiny_gan(model, latent_dim=8)
        latent = gan.latent(1000)
        code = latent[:, 3:6]
        assert torch.equal(code.sum(1), torch.ones(1000))
        assert set(code.unique().tolist()) == {0, 1}
        assert code.mean(0).tolist() == pytest.approx([1 / 3] * 3, abs=0.06)
        round = Round(None, None, latent, None, None, torch.zeros(1000, 6))
        # Uniform guesses of the class and zero for the rest: log 3 nats, and half the squared codes.
        expected = 0.1 * (math.log(3) + 0.5 * latent[:, 6:].square().sum(1).mean().item())
        assert gan.information(round)["information"].item() == pytest.approx(expected, rel=1e-5)


class TestCollapseGuard:
    def guard(self, **changes):
        settings = {"n": 8, "least_diversity": 0.1, "most_accuracy": 0.99, "patience": 2, "stop": True}
        return CollapseGuard(**settings | changes)

    def test_a_discriminator_that_wins_ends_the_run_after_its_patience(self):
        guard, gan = self.guard(), tiny_gan()
        for accuracy in (1.0, 0.5, 1.0):
            gan.latest = {"train/accuracy": accuracy}
            guard.on_train_batch_end(None, gan, None, None, 0)
        gan.latest = {"train/accuracy": 1.0}
        with pytest.raises(UserError, match="discriminator wins"):
            guard.on_train_batch_end(None, gan, None, None, 0)

    @pytest.mark.parametrize(
        ("spread", "seen", "collapsed"), [(1.0, 1000, False), (0.01, 1000, True), (0.01, 999, False)]
    )
    def test_samples_that_are_all_alike(self, spread, seen, collapsed, monkeypatch):
        guard, gan = self.guard(), tiny_gan()
        gan.images_seen = seen
        monkeypatch.setattr(gan, "sample", lambda n: spread * torch.randn(n, 1, 2, 2))
        monkeypatch.setattr(gan, "log_dict", lambda *a, **k: None)
        monkeypatch.setattr(gan, "log_now", lambda scalars: None)
        data = SimpleNamespace(batches=lambda split, device, limit: [Batch(torch.randn(8, 1, 2, 2), None)])
        trainer = SimpleNamespace(datamodule=data, world_size=1)
        with pytest.raises(UserError, match="mode collapse") if collapsed else nullcontext():
            guard.on_validation_epoch_end(trainer, gan)
