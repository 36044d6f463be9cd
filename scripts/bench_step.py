"""What a training step costs over a hand-written loop: `python scripts/bench_step.py [model] [key=value ...]`.

`tiny`, `tiny_gan`: overhead in microseconds of CPU time a step on networks of a few weights, with default callbacks.
Any other name (`vae`, `dcgan`): images/s of that model against the raw loop. One player: also with compiled networks.
A GAN: the raw loop is the one that libraries run (fakes drawn twice, gradients into the discriminator in the
generator's step, plain Adam); also with channels-last weights, and those in bfloat16 if the processor computes in it.
The loops take turns in one process; medians. Prints one JSON line.
"""

import json
import statistics
import sys
import time
from itertools import islice

import torch
from lightning.pytorch import Callback
from loops import fit, raw_batches, raw_step
from torch import nn

from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data, build_model, instantiate
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.models.gan import GAN


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
    """CPU and wall seconds a step, after a warm-up."""

    def __init__(self, warm_up: int, steps: int):
        self.warm_up, self.steps = warm_up, steps
        self.first = 0  # steps taken when the clock started
        self.start: tuple[float, float] | None = None
        self.seconds: tuple[float, float] | None = None  # CPU and wall, a step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        seen = pl_module.batches_seen
        if self.start is None and seen >= self.warm_up:
            self.first, self.start = seen, now()
        elif self.start is not None and self.seconds is None and seen >= self.warm_up + self.steps:
            self.seconds = since(self.start, seen - self.first)


def now() -> tuple[float, float]:
    """CPU and wall clocks in seconds."""
    return time.process_time(), time.perf_counter()


def since(start: tuple[float, float], steps: int) -> tuple[float, float]:
    """CPU and wall seconds a step since `start`."""
    cpu, wall = now()
    return (cpu - start[0]) / steps, (wall - start[1]) / steps


def by_hand(model: ImageGenerator, data, warm_up: int, steps: int) -> tuple[float, float]:
    """CPU and wall seconds a step of a loop written by hand."""
    model.train()
    step, start = raw_step(model), now()
    for number, batch in enumerate(islice(raw_batches(data), warm_up + steps)):
        if number == warm_up:
            start = now()
        terms = step(batch)
        if number % 50 == 0:
            {name: term.item() for name, term in terms.items()}
    return since(start, steps)


def ours(config, model, data, warm_up: int, steps: int, **trainer) -> tuple[float, float]:
    """CPU and wall seconds a step of `lightning-gen train` with its default callbacks."""
    stopwatch = Stopwatch(warm_up, steps)
    images = (warm_up + steps + 2 * config.trainer.steps_per_call) * data.batch_size
    fit(config, model, data, stopwatch, images, **trainer)
    assert stopwatch.seconds is not None
    return stopwatch.seconds


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
    return model


def main(name: str = "tiny", *overrides: str) -> None:
    """Measure and print."""
    import logging

    for noisy in ("lightning.pytorch", "lightning_gen"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    name = name.removeprefix("model=")
    tiny = name in ("tiny", "tiny_gan")
    # Neither loop augments or averages weights: what is compared is the loop.
    chosen = ["data/augment=[none]", "model.ema_decay=null"]
    chosen += ["data=fake", "data.image_shape=[1,2,4]", "data.batch_size=8", "data.num_classes=null"] if tiny else []
    chosen += {"tiny": [], "tiny_gan": ["model=gan"]}.get(name, [f"model={name}"])
    config = compose([*chosen, *overrides])
    data = build_data(config.data)

    def make(compiled: bool = False):
        if name == "tiny":
            model = Tiny(data.image_shape, data.num_classes, optimizer=instantiate(config.model.optimizer))
            model.setup_parts()
            return model
        if name == "tiny_gan":
            return tiny_game(config)
        return build_model({**config.model, "compile": compiled}, data.image_shape, data.num_classes)

    game = isinstance(make(), GAN)
    warm_up, steps, rounds = (200, 2000, 5) if tiny else (5, 40, 5) if game else (30, 200, 5)
    rivals = {
        "raw": lambda: by_hand(make(), data, warm_up, steps),
        "ours": lambda: ours(config, make(), data, warm_up, steps),
    }
    if game and not tiny:
        last = {"channels_last": True}
        rivals["channels_last"] = lambda: ours(config, make(), data, warm_up, steps, **last)
        if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported():
            rivals["bf16"] = lambda: ours(config, make(), data, warm_up, steps, precision="bf16-mixed", **last)
    elif not tiny:
        rivals["compiled"] = lambda: ours(config, make(compiled=True), data, warm_up, steps)
    results: dict[str, list[tuple[float, float]]] = {key: [] for key in rivals}
    for _ in range(rounds):
        for key, measure in rivals.items():
            results[key].append(measure())
    cpu = {key: statistics.median(r[0] for r in rows) for key, rows in results.items()}
    wall = {key: statistics.median(r[1] for r in rows) for key, rows in results.items()}
    line = {"bench": "step", "model": name, "threads": torch.get_num_threads(), "rounds": rounds}
    line["steps_per_call"] = config.trainer.steps_per_call
    line |= {f"{key}_us": round(value * 1e6, 1) for key, value in cpu.items()}
    if tiny:
        line["overhead_us"] = round((cpu["ours"] - cpu["raw"]) * 1e6, 1)
    else:
        line |= {f"{key}_images_per_second": round(data.batch_size / value) for key, value in wall.items()}
        line |= {f"{key}_over_raw": round(cpu["raw"] / cpu[key], 3) for key in rivals if key != "raw"}
    print(json.dumps(line))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
