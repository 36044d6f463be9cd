"""Checkpoints: tensors and plain data, written atomically, read without running any code in them.

A checkpoint has the run's whole config under the key `lightning_gen`, so a model is rebuilt from the file alone.
"""

import reprlib
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from packaging.version import InvalidVersion, Version
from torch.optim import Optimizer

from lightning_gen.bounds import ImageShape, NonNegativeInt, PositiveInt
from lightning_gen.config.composition import check
from lightning_gen.config.containers import as_dict, merge
from lightning_gen.config.instantiation import build_model
from lightning_gen.config.saved import check_saved, trusting
from lightning_gen.config.signatures import describe, fits
from lightning_gen.config.validation import check_saved_keys
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY, ImageGenerator
from lightning_gen.origins.archive import read_archive
from lightning_gen.origins.local_files import check_is_file, file_at
from lightning_gen.origins.places import local
from lightning_gen.origins.weights import AVERAGED, read_weights
from lightning_gen.utilities.atomic_files import atomic_save
from lightning_gen.utilities.running_means import RunningMeans

# What a checkpoint must have, by entry: all that is read of it, and what only a resumed run reads.
CONTENT = {KEY: dict[str, Any], "state_dict": dict[str, Any]}
FACTS = {
    "config": dict[str, Any],
    "image_shape": ImageShape,
    "num_classes": PositiveInt | None,
    "images_seen": NonNegativeInt,
}
CONFIG = {"model": dict[str, Any], "data": dict[str, Any]}
TRAINING = {
    "epoch": NonNegativeInt,
    "global_step": NonNegativeInt,
    "pytorch-lightning_version": str,
    "loops": dict[str, Any],
    "callbacks": dict[str, dict],
    "optimizer_states": list[dict],
    "lr_schedulers": list,
}
MOMENTS = {"exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg"}  # of optimizers, of the shape of their weight


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

    A file `*.safetensors` is read with the `config.yaml` beside it (see `origins.weights`).

    Raises UserError if the file is missing, cut short, damaged, of another kind, or holds code, which is not run.
    The config in it is read by `saved_config` alone.
    """
    path = Path(path)
    check_is_file(path, key)
    content = _read_weights(path, key) if path.suffix == ".safetensors" else read_archive(path, f"{key}={path}")
    check_content(content, f"{key}={path}")
    return content


def _read_weights(path: Path, key: str) -> dict[str, Any]:
    if key == "resume":
        raise UserError(
            f"resume={path}: has weights and no state of training; use init_from, which takes weights alone"
        )
    return read_weights(path, f"{key}={path}")


def saved_config(content: Mapping[str, Any], origin: str, part: str | None = None) -> dict[str, Any]:
    """The config in a checkpoint that `read_checkpoint` read, or its `part` such as `model`.

    Raises UserError, which names `origin`, for a config that names code which is not installed (see `config.saved`).
    """
    config = content[KEY]["config"]
    if part is not None:
        config = config[part]
    check_saved(config, origin, part or "")
    return as_dict(config)


def saved_parts(content: Mapping[str, Any], origin: str, names: Sequence[str]) -> dict[str, Any]:
    """Those of the named parts of the config in a checkpoint that are mappings there, each as from `saved_config`."""
    config = content[KEY]["config"]
    return {name: saved_config(content, origin, name) for name in names if isinstance(config.get(name), dict)}


def check_content(content: Mapping[str, Any], origin: str) -> None:
    """UserError, which begins with `origin`, for a checkpoint that lacks an entry, or has one of another type."""
    _check_entries(content, CONTENT, origin, "")
    facts = content[KEY]
    _check_entries(facts, FACTS, origin, f"{KEY}.")
    _check_entries(facts["config"], CONFIG, origin, f"{KEY}.config.")
    check_saved_keys(facts["config"], origin)
    for name, tensor in content["state_dict"].items():
        if not isinstance(tensor, torch.Tensor):
            raise UserError(f"{origin}: damaged, state_dict.{name} is no tensor; use another checkpoint")


def _check_entries(entries: Mapping[str, Any], expected: Mapping[str, Any], origin: str, parent: str) -> None:
    for name, annotation in expected.items():
        if name not in entries:
            raise UserError(f"{origin}: damaged, it lacks {parent}{name}; use another checkpoint")
        if not fits(entries[name], annotation):
            problem = f"{parent}{name} is {_shortened(entries[name])}, expected {describe(annotation)}"
            raise UserError(f"{origin}: damaged, {problem}; use another checkpoint")


def _shortened(value: Any) -> str:
    return reprlib.repr(value)  # bounded, also for values that share parts


def check_state(content: Mapping[str, Any], optimizers: Sequence[Optimizer], origin: str) -> None:
    """UserError unless training can go on from the checkpoint's counters and the states of these optimizers."""
    _check_entries(content, TRAINING, origin, "")
    _check_entries(content[KEY], {"batches_seen": NonNegativeInt}, origin, f"{KEY}.")
    if not _is_version(content["pytorch-lightning_version"]):
        raise UserError(f"{origin}: damaged, pytorch-lightning_version is no version; use another checkpoint")
    try:
        RunningMeans().load_state_dict(content[KEY].get("terms", []))
    except ValueError as error:
        raise UserError(f"{origin}: damaged, {KEY}.terms are {error}; use another checkpoint") from error
    states = content["optimizer_states"]
    if len(states) != len(optimizers):
        raise UserError(
            f"{origin}: has the states of {len(states)} optimizers, this model has {len(optimizers)}; "
            "use the same model, or init_from to take only the weights"
        )
    for number, (state, optimizer) in enumerate(zip(states, optimizers, strict=True)):
        problem = _refusal(optimizer, state)
        if problem:
            raise UserError(
                f"{origin}: optimizer_states[{number}] doesn't fit {type(optimizer).__name__} here ({problem}); "
                "use the same model and optimizer, or init_from to take only the weights"
            )


