"""The VAE family beside pythae's: `python scripts/bench_vae_vs_pythae.py [model ...] [seeds=3] [epochs=N]`.

Models are vae, iwae, vamp, iaf and vqvae; without a name, all. Both libraries train the same networks, of which pythae
has its own fully connected ones by default, on the same dynamically binarized digits of `data=mnist5k`, with batches of
64, Adam and its rate, and the same number of epochs: pythae by its trainer, `ours` as `lightning-gen train` does with
its default callbacks. Each library is a process of its own with one thread, and they take turns. The trained weights
are compared, as pythae averages none; `ours_averaged_nll` is that of our averages, which lag behind in so short runs.

- `nll`: importance-weighted by `samples=64`, in nats, of the test digits, by each library's own code: the mean and the
  standard deviation over seeds. `codes_differ`: the nll of the first seed's model by the other library's code, with
  other samples, less that. Of `vqvae` it is the squared error of gray digits.
- `images_per_second` of CPU time, without the first epoch: the median, and that of the ratios of pairs, `speedup`.
  `peak_mb`: memory of the process, with the first seed.
- `lines`: what a user writes, without imports and empty lines.

Needs pythae (`pip install --no-deps pythae imageio scipy`). Prints one JSON line a model.
"""

import contextlib
import inspect
import io
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor

RATE = 1e-3
BATCH = 64
MLP = [
    "model=mlp_vae",
    *(f"model.{part}.{key}" for part in ("encoder", "decoder") for key in ("width=512", "depth=1", "activation=relu")),
]
GRID = [*(f"model.{part}.width=8" for part in ("encoder", "decoder")), "model/likelihood=mse"]
OURS = {
    "vae": MLP,
    "iwae": [*MLP, "model/objective=iwae", "model.objective.samples=5"],
    "vamp": [*MLP, "model/prior=vamp", "model.prior.components=50"],
    "iaf": [*MLP, "model/posterior=iaf", "model.posterior.context=1"],
    "vqvae": ["model=vqvae", *GRID, "model.quantizer.num_codes=64", "model.quantizer.dim=16"],
}
COMMON = ["data=mnist5k", "data/augment=[none]", f"data.batch_size={BATCH}", "schedule@model.schedule=constant"]
OPTIMIZER = [f"model.optimizer.lr={RATE}", "model.optimizer.betas=[0.9,0.999]", "model.schedule.warmup_images=0"]
EPOCHS = {"vae": 5, "iwae": 3, "vamp": 4, "iaf": 4, "vqvae": 3}


class Clock:
    """CPU seconds of training from the end of the first epoch, and images within them."""

    def __init__(self, epoch: int):
        self.epoch = epoch
        self.marks: list[tuple[int, float]] = []

    def mark(self, images: int) -> None:
        if images >= self.epoch:
            self.marks.append((images, time.process_time()))

    @property
    def images_per_second(self) -> float:
        (first, start), (last, end) = self.marks[0], self.marks[-1]
        return (last - first) / (end - start)


class OurClock(Clock, Callback):
    """Looks at the clock after each batch."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.mark(int(pl_module.images_seen))


def observed(gray: Tensor) -> Tensor:
    """Test digits in [0, 1], binarized once for both libraries."""
    return torch.bernoulli(gray, generator=torch.Generator().manual_seed(0))


def gray_digits(data: Any, split: str) -> Tensor:
    """Images in [0, 1]."""
    return data.sources[split].images.float() / 255


def prepared(name: str, seed: int) -> tuple[Any, Any, Any]:
    """Config, data and our model."""
    from lightning_gen.config.composition import compose
    from lightning_gen.config.instantiation import build_data, build_model
    from lightning_gen.randomness import seed_all

    config = compose([*OURS[name], *COMMON, *OPTIMIZER, f"seed={seed}"])
    data = build_data(config.data)
    seed_all(seed)
    return config, data, build_model(config.model, data.image_shape, data.num_classes)


def our_score(name: str, model: Any, gray: Tensor, samples: int) -> float:
    """Nats a digit; of vqvae the squared error."""
    if name == "vqvae":
        return ((model.reconstruct(gray * 2 - 1) / 2 + 0.5 - gray) ** 2).flatten(1).sum(1).mean().item()
    batches = (observed(gray) * 2 - 1).split(100)
    return -torch.cat([model.log_likelihood(batch, samples=samples) for batch in batches]).mean().item()


def their_score(name: str, model: Any, gray: Tensor, samples: int) -> float:
    """The same by pythae's code."""
    if name == "vqvae":
        return ((model({"data": gray}).recon_x - gray) ** 2).flatten(1).sum(1).mean().item()
    return -float(model.get_nll(observed(gray), n_samples=samples, batch_size=samples))


def ours(name: str, seed: int, epochs: int, samples: int) -> dict[str, Any]:
    """Train and score ours."""
    import loops
    import pythae_models

    config, data, model = prepared(name, seed)
    size, gray = len(data.sources["train"]), gray_digits(data, "test")
    clock, parameters = OurClock(size), count(model)
    loops.fit(config, model, data, clock, epochs * size)
    peak = peak_mb()
    with torch.no_grad():
        result = measured(parameters, clock, peak, our_score(name, model.eval(), gray, samples))
        with model.averaged_weights():
            result["averaged_nll"] = our_score(name, model, gray, samples)
        if name != "vqvae" and not seed:
            other = getattr(pythae_models, name)(**their_sizes(model)).eval()
            pythae_models.put_ours_into(other, model)
            result["by_other"] = their_score(name, other, gray, samples)
    return result


