"""The folder of an exported model: its files, `snippet.py`, a picture, scores and the model card."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_gen.capabilities import Classifies, Reconstructs
from lightning_gen.checkpoint import load_model, read_checkpoint, saved_config, with_changes
from lightning_gen.config.run_options import OPTIONS, title_of
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY, ImageGenerator
from lightning_gen.origins.weights import AVERAGED, write_weights
from lightning_gen.randomness import preserved_rng, seed_all
from lightning_gen.runs.record import SCORES
from lightning_gen.sampling.evaluation_mode import full_precision
from lightning_gen.sampling.preparation import check_weights
from lightning_gen.sharing.card import Card, write_card
from lightning_gen.sharing.formats import TOLERANCE, write_program
from lightning_gen.sharing.pictures import write_picture
from lightning_gen.sharing.program import Program, only_continues, programs
from lightning_gen.sharing.shareable import shareable
from lightning_gen.sharing.snippet import FILE, program_snippet, safetensors_snippet

Format = Literal["safetensors", "torch_export", "onnx"]


@dataclass(frozen=True)
class Shared:
    """A model to export: its checkpoint file, the folder of its run, and what of the checkpoint may be shared."""

    model: ImageGenerator
    run: Path
    facts: dict[str, Any]

    @property
    def title(self) -> str:
        """The options of model and data."""
        return title_of(self.facts["config"], self.facts.get(OPTIONS))


def open_shared(
    path: Path, run: Path, ema: bool = True, changes: Mapping[str, Any] | None = None, dtype: str = "float32"
) -> Shared:
    """The model of a checkpoint file, with weights rounded to `dtype`; UserError for one that diverged."""
    content = read_checkpoint(path)
    config = with_changes(saved_config(content, f"checkpoint={path}", "model"), changes or {})
    model = load_model(path, ema=ema, changes=changes)
    averaged = {name.split(".")[1] for name in content["state_dict"] if name.startswith("averages.")} if ema else set()
    facts = shareable(content[KEY], config | ({} if averaged else {"ema_decay": None}))
    model.averages = torch.nn.ModuleDict()  # without `ema` they are still there
    check_weights(model, path)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.to(getattr(torch, dtype)))
    return Shared(model, run, facts | {AVERAGED: sorted(averaged)})


def write_safetensors(
    shared: Shared, folder: Path, address: str, dtype: str = "float32", license: str | None = None
) -> float:
    """Write weights, config, snippet, picture, scores and card; return how far the reloaded model's outputs are.

    UserError if that is more than `TOLERANCE`.
    """
    model, half = shared.model, getattr(torch, dtype)
    state = {
        name: tensor.to(half) if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()
    }
    write_weights(folder, state, shared.facts)
    difference = (outputs(load_model(folder)) - outputs(model)).abs().max().item()
    if not difference <= TOLERANCE:
        raise UserError(f"the reloaded model's outputs differ by {difference:.2g}, more than {TOLERANCE:g}")
    (folder / FILE).write_text(safetensors_snippet(model, shared.title))
    _write_card(shared, folder, address=address, license=license)
    return difference


def write_programs(
    shared: Shared, format: str, folder: Path, address: str, steps: int | None = None, license: str | None = None
) -> dict[str, float]:
    """Write the programs of a model, with snippet, picture, scores and card; the difference of each from the model."""
    with full_precision():
        found = programs(shared.model, steps)
        differences = {program.name: write_program(program, format, folder) for program in found}
    main = found[0]
    if main.latents is not None:
        _write_bank(main.latents, format, folder)
    (folder / FILE).write_text(program_snippet(main, format, shared.title))
    rows = [_row(program, next(folder.glob(f"{program.name}.*")).name) for program in found]
    card = {"programs": rows, "format": format, "difference": max(differences.values())}
    _write_card(shared, folder, address=address, license=license, **card)
    return differences


def _write_bank(latents: Tensor, format: str, folder: Path) -> None:
    if format == "onnx":
        import numpy as np

        np.save(folder / "latents.npy", latents.numpy())
    else:
        torch.save(latents, folder / "latents.pt")


def _row(program: Program, file: str) -> dict[str, str]:
    """The line of the card about a program."""
    shapes = [f"`{name}` ({', '.join(['n', *map(str, values.shape[1:])])})" for name, values in program.example.items()]
    return {"file": file, "inputs": ", ".join(shapes), "output": program.output}


def _write_card(shared: Shared, folder: Path, **card: Any) -> None:
    model = shared.model
    picture, caption = write_picture(model, shared.run, folder) or (None, "")
    if (shared.run / SCORES).is_file():
        shutil.copyfile(shared.run / SCORES, folder / SCORES)
    command = "predict" if only_continues(model) else "sample" if model.generates else "evaluate"
    command = "classify" if isinstance(model, Classifies) else command
    parameters = sum(parameter.numel() for parameter in model.parameters())
    write_card(
        Card(shared.facts, parameters=parameters, command=command, picture=picture, caption=caption, **card),
        shared.run,
        folder,
    )


def outputs(model: ImageGenerator) -> Tensor:
    """What a model computes of seeded random inputs: samples, predictions, classes or reconstructions."""
    with full_precision(), preserved_rng():
        seed_all("export", "outputs")
        if only_continues(model):
            frames = torch.rand(2, *model.image_shape) * 2 - 1
            return model.predict(frames[:, :2], 2)  # pyrefly: ignore[not-callable]
        if model.generates:
            return model.sample(2)
        images = torch.rand(2, *model.image_shape) * 2 - 1
        if isinstance(model, Classifies):
            return model.classify(images)
        assert isinstance(model, Reconstructs)
        return model.reconstruct(images)
