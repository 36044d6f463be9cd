"""Checkpoints: tensors and plain data, written atomically, read without running any code in them.

A checkpoint has the run's whole config under the key `lightning_gen`, so a model is rebuilt from the file alone.
"""

import difflib
import pickle
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from lightning_gen.config.composition import check
from lightning_gen.config.containers import as_dict, merge
from lightning_gen.config.instantiation import build_model
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY, ImageGenerator
from lightning_gen.utilities.atomic_files import atomic_save


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's file format, written atomically, and always loaded with `weights_only=True`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write to a temporary file in the same folder, sync, then replace."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            atomic_save(checkpoint, path)
        except RuntimeError as error:  # what torch's writer raises for a full disk, after our file raised OSError
            cause = error.__context__
            raise (cause if isinstance(cause, OSError) else OSError(f"{path}: {error}")) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> dict:
        """See `read_checkpoint`."""
        return read_checkpoint(path)


def read_checkpoint(path: str | Path, key: str = "checkpoint") -> dict[str, Any]:
    """The content of a checkpoint of lightning-gen, on the CPU; `key` is the config key that errors name.

    Raises UserError if the file is missing, cut short, of another kind, or holds code, which is not run.
    """
    path = Path(path)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1)
        raise UserError(f"{key}={path}: no such file" + (f"; did you mean {path.parent / near[0]}?" if near else ""))
    try:
        if not zipfile.is_zipfile(path):  # the format of torch.save; a bare pickle is never read
            raise zipfile.BadZipFile(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes make the unpickler raise anything
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise UserError(
                f"{key}={path}: refused, it holds more than tensors and plain data (no code was run); "
                "use a checkpoint written by lightning-gen"
            ) from error
        raise UserError(
            f"{key}={path}: not a checkpoint, or one cut short or damaged; use another, such as best.ckpt beside it"
        ) from error
    if not isinstance(content, dict) or KEY not in content:
        raise UserError(f"{key}={path}: not written by lightning-gen (no config in it)")
    return content


def checkpoint_of(path: str | Path, key: str = "checkpoint") -> Path:
    """The checkpoint file at `path`, or in the run's folder `path`: the best one, or to resume the last one."""
    path = Path(path)
    if not path.is_dir():
        return path
    names = ("last.ckpt", "best.ckpt") if key == "resume" else ("best.ckpt", "last.ckpt")
    for name in names:
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    raise UserError(f"{key}={path}: a folder without checkpoints/best.ckpt or checkpoints/last.ckpt")


def load_model(
    path: str | Path,
    ema: bool = True,
    device: str | torch.device = "cpu",
    changes: Mapping[str, Any] | None = None,
) -> ImageGenerator:
    """The model of a checkpoint or a run's folder, in evaluation mode, with averaged weights if `ema`.

    `changes` are values of its config for another use of the same weights, such as the steps of a solver.
    """
    path = checkpoint_of(path)
    content = read_checkpoint(path)
    facts = content[KEY]
    config = with_changes(facts["config"]["model"], changes) if changes else facts["config"]["model"]
    model = build_model(config, facts["image_shape"], facts["num_classes"])
    load_weights(model, content["state_dict"], f"checkpoint={path}")
    model.images_seen = facts["images_seen"]
    model.class_names = class_names(facts)
    if ema:
        model.use_averaged_weights()
    return model.to(device).eval()


def with_changes(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A model's config with other values. UserError for an unknown key, or a value of the wrong type."""
    new = as_dict(merge(config, changes))
    check({"model": new})
    return new


def load_weights(model: ImageGenerator, state_dict: dict[str, torch.Tensor], origin: str) -> None:
    """Load all weights. Unless all shapes match, UserError names `origin` and the first tensor that differs."""
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    saved = {name: tuple(tensor.shape) for name, tensor in state_dict.items()}
    differing = [name for name in expected | saved if expected.get(name) != saved.get(name)]
    if differing:
        name = differing[0]
        raise UserError(
            f"{origin}: {len(differing)} of {len(expected)} tensors don't fit this model, the first is {name}: "
            f"{saved.get(name, 'absent')} in the checkpoint, {expected.get(name, 'absent')} here; "
            "use the same model and image size"
        )
    model.load_state_dict(state_dict)


def provenance(config: dict[str, Any], data: Any) -> dict[str, Any]:
    """The facts of a run for its checkpoints, as plain data: config, shape and classes of the data, versions."""
    return {
        "config": config,
        "image_shape": list(data.image_shape),
        "num_classes": data.num_classes,
        "class_names": data.class_names and list(data.class_names),
        "data": data.contents(),
        "versions": {name: _version(name) for name in ("lightning-gen", "torch", "lightning", "torchmetrics")},
    }


def class_names(facts: Mapping[str, Any]) -> list[str]:
    """The names of the classes in a checkpoint's facts; empty without labels."""
    names = facts.get("class_names")
    return list(map(str, names)) if isinstance(names, list) else []


def match_data(data: Any, facts: Mapping[str, Any]) -> list[str]:
    """Number the labels of `data` as in the checkpoint with these facts, by names; lines about what has changed."""
    return data.match_classes(class_names(facts), "the checkpoint") + _changes(data, facts)


def _changes(data: Any, facts: Mapping[str, Any]) -> list[str]:
    """A line if data of this name held other images at the time of the checkpoint, or had other splits."""
    config, now, told = facts["config"]["data"], data.contents(), []
    match facts.get("data"):  # older checkpoints have none
        case {"name": data.name, "splits": {**before}}:
            told = [_change(split, before.get(split), entry) for split, entry in now["splits"].items()]
    told = list(filter(None, told))
    # Without `split_by`, or in configs from before that key, splits are drawn by number.
    drawing = {"seed": None, "split": None, "split_by": "number"}
    redrawn = [key for key, old in drawing.items() if config.get(key, old) != getattr(data, key, old)]
    if told:
        kept = not redrawn and getattr(data, "split_by", "number") == "path"
        effect = "images keep their split" if kept else "splits are drawn anew, test images may have been trained on"
        return [f"its images have changed since the checkpoint, {', '.join(told)}; {effect}"]
    kind = f"{type(data).__module__}.{type(data).__qualname__}"
    if redrawn and (kind, getattr(data, "path", None)) == (config.get("_target_"), config.get("path")):
        keys = ", ".join(f"data.{key}" for key in redrawn)
        return [f"its splits are not those of the checkpoint ({keys}): test images may have been trained on"]
    return []


def _change(split: str, before: Any, now: list[Any]) -> str:
    """What has changed in the number of images and the hash of the files of a split, if anything."""
    match before:
        case [int(count), _] if count != now[0]:
            return f"{split} {count:,} to {now[0]:,}"
        case _:
            return "" if before == now else f"{split} other files"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout
        return None