def theirs(name: str, seed: int, epochs: int, samples: int) -> dict[str, Any]:
    """Train and score pythae's."""
    import pythae_models
    from pythae.trainers.training_callbacks import TrainingCallback

    _, data, other = prepared(name, seed)
    gray, test = gray_digits(data, "train"), gray_digits(data, "test")
    clock = Clock(len(gray))

    class TheirClock(TrainingCallback):
        epochs = 0

        def on_epoch_end(self, training_config, **kwargs):
            self.epochs += 1
            clock.mark(self.epochs * len(gray))

    kind = pythae_models.BaseDataset if name == "vqvae" else pythae_models.Binarized
    model = getattr(pythae_models, name)(**({} if name == "vqvae" else their_sizes(other)))
    model = pythae_models.train(model, kind(gray, torch.zeros(len(gray))), epochs, RATE, seed, TheirClock())
    peak = peak_mb()
    with torch.no_grad():
        result = measured(count(model), clock, peak, their_score(name, model, test, samples))
        if name != "vqvae" and not seed:
            pythae_models.put_theirs_into(other.eval(), model)
            result["by_other"] = our_score(name, other, test, samples)
    return result


def their_sizes(model: Any) -> dict[str, Any]:
    """Arguments of all of pythae's configs."""
    return {"input_dim": model.image_shape, "latent_dim": model.latent_dim, "reconstruction_loss": "bce"}


def count(model: Any) -> int:
    """Trainable parameters."""
    return sum(each.numel() for each in model.parameters() if each.requires_grad)


def measured(parameters: int, clock: Clock, peak: float, score: float) -> dict[str, Any]:
    """What both libraries report."""
    speed = clock.images_per_second
    return {"nll": score, "images_per_second": speed, "peak_mb": peak, "parameters": parameters}


def peak_mb() -> float:
    """Most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def lines(name: str) -> dict[str, int]:
    """Lines that a user writes: of pythae the functions for it, of ours one command."""
    import pythae_models

    parts = [getattr(pythae_models, name), pythae_models.train]
    parts += [pythae_models.Encoder, pythae_models.Decoder] if name == "vqvae" else [pythae_models.Binarized]
    code = "\n".join(map(inspect.getsource, parts)).splitlines()
    return {"ours_lines": 1, "pythae_lines": sum(bool(line.strip()) and '"""' not in line for line in code)}


def child(side: str, name: str, *numbers: str) -> None:
    """Train once for each line of the standard input, which is a seed, and print the result as a line."""
    torch.set_num_threads(1)
    for seed in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            result = {"ours": ours, "pythae": theirs}[side](name, int(seed), *map(int, numbers))
        print(json.dumps(result), flush=True)


class Library:
    """A process in which one library trains one model, with one seed after another."""

    def __init__(self, side: str, name: str, *numbers: int):
        self.side, self.name = side, name
        command = [sys.executable, __file__, "--child", side, name, *map(str, numbers)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def train(self, seed: int) -> dict[str, Any]:
        """The result of a training, which is also shown on the standard error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(seed, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("{"):
                print(self.side, self.name, seed, line, end="", file=sys.stderr, flush=True)
                return json.loads(line)
        sys.exit(f"{self.side} {self.name}: ended with status {self.process.wait()}")


def compare(name: str, seeds: int, epochs: int, samples: int) -> dict[str, Any]:
    """The line of one model; which library comes first alternates."""
    libraries = {side: Library(side, name, epochs, samples) for side in ("ours", "pythae")}
    results: dict[str, list[dict[str, Any]]] = {side: [] for side in libraries}
    for seed in range(seeds):
        for side in sorted(libraries, reverse=bool(seed % 2)):
            results[side].append(libraries[side].train(seed))
    for library in libraries.values():
        library.process.communicate()
    line: dict[str, Any] = {"bench": "vae_vs_pythae", "model": name, "seeds": seeds, "epochs": epochs}
    line["ours_averaged_nll"] = statistics.mean(row["averaged_nll"] for row in results["ours"])
    for side, rows in results.items():
        line |= {f"{side}_{key}": rows[0][key] for key in ("parameters", "peak_mb")}
        line[f"{side}_images_per_second"] = statistics.median(row["images_per_second"] for row in rows)
        if "by_other" in rows[0]:
            line[f"{side}_codes_differ"] = rows[0]["by_other"] - rows[0]["nll"]
        scores = [row["nll"] for row in rows]
        line |= {f"{side}_nll": statistics.mean(scores), f"{side}_nll_sd": statistics.pstdev(scores)}
    paired = zip(results["ours"], results["pythae"], strict=True)
    line["speedup"] = statistics.median(a["images_per_second"] / b["images_per_second"] for a, b in paired)
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in line.items()}
    return rounded | lines(name)


def main(arguments: Sequence[str]) -> None:
    """Compare, one line a model."""
    settings = {key: int(value) for key, found, value in (each.partition("=") for each in arguments) if found}
    if settings.get("epochs", 2) < 2:
        sys.exit("epochs: the first one is a warm-up; give at least 2")
    for name in [each for each in arguments if "=" not in each] or OURS:
        seeds, samples = settings.get("seeds", 3), settings.get("samples", 64)
        print(json.dumps(compare(name, seeds, settings.get("epochs", EPOCHS[name]), samples)), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main(sys.argv[1:])
