"""What a training step costs beside those of others: `python scripts/bench_step.py [model] [key=value ...]`.

`tiny`, `tiny_gan`: overhead over a hand-written loop in microseconds of CPU time a step on networks of a few weights,
with default callbacks and averaged weights. Any other name (`vae`, `dcgan`): that model

- in a loop written by hand (`raw`). A GAN's is the one that libraries run: fakes drawn twice, gradients into the
  discriminator in the generator's step, plain Adam;
- as `lightning-gen train` trains it (`ours`), with averaged weights, which the other loops have not; also with compiled
  networks (one player), channels-last weights (GANs), and those in bfloat16 if the processor computes in it;
- in `scripts/rivals.py`: Lightning's defaults, and the trainers of pythae and torchgan where they are installed.

The loops take turns in one process, `rounds=5` times for `steps=N`; medians. All times are CPU times; beside them stand
the FLOPs of a step: a faster loop may compute less. Prints one JSON line.
"""

import json
import logging
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import torch
from lightning.pytorch import Callback
from loops import Finished, Laps, fit, raw_batches, raw_step
from rivals import quietly, rivals_of
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data, build_model, instantiate
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.models.gan import GAN
from lightning_gen.utilities.compat import cpu_computes_in_bfloat16


class Tiny(ImageGenerator):
    """A step that costs next to nothing, with five terms to log."""

    def __init__(self, image_shape, num_classes, **training):
        super().__init__(image_shape, num_classes, **training)
        self.layer = nn.Linear(8, 1)

    def losses(self, batch):
        loss = self.layer(batch.images.flatten(1)).square().mean()
        return {"loss": loss, "a": loss, "b": loss, "c": loss, "d": loss}

    def sample(self, n, labels=None):
        return torch.zeros(n, *self.image_shape)


class Stopwatch(Callback):
    """CPU seconds a step after a warm-up, and FLOPs a step of the first call."""

    def __init__(self, warm_up: int, steps: int):
        self.warm_up, self.steps = warm_up, steps
        self.first, self.start = 0, 0.0  # steps taken when the clock started
        self.seconds: float | None = None
        self.flops, self.counter = 0.0, FlopCounterMode(display=False)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.counter.__enter__()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        seen = pl_module.batches_seen
        if batch_idx == 0:
            self.counter.__exit__(None, None, None)
            self.flops = self.counter.get_total_flops() / seen
        if not self.first and seen >= self.warm_up:
            self.first, self.start = seen, time.process_time()
        elif self.first and self.seconds is None and seen >= self.warm_up + self.steps:
            self.seconds = (time.process_time() - self.start) / (seen - self.first)


class Measured(NamedTuple):
    """Of a step."""

    seconds: float  # CPU time
    flops: float


def by_hand(model: ImageGenerator, data, warm_up: int, steps: int) -> Measured:
    """A loop written by hand."""
    model.train()
    step, laps = raw_step(model), Laps(warm_up, steps)
    with suppress(Finished):
        for number, batch in enumerate(laps.over(raw_batches(data))):
            terms = step(batch)
            if number % 50 == 0:
                {name: term.item() for name, term in terms.items()}
    return Measured(laps.seconds, laps.flops)


def by_rival(train, model: ImageGenerator, data, warm_up: int, steps: int) -> Measured:
    """The loop of another library."""
    laps = Laps(warm_up, steps)
    quietly(train, model, data, laps)
    return Measured(laps.seconds, laps.flops)


def ours(config, model, data, warm_up: int, steps: int, **trainer) -> Measured:
    """`lightning-gen train` with its default callbacks, and weights averaged as by default."""
    stopwatch = Stopwatch(warm_up, steps)
    images = (warm_up + steps + 2 * config.trainer.steps_per_call) * data.batch_size
    fit(config, model, data, stopwatch, images, **trainer)
    assert stopwatch.seconds is not None
    return Measured(stopwatch.seconds, stopwatch.flops)


