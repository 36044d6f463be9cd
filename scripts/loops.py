"""Training loops to compare: those that one would write by hand, and ours, as `lightning-gen train` runs it."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import count
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lightning_gen.batch import Batch
from lightning_gen.config.instantiation import instantiate
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.source import TensorSource
from lightning_gen.image_generator import UNBOUNDED, ImageGenerator
from lightning_gen.losses.penalties import Penalty, Player, Players, Round, logits_of
from lightning_gen.models.gan import GAN
from lightning_gen.training.run import build_trainer, use_channels_last

Step = Callable[[Batch], dict[str, Tensor]]  # one step of an optimizer, or of both players; its terms
Contexts = Callable[[], AbstractContextManager[Any]]


class Finished(Exception):
    """Ends a training loop at its last batch: what libraries do after an epoch is no part of a step."""


class Laps:
    """Times a training loop by the batches that it asks for: `seconds` of CPU time a step, and `flops` of one step."""

    def __init__(self, warm_up: int, steps: int):
        self.warm_up, self.steps = warm_up, steps
        self.number = warm_up + steps + 1  # of batches, the last of which is asked for only
        self.seconds, self.flops = 0.0, 0

    def over(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches. The second one's step is counted, all after the warm-up are timed; then raises `Finished`."""
        counter, start = FlopCounterMode(display=False), 0.0
        for number, batch in enumerate(batches):
            if number == 1:
                counter.__enter__()
            if number == 2:
                counter.__exit__(None, None, None)
                self.flops = counter.get_total_flops()
            if number == self.warm_up:
                start = time.process_time()
            if number == self.number - 1:
                self.seconds = (time.process_time() - start) / self.steps
                raise Finished
            yield batch


def raw_batches(data: ImageData, device: torch.device | str = "cpu") -> Iterator[Batch]:
    """Batches without end, from images that are on the device."""
    source = data.sources["train"]
    assert isinstance(source, TensorSource)
    source = source.to(torch.device(device))
    images, labels = source.images, source.labels
    order = torch.randperm(len(images)).to(device)
    for step in count():
        first = step * data.batch_size % (len(images) - data.batch_size)
        index = order[first : first + data.batch_size]
        yield Batch(images.index_select(0, index).float() / 127.5 - 1, None if labels is None else labels[index])


def raw_step(model: ImageGenerator, autocast: Contexts = nullcontext, **optimizer: Any) -> Step:
    """A step on the loss of a model; `optimizer` are settings to add to its own."""
    if isinstance(model, GAN):
        return raw_game(model, autocast, **optimizer)
    stepped = model.make_optimizer([p for p in model.parameters() if p.requires_grad], **optimizer)

    def step(batch: Batch) -> dict[str, Tensor]:
        stepped.zero_grad()
        with autocast():
            terms = model.losses(batch)
        terms["loss"].backward()
        stepped.step()
        return terms

    return step


def raw_game(model: GAN, autocast: Contexts = nullcontext, **optimizer: Any) -> Step:
    """A step of both players as most libraries write it.

    Images are generated twice, the generator's step computes gradients of the discriminator too, Adam is plain.
    """
    generator, discriminator, loss = model.generator, model.discriminator, model.loss
    adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.99), **optimizer)
    generator_optimizer, discriminator_optimizer = adam(generator.parameters()), adam(discriminator.parameters())
    applied = [each for each in model.penalties.values() if isinstance(each, Penalty)]
    steps = count()

    def logits(images: Tensor, labels: Tensor | None = None) -> Tensor:
        return logits_of(discriminator(images, labels))

    def penalties(player: Player, number: int, round_: Round) -> Tensor | int:
        due = [each for each in applied if each.player == player and each.is_due(number)]
        with torch.autocast(round_.real.device.type, enabled=False):
            return sum(each(Players(generator, logits), round_) * each.factor(0, UNBOUNDED) for each in due)

    def step(batch: Batch) -> dict[str, Tensor]:
        number, real = next(steps), batch.images
        with autocast():
            latent = model.latent(len(real))
            fake = generator(latent).detach()
            first = loss.discriminator(logits(real), logits(fake))
            first = first + penalties("discriminator", number, Round(real, fake, latent))
        discriminator_optimizer.zero_grad()
        first.backward()
        discriminator_optimizer.step()
        if number % model.generator_every != model.generator_every - 1:
            return {"discriminator": first}
        with autocast():
            latent = model.latent(len(real))
            fake = generator(latent)
            second = loss.generator(logits(real) if loss.relativistic else None, logits(fake))
            second = second + penalties("generator", number // model.generator_every, Round(real, fake, latent))
        generator_optimizer.zero_grad()
        second.backward()
        generator_optimizer.step()
        return {"discriminator": first, "generator": second}

    return step


def fit(config: Any, model: ImageGenerator, data: ImageData, callback: Callback, images: int, **trainer: Any) -> None:
    """Train for `images` with the callbacks of the config, none of which interrupts, in a folder that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        config = config.copy()
        config.trainer.update(trainer)
        config.logger.csv.folder = config.run_dir = folder
        config.trainer.max_images = images
        config.trainer.validate_every_images = 10**9
        for name in config.callbacks:
            settings = config.callbacks[name]
            if "every_images" in settings:
                settings.every_images = 10**9
            if "folder" in settings:
                settings.folder = folder
        fitted = build_trainer(config, data, [instantiate(config.logger.csv)])
        fitted.callbacks.insert(0, callback)  # pyrefly: ignore[missing-attribute]  # set by Lightning's connector
        if fitted.channels_last:
            use_channels_last(model)
        fitted.fit(model, datamodule=data)