def _is_version(text: str) -> bool:
    """Whether it is a version as Lightning compares them."""
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _refusal(optimizer: Optimizer, state: Any) -> str:
    """Why an optimizer can't go on from a state; empty if it can."""
    try:
        optimizer.load_state_dict(state)
    except Exception as error:  # torch looks only at the number of parameters
        return " ".join(str(error).split()) or type(error).__name__
    for parameter, values in optimizer.state.items():
        for name in MOMENTS & values.keys():
            if getattr(values[name], "shape", None) != parameter.shape:
                return f"{name} has another shape than its weight"
    return ""


def checkpoint_of(path: str | Path, key: str = "checkpoint") -> Path:
    """The checkpoint file at `path`, or in the folder `path`: of a run the best one, or to resume the last one.

    `zoo:NAME` is one that a plugin brings, `hf://user/name[@revision]` one of the Hugging Face Hub, to be downloaded.
    """
    return file_at(local(path, key), key)


def load_model(
    path: str | Path,
    ema: bool = True,
    device: str | torch.device = "cpu",
    changes: Mapping[str, Any] | None = None,
    trust: Sequence[str] = (),
) -> ImageGenerator:
    """The model of a checkpoint, in evaluation mode, with averaged weights if `ema`; `path` is as of `checkpoint_of`.

    `changes` are values of its config for another use of the same weights, such as the steps of a solver. `trust` names
    packages of classes that it may use besides those in the configs of lightning-gen and installed plugins.
    """
    path = checkpoint_of(path)
    content = read_checkpoint(path)
    facts = content[KEY]
    if facts.get(AVERAGED) and not ema:
        raise UserError(f"checkpoint={path}: has averaged weights alone; leave out ema=false")
    with trusting(trust):
        config = saved_config(content, f"checkpoint={path}", "model")
    config = with_changes(config, changes or {})
    model = build_model(config, facts["image_shape"], facts["num_classes"])
    load_weights(model, content["state_dict"], f"checkpoint={path}")
    model.images_seen = facts["images_seen"]
    model.class_names = class_names(facts)
    model.num_training_images = num_training_images(facts)
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
            f"{origin}: {len(differing)} of {len(expected | saved)} tensors don't fit this model, the first is {name}: "
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


def num_training_images(facts: Mapping[str, Any]) -> int:
    """The number of training images in a checkpoint's facts; 0 in those from before it was kept."""
    match facts.get("data"):
        case {"splits": {"train": [int(count), *_]}}:
            return count
        case _:
            return 0


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
