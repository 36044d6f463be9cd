"""Generative adversarial networks: the game of two players, written once, https://arxiv.org/abs/1406.2661."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import reduce
from operator import add
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normalized
from torch.optim import Optimizer

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeInt, PositiveFloat, PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.penalties import Penalty, Players, Round, logits_of
from lightning_gen.models.truncation import truncated
from lightning_gen.networks.players import Generator
from lightning_gen.optim.schedules import Schedule, cheap
from lightning_gen.utilities.compat import clamp_each
from lightning_gen.utilities.suggestions import did_you_mean

PLAYERS = ("generator", "discriminator")
WEIGHTED = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Embedding)
NORMALISING = (nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm2d)


class GAN(ImageGenerator):
    """Two players by turns on each batch; a model adds terms to what either minimizes, and the base does the rest.

    `generator(in_dim, image_shape)` and `discriminator(image_shape, out_dim)` are networks completed here. A sum of
    `discriminator_terms` and the penalties on it is minimized first, then, on the same generated images, that of
    `generator_terms`; each player's gradients reach its own weights only.

    - `loss`: the objective, `loss.discriminator(real, fake)` and `loss.generator(real, fake)` of logits.
    - `conditioning(encoder, image_shape, num_classes, extra)` makes the discriminator see labels.
    - `penalty`: penalties by name. `augment`: what both sides' images go through before the discriminator.
    - `generator_every`: the generator steps once in so many batches, the discriminator at each.
    - `weight_clip` bounds the discriminator's weights; `spectral_norm` names parts whose weights are normalized by it;
      `init_std` draws all initial weights from a normal distribution.
    - `beta2_schedule(images_seen, total_images)` scales Adam's second momentum.
    """

    averaged_parts = ("generator",)
    compiled_parts = ("generator", "discriminator")
    validation_loss = False
    extra_outputs = 0  # what else than the logit the discriminator predicts

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        loss: Any,
        conditioning: Callable[..., nn.Module],
        penalty: dict[str, Penalty | None],
        augment: nn.Module | dict | None,
        latent_dim: PositiveInt,
        label_dim: NonNegativeInt,
        output: Literal["tanh", "none"],
        discriminator_optimizer: Callable[..., Optimizer],
        generator_every: PositiveInt,
        weight_clip: PositiveFloat | None,
        spectral_norm: list[str],
        init_std: PositiveFloat | None,
        beta2_schedule: Schedule | None = None,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        check_parts(spectral_norm)
        self.latent_dim = latent_dim
        self.generator = self.make_generator(generator, label_dim, output)
        self.discriminator = self.make_discriminator(discriminator, conditioning)
        self.loss = loss
        self.penalties = nn.ModuleDict({name: each for name, each in penalty.items() if each is not None})
        self.augment = augment or None  # augment=none is an empty mapping
        self.make_discriminator_optimizer = discriminator_optimizer
        self.generator_every = generator_every
        self.weight_clip = weight_clip
        self.beta2_schedule = cheap(beta2_schedule)
        self.truncation: float | None = None  # of samples only
        if init_std is not None:
            draw_weights(self.generator, init_std)
            draw_weights(self.discriminator, init_std)
        for part in spectral_norm:
            normalize_spectrally(getattr(self, part))

    # What a model may change.

    def make_generator(self, decoder: Callable[..., nn.Module], label_dim: int, output: str) -> nn.Module:
        """The generator, called with latents and labels."""
        return Generator(decoder, self.latent_dim, self.image_shape, self.num_classes, label_dim, output)

    def make_discriminator(
        self, encoder: Callable[..., nn.Module], conditioning: Callable[..., nn.Module]
    ) -> nn.Module:
        """The discriminator, called with images and labels."""
        return conditioning(encoder, self.image_shape, self.num_classes, self.extra_outputs)

    def latent(self, n: int) -> Tensor:
        """Draw `(n, d)` from the prior; what is normal of it is truncated if `truncation` is set."""
        return self.noise(n, self.latent_dim)

    def noise(self, n: int, dim: int) -> Tensor:
        """Draw `(n, dim)` normal values, truncated if `truncation` is set."""
        noise = torch.randn(n, dim, device=self.device)
        return noise if self.truncation is None else truncated(noise, self.truncation)

    def discriminator_terms(self, round: Round) -> dict[str, Tensor]:
        """What the discriminator minimizes the sum of."""
        return {"discriminator": self.loss.discriminator(round.real_logits, round.fake_logits)}

    def generator_terms(self, round: Round) -> dict[str, Tensor]:
        """What the generator minimizes the sum of; `real_output` is there for relativistic losses only."""
        return {"generator": self.loss.generator(round.real_logits, round.fake_logits)}

    # The game.

    def step(self, batch: Batch) -> None:
        """The discriminator's step, and the generator's if it is its turn."""
        of_generator = self.batches_seen % self.generator_every == self.generator_every - 1
        parts = list(self.parts_of(batch))
        share = 1 / len(parts)
        # One forward serves both players; in parts it doesn't, since the graph of every part would be kept.
        shared = of_generator and len(parts) == 1
        for part in parts:
            with torch.set_grad_enabled(shared):
                round_ = self.play(part)
            self._turn("discriminator", self.discriminator_round(round_), share)
        self._step("discriminator")
        if not of_generator:
            return
        with self.frozen_discriminator():
            for part in parts:
                self._turn("generator", self.generator_round(round_ if shared else self.play(part)), share)
        self._step("generator")
        self.update_averages(*self.averages)

    def play(self, batch: Batch) -> Round:
        """A round with generated images for the batch's labels."""
        labels = batch.labels if self.num_classes else None
        latent = self.latent(len(batch.images))
        return Round(batch.images, self.generator(latent, labels), latent, labels)

    def discriminator_round(self, round: Round) -> Round:
        """Both sides judged; with a graph to the images that a penalty of this step differentiates by."""
        wanted = set()
        if not self.twice_differentiable_apart:
            wanted = {side for each in self.due("discriminator").values() for side in each.differentiates}
        real = round.real.detach().requires_grad_("real" in wanted)
        fake = round.fake.detach().requires_grad_("fake" in wanted)
        outputs = {"real_output": self.judge(real, round.labels), "fake_output": self.judge(fake, round.labels)}
        return round._replace(real=real, fake=fake, **outputs)

    def generator_round(self, round: Round) -> Round:
        """The generated side judged; the real one too if the loss compares them."""
        real_output = None
        if self.loss.relativistic:
            with torch.no_grad():
                real_output = self.judge(round.real, round.labels)
        return round._replace(real_output=real_output, fake_output=self.judge(round.fake, round.labels))

    def judge(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """What the discriminator says of images `(B, 1 + extra)`, which it sees augmented."""
        return self.discriminator(images if self.augment is None else self.augment(images), labels)

    @property
    def twice_differentiable_apart(self) -> bool:
        """Whether penalties need a forward of their own: compiled code has no second derivatives, 16 bits poor ones."""
        return "discriminator" in self.to_compile or torch.is_autocast_enabled(self.device.type)

    def due(self, player: str) -> dict[str, Penalty]:
        """The penalties on `player` at this batch."""
        step = self.batches_seen if player == "discriminator" else self.batches_seen // self.generator_every
        return {name: each for name, each in self.penalties.items() if each.player == player and each.is_due(step)}

    def _turn(self, player: str, round: Round, share: float) -> None:
        """The gradients of all that `player` minimizes."""
        terms = self.discriminator_terms(round) if player == "discriminator" else self.generator_terms(round)
        total = reduce(add, terms.values())
        terms = {name: term.detach() for name, term in terms.items()}
        if player == "discriminator":
            terms["accuracy"] = accuracy(round)
            if self.augment is not None and hasattr(self.augment, "adapt"):
                self.augment.adapt(round.real_logits.detach(), len(round.real), self.images_seen, self.total_images)
                terms["augment_strength"] = self.augment.strength.clone()  # it changes in place
        for name, penalty in self.due(player).items():
            value = self._penalty(penalty, round) * penalty.factor(self.images_seen, self.total_images)
            total = total + value
            terms[name] = value.detach() / penalty.every  # the mean over steps, as if it applied at each
        self.steppers[player == "discriminator"].backward(total if share == 1 else total * share)
        self.terms.add(terms, weight=share)

    def _penalty(self, penalty: Penalty, round: Round) -> Tensor:
        players = Players(self.generator, lambda images, labels: logits_of(self.judge(images, labels)))
        if not penalty.double_backward:
            return penalty(players, round)
        eager = torch.compiler.set_stance("force_eager") if self.to_compile else nullcontext()
        with eager, torch.autocast(self.device.type, enabled=False):
            return penalty(players, round)

    def _step(self, player: str) -> None:
        stepper = self.steppers[player == "discriminator"]
        if self.beta2_schedule is not None:
            stepper.set_beta2(self.beta2_schedule(self.images_seen, self.total_images))
        stepper.step(self.images_seen, self.total_images)
        if player == "discriminator" and self.weight_clip is not None:
            with torch.no_grad():
                clamp_each(stepper.parameters, -self.weight_clip, self.weight_clip)

    @contextmanager
    def frozen_discriminator(self) -> Iterator[None]:
        """The generator's turn neither computes nor leaves gradients of the discriminator."""
        parameters = self.steppers[1].parameters
        for parameter in parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)

    def trained(self) -> list[tuple[Callable[..., Optimizer], list[nn.Parameter]]]:
        """The generator's optimizer and weights, then the discriminator's."""
        sides = (self.make_optimizer, self.generator), (self.make_discriminator_optimizer, self.discriminator)
        return [(make, [p for p in part.parameters() if p.requires_grad]) for make, part in sides]

    # What comes of it.

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Both players' terms without penalties: neither is a measure of quality, so none is called `loss`."""
        round_ = self.play(batch)
        outputs = {f"{side}_output": self.judge(getattr(round_, side), round_.labels) for side in ("real", "fake")}
        round_ = round_._replace(**outputs)
        return self.discriminator_terms(round_) | self.generator_terms(round_) | {"accuracy": accuracy(round_)}

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images of latents, labels drawn where the model needs them and none are given."""
        if self.num_classes and labels is None:
            labels = self.draw_labels(len(latent))
        return self.generator(latent, labels).clamp(-1, 1)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Images of latents from the prior, truncated if `truncation` is set."""
        return self.decode(self.latent(n), labels)


def check_parts(spectral_norm: list[str]) -> None:
    """UserError for what is no player."""
    for part in spectral_norm:
        if part not in PLAYERS:
            fix = did_you_mean(part, PLAYERS) or f"; choose of {', '.join(PLAYERS)}"
            raise UserError(f"model.spectral_norm={part}: no such part{fix}")


def accuracy(round: Round) -> Tensor:
    """The share of pairs whose real image has the higher logit: 0.5 is a draw, for any loss."""
    return (round.real_logits > round.fake_logits).float().mean()


def draw_weights(module: nn.Module, std: float) -> None:
    """Initial weights from N(0, `std`), gains of normalizations from N(1, `std`): https://arxiv.org/abs/1511.06434."""
    for each in module.modules():
        if isinstance(each, WEIGHTED):
            nn.init.normal_(each.weight, std=std)
        elif isinstance(each, NORMALISING) and each.weight is not None:
            nn.init.normal_(each.weight, mean=1.0, std=std)


def normalize_spectrally(module: nn.Module) -> None:
    """Divide every weight by its largest singular value, https://arxiv.org/abs/1802.05957."""
    for each in list(module.modules()):
        if isinstance(each, WEIGHTED):
            spectrally_normalized(each)
