"""Runs from Python: `train("model=vae")` trains, and `Run("my_run")` opens the run in a folder."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_gen.checkpoint import load_model
from lightning_gen.config.composition import overrides_of
from lightning_gen.config.saved import trusting
from lightning_gen.errors import UserError
from lightning_gen.evaluation.result import Evaluation
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.randomness import preserved_rng
from lightning_gen.sampling.samples import sample_batches
from lightning_gen.trainer import processes_on_node
from lightning_gen.training import run
from lightning_gen.training.resume import compose_run

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH_SIZE = 64  # images that are sampled at once, as by the command `sample`


def train(overrides: str | Sequence[str] = ()) -> "Run":
    """Train as `lightning-gen train <overrides>` does, in this process, and return the finished run.

    `overrides` are a list, or one text as on the command line. Raises UserError for a mistake, and KeyboardInterrupt
    when it is interrupted: the last state is saved, `Run(folder)` opens it, and `resume=true` goes on.
    """
    typed = overrides_of(overrides)
    config, composed = compose_run(typed)
    processes = processes_on_node(config.trainer) * config.trainer.get("num_nodes", 1)
    if processes > 1:
        fix = "add trainer.devices=1, or use the command line"
        raise UserError(f"trainer: has {processes} processes, and a run from Python has one; {fix}")
    try:
        with trusting(config.trust or ()):
            run.train(config, composed, typed)
    except SystemExit as stop:  # after a signal: in a notebook it would look like a crash
        raise KeyboardInterrupt(f"stopped; the last state is in {config.run_dir}") from stop
    return Run(config.run_dir)


class Run:
    """The run in `folder`, with its config, scores, pictures and model. UserError for a folder without a run."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).expanduser().absolute()
        if not (self.folder / "config.yaml").is_file():
            raise UserError(f"{folder}: no run's folder, it has no config.yaml; name the folder that train printed")

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.4g}" for name, value in self.scores.items()) or "no scores"
        return f"Run({str(self.folder)!r}): {scores}"

    @cached_property
    def model(self) -> ImageGenerator:
        """The model of the best checkpoint, on the CPU, in evaluation mode, with averaged weights."""
        return load_model(self.folder)

    @property
    def evaluation(self) -> Evaluation | None:
        """The latest evaluation: scores with their uncertainty and protocol; None without one."""
        path = self.folder / "evaluation.json"
        return Evaluation.from_json(json.loads(path.read_text())[-1]) if path.is_file() else None

    @property
    def scores(self) -> dict[str, float]:
        """The scores of the latest evaluation, by name."""
        evaluation = self.evaluation
        return {} if evaluation is None else evaluation.values

    @torch.no_grad()
    def sample(self, n: int = 16, label: int | str | None = None, seed: int = 0) -> Tensor:
        """Sample `n` images, `(n, *image_shape)` in [-1, 1]: the same for the same `seed`, as `lightning-gen sample`.

        `label` is a class by its number or its name, for conditional models; None draws classes at random.
        """
        if n < 1:
            raise UserError(f"sample({n}): give at least 1 image")
        labels = None if label is None else torch.full((n,), self._class_number(label))
        with preserved_rng():
            return torch.cat(list(sample_batches(self.model, n, labels, seed, BATCH_SIZE)))

    def _class_number(self, label: int | str) -> int:
        names, classes = self.model.class_names, self.model.num_classes
        number = names.index(label) if label in names else label
        if classes is None:
            raise UserError(f"label={label}: this model is unconditional, leave out label")
        if not isinstance(number, int) or not 0 <= number < classes:
            raise UserError(f"label={label}: this model has the classes 0 to {classes - 1} ({', '.join(names)})")
        return number

    def pictures(self, name: str = "samples") -> "list[Image]":
        """The pictures called `name` that training drew, from the first to the last, as Pillow images.

        UserError names those that there are, such as `reconstructions`.
        """
        from PIL import Image

        files = sorted(self.folder.glob("samples/*_*.*"))
        names = {path: path.stem.rpartition("_")[0] for path in files}
        if name not in names.values():
            there = ", ".join(dict.fromkeys(names.values())) or "none"
            raise UserError(f"pictures({name!r}): {self.folder} has no such pictures; it has {there}")
        return [Image.open(path) for path in files if names[path] == name]