def tiny_game(config) -> GAN:
    """A GAN with a few weights."""

    class Vector(nn.Linear):
        def __init__(self, in_dim, image_shape):
            super().__init__(in_dim, 8)

        def forward(self, input):
            return super().forward(input).view(-1, 1, 2, 4)

    class Scalar(nn.Linear):
        def __init__(self, image_shape, out_dim):
            super().__init__(8, out_dim)

        def forward(self, input):
            return super().forward(input.flatten(1))

    model = build_model({**config.model, "latent_dim": 8, "init_std": None}, (1, 2, 4), None)
    assert isinstance(model, GAN)
    model.generator.decoder, model.discriminator.encoder = Vector(8, None), Scalar(None, 1)
    model.setup_parts()  # averages of the new weights
    return model


def competitors(config, data, make: Callable[..., ImageGenerator], tiny: bool, warm_up: int, steps: int) -> tuple:
    """The loops to time, by name, and those of libraries that are not installed."""
    times = data, warm_up, steps
    game = isinstance(make(), GAN)
    loops = {"raw": lambda: by_hand(make(), *times), "ours": lambda: ours(config, make(), *times)}
    if tiny:
        return loops, []
    others, missing = rivals_of(make())
    loops |= {name: partial(lambda train: by_rival(train, make(), *times), train) for name, train in others.items()}
    last = {"channels_last": True}
    if game:
        loops["channels_last"] = lambda: ours(config, make(), *times, **last)
    else:
        loops["compiled"] = lambda: ours(config, make(compiled=True), *times)
    if cpu_computes_in_bfloat16():
        loops["bf16"] = lambda: ours(config, make(), *times, precision="bf16-mixed", **last)
    return loops, missing


def main(name: str = "tiny", *overrides: str) -> None:
    """Measure and print."""
    for noisy in ("lightning.pytorch", "lightning_gen"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    name = name.removeprefix("model=")
    tiny = name in ("tiny", "tiny_gan")
    chosen = ["data/augment=[none]"]  # no loop augments: what is compared is the loop
    chosen += ["data=fake", "data.image_shape=[1,2,4]", "data.batch_size=8", "data.num_classes=null"] if tiny else []
    chosen += {"tiny": [], "tiny_gan": ["model=gan"]}.get(name, [f"model={name}"])
    own = {
        key: int(value) for key, _, value in (each.partition("=") for each in overrides) if key in ("rounds", "steps")
    }
    config = compose([*chosen, *(each for each in overrides if each.partition("=")[0] not in own)])
    data = build_data(config.data)

    def make(compiled: bool = False) -> ImageGenerator:
        if name == "tiny":
            model = Tiny(data.image_shape, data.num_classes, optimizer=instantiate(config.model.optimizer))
            model.setup_parts()
            return model
        if name == "tiny_gan":
            return tiny_game(config)
        return build_model({**config.model, "compile": compiled}, data.image_shape, data.num_classes)

    warm_up, steps = (200, 2000) if tiny else (5, 40) if isinstance(make(), GAN) else (30, 200)
    rounds, steps = own.get("rounds", 5), own.get("steps", steps)
    loops, missing = competitors(config, data, make, tiny, warm_up, steps)
    results: dict[str, list[Measured]] = {key: [] for key in loops}
    for _ in range(rounds):
        for key, measure in loops.items():
            results[key].append(measure())
    seconds = {key: statistics.median(each.seconds for each in rows) for key, rows in results.items()}
    line = {"bench": "step", "model": name, "threads": torch.get_num_threads(), "rounds": rounds, "steps": steps}
    line |= {"steps_per_call": config.trainer.steps_per_call, "batch_size": data.batch_size}
    line |= {f"{key}_us": round(value * 1e6, 1) for key, value in seconds.items()}
    if tiny:
        line["overhead_us"] = round((seconds["ours"] - seconds["raw"]) * 1e6, 1)
    else:
        line |= {f"{key}_gflop": round(rows[0].flops / 1e9, 3) for key, rows in results.items()}
        line |= {f"{key}_images_per_second": round(data.batch_size / value) for key, value in seconds.items()}
        line |= {f"{key}_over_raw": round(seconds["raw"] / seconds[key], 3) for key in loops if key != "raw"}
        line |= {f"{key}": "not installed" for key in missing}
        line |= {} if "bf16" in loops else {"bf16": "this processor has no bfloat16"}
    print(json.dumps(line))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
