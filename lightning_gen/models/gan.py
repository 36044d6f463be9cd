"""Generative adversarial networks, https://arxiv.org/abs/1406.2661: the training step of all of them."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext
from functools import reduce
from operator import add
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as spectrally_normalized
from torch.optim import Optimizer

from lightning_gen.batch import Batch
from lightning_gen.bounds import NonNegativeInt, PositiveFloat, PositiveInt
from lightning_gen.errors import UserError
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.losses.adversarial import AdversarialLoss, checked_loss
from lightning_gen.losses.penalties import Penalty, Player, Players, Round, check_penalties, logits_of
from lightning_gen.models.truncation import truncated
from lightning_gen.networks.ada import Adaptive, Prepared
from lightning_gen.networks.players import Generator
from lightning_gen.optim.schedules import Schedule, cheap
from lightning_gen.optim.sharding import local
from lightning_gen.optim.stepper import Stepper
from lightning_gen.utilities.compat import clamp_each

PLAYERS: tuple[Player, ...] = ("generator", "discriminator")  # in the order of their optimizers
WEIGHT_LAYERS = (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Embedding)
NORMALIZATIONS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm2d)


class GAN(ImageGenerator):
    """Base of GANs, whose subclasses add loss terms.

    Each batch first updates the discriminator with the sum of `discriminator_terms` and its penalties, then, on the
    same generated images, the generator with the sum of `generator_terms` and its penalties. Each loss has gradients
    with respect to its own player only.

    - `generator(in_dim, image_shape)`, `discriminator(image_shape, out_dim)`: networks, their sizes are set here.
    - `loss`: adversarial losses of logits, `loss.discriminator(real, fake)` and `loss.generator(real, fake)`.
    - `conditioning(encoder, image_shape, num_classes, extra)`: a discriminator that sees labels.
    - `penalty`: penalties by name. `augment`: module for real and generated images before the discriminator.
    - `generator_every`: number of batches, and so of discriminator updates, per generator update.
    - `weight_clip`: bound of the discriminator's weights. `spectral_norm`: players with spectral normalization.
    - `init_std`: standard deviation of all initial weights; None for those of the networks.
    - `beta2_schedule(images_seen, total_images)` scales beta2 of Adam, the decay of the second moment.
    """

    averaged_parts = ("generator",)
    compiled_parts = ("generator", "discriminator")
    validation_loss = False
    extra_outputs = 0  # outputs of the discriminator after the logit

    def __init__(
        self,
        image_shape: tuple[int, ...],
        num_classes: int | None,
        *,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        loss: AdversarialLoss,
        conditioning: Callable[..., nn.Module],
        penalty: dict[str, Penalty | None],
        augment: nn.Module | dict | None,
        latent_dim: PositiveInt,
        label_dim: NonNegativeInt,
        output: Literal["tanh", "none"],
        discriminator_optimizer: Callable[..., Optimizer],
        generator_every: PositiveInt,
        weight_clip: PositiveFloat | None,
        spectral_norm: list[Player],
        init_std: PositiveFloat | None,
        beta2_schedule: Schedule | None = None,
        **training,
    ):
        super().__init__(image_shape, num_classes, **training)
        if isinstance(augment, dict) and augment:  # augment=none is an empty mapping
            raise UserError(f"model.augment={augment}: names no _target_; choose one with model/augment=NAME")
        self.latent_dim = latent_dim
        self.generator = self.make_generator(generator, label_dim, output)
        self.discriminator = self.make_discriminator(discriminator, conditioning)
        self.loss = checked_loss(loss)
        check_penalties(penalty)
        self.penalties = nn.ModuleDict({name: module for name, module in penalty.items() if module is not None})
        self.augment = None if isinstance(augment, dict) else augment
        self.make_discriminator_optimizer = discriminator_optimizer
        self.generator_every = generator_every
        self.weight_clip = weight_clip
        self.beta2_schedule = cheap(beta2_schedule)
        self.truncation: float | None = None  # of samples only
        if init_std is not None:
            init_weights(self.generator, init_std)
            init_weights(self.discriminator, init_std)
        for player in spectral_norm:
            normalize_spectrally(getattr(self, player))

    # To override.

    def make_generator(self, decoder: Callable[..., nn.Module], label_dim: int, output: str) -> nn.Module:
        """The generator, a function of latents and labels."""
        return Generator(decoder, self.latent_dim, self.image_shape, self.num_classes, label_dim, output)

    def make_discriminator(
        self, encoder: Callable[..., nn.Module], conditioning: Callable[..., nn.Module]
    ) -> nn.Module:
        """The discriminator, a function of images and labels."""
        return conditioning(encoder, self.image_shape, self.num_classes, self.extra_outputs)

    def latent(self, n: int) -> Tensor:
        """Latents `(n, d)` sampled from the prior; Gaussian coordinates are truncated if `truncation` is set."""
        return self.noise(n, self.latent_dim)

    def noise(self, n: int, dim: int) -> Tensor:
        """Gaussian noise `(n, dim)`, truncated if `truncation` is set."""
        noise = torch.randn(n, dim, device=self.device)
        return noise if self.truncation is None else truncated(noise, self.truncation)

    def discriminator_terms(self, round: Round) -> dict[str, Tensor]:
        """Loss terms of the discriminator, by name."""
        return {"discriminator": self.loss.discriminator(round.logits("real"), round.logits("fake"))}

    def generator_terms(self, round: Round) -> dict[str, Tensor]:
        """Loss terms of the generator, by name; `round.real_output` is None unless the loss is relativistic."""
        return {"generator": self.loss.generator(round.real_logits, round.logits("fake"))}

    # Training.

    def step(self, batch: Batch) -> None:
        """Update the discriminator and, every `generator_every` batches, the generator."""
        parts = list(self.parts_of(batch))
        # One forward serves both players, but not with several parts: the graphs of all of them would be kept.
        shared = self.forward_generator(parts[0]) if self.updates_generator and len(parts) == 1 else None
        for part in self.parts_of(batch):
            round_ = self._forward_without_graph(part) if shared is None else shared
            self._backward("discriminator", self.discriminator_round(round_), 1 / len(parts))
        self._step("discriminator")
        if not self.updates_generator:
            return
        with self.frozen_discriminator():
            for part in self.parts_of(batch):
                round_ = self.forward_generator(part) if shared is None else shared
                self._backward("generator", self.generator_round(round_), 1 / len(parts))
        self._step("generator")
        self.update_averages(*self.averages)

    @property
    def updates_generator(self) -> bool:
        """Whether this batch updates the generator, too."""
        return self.batches_seen % self.generator_every == self.generator_every - 1

    def forward_generator(self, batch: Batch) -> Round:
        """A round with images generated for the labels of the batch."""
        labels = batch.labels if self.num_classes else None
        latent = self.latent(len(batch.images))
        return Round(batch.images, self.generator(latent, labels), latent, labels)

    @torch.no_grad()
    def _forward_without_graph(self, batch: Batch) -> Round:
        return self.forward_generator(batch)

    def discriminator_round(self, round: Round) -> Round:
        """The round with both outputs; its images require gradients where a due penalty shares this forward."""
        sides = set()
        if not self.penalties_need_own_forward:
            sides = {side for penalty in self.due("discriminator").values() for side in penalty.differentiates}
        real = round.real.detach().requires_grad_("real" in sides)
        fake = round.fake.detach().requires_grad_("fake" in sides)
        real_output, fake_output = self.discriminate(real, round.labels), self.discriminate(fake, round.labels)
        return round._replace(real=real, fake=fake, real_output=real_output, fake_output=fake_output)

    def generator_round(self, round: Round) -> Round:
        """The round with the output on generated images, and on real ones if the loss is relativistic."""
        real_output = None
        if self.loss.relativistic:
            with torch.no_grad():
                real_output = self.discriminate(round.real, round.labels)
        return round._replace(real_output=real_output, fake_output=self.discriminate(round.fake, round.labels))

    def discriminate(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """Outputs `(B, 1 + extra)` of the discriminator on images, augmented if the model augments."""
        return self.discriminator(images if self.augment is None else self.augment(images), labels)

    @property
    def penalties_need_own_forward(self) -> bool:
        """Whether the discriminator's forward is unfit for double backward: compiled, or in low precision."""
        return "discriminator" in self.to_compile or torch.is_autocast_enabled(self.device.type)

    def due(self, player: Player) -> dict[str, Penalty]:
        """The penalties on `player` at this batch."""
        step = self.batches_seen if player == "discriminator" else self.batches_seen // self.generator_every
        due = {}
        for name, penalty in self.penalties.items():
            assert isinstance(penalty, Penalty)
            if penalty.player == player and penalty.is_due(step):
                due[name] = penalty
        return due

    def objective(self, player: Player, round: Round) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of `player`, the sum of its terms and due penalties, and the values to log."""
        terms = self.discriminator_terms(round) if player == "discriminator" else self.generator_terms(round)
        logs = {name: term.detach() for name, term in terms.items()}
        if player == "discriminator":
            logs |= self._monitor(round)
        total = reduce(add, terms.values())
        for name, penalty in self.due(player).items():
            value = self._penalty(penalty, round) * self._penalty_factor(name, penalty)
            total = total + value
            logs[name] = value.detach() / penalty.every  # the mean over steps, as if it applied at each
        return total, logs

    def _monitor(self, round: Round) -> dict[str, Tensor]:
        """Accuracy of the discriminator and, after its update, the strength of adaptive augmentation."""
        logs = {"accuracy": accuracy(round)}
        if isinstance(self.augment, Adaptive):
            real_logits = round.logits("real").detach()
            self.augment.adapt(real_logits, len(round.real), self.images_seen, self.total_images)
            logs["augment_strength"] = self.augment.strength.clone()  # it changes in place
        return logs

    def _penalty(self, penalty: Penalty, round: Round) -> Tensor:
        players = Players(self.generator, lambda images, labels: logits_of(self.discriminate(images, labels)))
        if not penalty.double_backward:
            return penalty(players, round)
        eager = torch.compiler.set_stance("force_eager") if self.to_compile else nullcontext()
        with eager, torch.autocast(self.device.type, enabled=False):
            return penalty(players, round)

    def _penalty_factor(self, name: str, penalty: Penalty) -> Tensor:
        return self.scheduled(f"penalties.{name}", lambda: penalty.factor(self.images_seen, self.total_images))

    def _backward(self, player: Player, round: Round, fraction: float) -> None:
        """Add the gradients of a part of the batch, `fraction` of it, and log its terms."""
        total, logs = self.objective(player, round)
        self.stepper_of(player).backward(total if fraction == 1 else total * fraction)
        self.terms.add(logs, weight=fraction)

    def stepper_of(self, player: Player) -> Stepper:
        """The stepper of `player`."""
        return self.steppers[PLAYERS.index(player)]

    def prepare(self) -> None:
        """Also set beta2 and the strength of a scheduled augmentation."""
        super().prepare()
        if self.beta2_schedule is not None:
            for stepper in self.steppers:
                stepper.set_beta2(self.beta2_schedule(self.images_seen, self.total_images))
        if isinstance(self.augment, Prepared):
            self.augment.prepare(self.images_seen, self.total_images)

    @property
    def differentiated_twice(self) -> set[str]:
        """The players with gradient penalties."""
        penalties = (penalty for penalty in self.penalties.values() if isinstance(penalty, Penalty))
        return {penalty.player for penalty in penalties if penalty.double_backward}

    def step_variant(self) -> Hashable:
        """The players that are updated, and the due penalties."""
        players = PLAYERS if self.updates_generator else PLAYERS[1:]
        return tuple((player, *self.due(player)) for player in players)

    def _step(self, player: Player) -> None:
        stepper = self.stepper_of(player)
        stepper.step()
        if player == "discriminator" and self.weight_clip is not None:
            with torch.no_grad():
                clamp_each([*map(local, stepper.parameters)], -self.weight_clip, self.weight_clip)

    @contextmanager
    def frozen_discriminator(self) -> Iterator[None]:
        """No gradients with respect to the discriminator within the context."""
        parameters = self.stepper_of("discriminator").parameters
        for parameter in parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)

    def trainable_groups(self) -> list[tuple[Callable[..., Optimizer], list[nn.Parameter]]]:
        """The optimizer and the parameters of the generator, then of the discriminator."""
        players = (self.make_optimizer, self.generator), (self.make_discriminator_optimizer, self.discriminator)
        return [(make, [p for p in network.parameters() if p.requires_grad]) for make, network in players]

    # Validation and samples.

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Terms of both players without penalties; none is called `loss`, as none measures quality."""
        round_ = self.forward_generator(batch)
        real_output = self.discriminate(round_.real, round_.labels)
        fake_output = self.discriminate(round_.fake, round_.labels)
        round_ = round_._replace(real_output=real_output, fake_output=fake_output)
        return self.discriminator_terms(round_) | self.generator_terms(round_) | {"accuracy": accuracy(round_)}

    def decode(self, latent: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents to images; conditional models sample labels if none are given."""
        if self.num_classes and labels is None:
            labels = self.draw_labels(len(latent))
        return self.generator(latent, labels).clamp(-1, 1)

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Images of latents from the prior, truncated if `truncation` is set."""
        return self.decode(self.latent(n), labels)


def accuracy(round: Round) -> Tensor:
    """Fraction of pairs whose real image has the higher logit; 0.5 is chance, whatever the loss."""
    return (round.logits("real") > round.logits("fake")).float().mean()


def init_weights(module: nn.Module, std: float) -> None:
    """Weights from N(0, `std`), gains of normalizations from N(1, `std`): https://arxiv.org/abs/1511.06434."""
    for layer in module.modules():
        if isinstance(layer, WEIGHT_LAYERS):
            nn.init.normal_(layer.weight, std=std)
        elif isinstance(layer, NORMALIZATIONS) and layer.weight is not None:
            nn.init.normal_(layer.weight, mean=1.0, std=std)


def normalize_spectrally(module: nn.Module) -> None:
    """Divide all weights by their largest singular value, https://arxiv.org/abs/1802.05957."""
    for layer in list(module.modules()):
        if isinstance(layer, WEIGHT_LAYERS):
            spectrally_normalized(layer)
