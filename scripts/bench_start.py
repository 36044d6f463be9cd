"""From the start of a process to its first optimizer step: `python scripts/bench_start.py [rounds]`.

- `ours`: `lightning-gen train` with its default model, callbacks, logger and metrics.
- `minimal`: the function of that name below, Hydra and Lightning with the same networks and their defaults, no scores.
- `cfg_job`, `help`: the commands that print the config, and the options; `hydra`: `import hydra` alone.

Each in a process of its own with one thread, in turns; medians of CPU seconds. Prints one JSON line.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
import torch.nn.functional as F
from clocks import seconds_of_children
from hydra.utils import instantiate
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lightning_gen.networks.conv import ConvDecoder, ConvEncoder

ROOT = Path(__file__).resolve().parents[1]
TRAIN = [sys.executable, "-m", "lightning_gen", "train"]
IMAGES = ["data=fake", "data.image_shape=[1,28,28]", "trainer.steps_per_call=1"]
SHAPE = (1, 28, 28)
CONFIG = """
latent_dim: 32
width: 24
depth: 2
hidden: 256
patch: 4
batch_size: 64
optimizer:
  _target_: torch.optim.Adam
  _partial_: true
  lr: 6.0e-3
"""


class ExitAtFirstStep(Callback):
    """Ends the process after its first optimizer step."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        os._exit(0)


class MinimalVAE(LightningModule):
    """A VAE with the networks of `model=vae`, as one would write it."""

    def __init__(self, config: DictConfig):
        super().__init__()
        sizes: dict[str, Any] = {key: config[key] for key in ("width", "depth", "hidden", "patch")} | {"gated": True}
        self.encoder = ConvEncoder(SHAPE, 2 * config.latent_dim, **sizes)
        self.decoder = ConvDecoder(config.latent_dim, SHAPE, **sizes)
        self.make_optimizer = instantiate(config.optimizer)

    def training_step(self, batch: tuple[Tensor], index: int) -> Tensor:
        [images] = batch
        mean, log_var = self.encoder(images).chunk(2, 1)
        logits = self.decoder(mean + (0.5 * log_var).exp() * torch.randn_like(mean))
        reconstruction = F.binary_cross_entropy_with_logits(logits, images, reduction="sum") / len(images)
        kl = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1).mean()
        self.log_dict({"reconstruction": reconstruction, "kl": kl}, prog_bar=True)
        return reconstruction + kl

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(self.parameters())


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def minimal(config: DictConfig) -> None:
    """The script that `ours` is compared with."""
    loader = DataLoader(TensorDataset(torch.rand(256, *SHAPE)), config.batch_size, shuffle=True)
    trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=[ExitAtFirstStep()])
    trainer.fit(MinimalVAE(config), loader)


def cpu_seconds(command: Sequence[str], folder: str) -> float:
    """Of a process, which must succeed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}"}
    before = seconds_of_children()
    subprocess.run(command, check=True, cwd=folder, env=environment, capture_output=True)
    return seconds_of_children() - before


def rivals(folder: str) -> Mapping[str, Sequence[str]]:
    """Commands by name."""
    Path(folder, "config.yaml").write_text(CONFIG)
    stop = "+callbacks.stop._target_=bench_start.ExitAtFirstStep"
    return {
        "ours": [*TRAIN, *IMAGES, stop],
        "minimal": [sys.executable, __file__, "minimal", f"--config-dir={folder}", "hydra.run.dir=."],
        "cfg_job": [*TRAIN, "--cfg", "job"],
        "help": [*TRAIN, "--help"],
        "hydra": [sys.executable, "-c", "import hydra"],
    }


def main(rounds: int = 5) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        commands = rivals(folder)
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(rounds + 1):
            for name, command in commands.items():
                seconds = cpu_seconds(command, folder)
                if number:  # the first round fills the caches of bytecode and files
                    times[name].append(seconds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    line: dict[str, object] = {"bench": "start", "rounds": rounds}
    line |= {f"{name}_s": round(value, 2) for name, value in medians.items()}
    print(json.dumps(line | {"ours_over_minimal": round(medians["ours"] / medians["minimal"], 3)}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["minimal"]:
        del sys.argv[1]
        minimal()
    else:
        main(*map(int, sys.argv[1:]))
