"""The keys and groups at the top of the commands' configs, each with the type and the bounds of its values.

A name means the same in all commands, and in `evaluation` of `train`; `_OF_COMMAND` has the few whose bounds differ.
"""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le

from lightning_gen.bounds import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

KEYS: dict[str, Any] = {
    "again": str | None,
    "batch_size": PositiveInt,
    "callbacks": dict | None,
    "checkpoint": str,
    "context": PositiveInt | None,
    "data": dict | None,
    "device": str,
    "dtype": Literal["float32", "float16", "bfloat16"],
    "ema": bool,
    "evaluation": dict,
    "extractor": dict | None,
    "format": Literal["gif", "mp4"],
    "half_samples": Annotated[int, Ge(0), Le(10_000)],
    "images": str | None,
    "init_from": str | None,
    "interpolation": bool,
    "k": PositiveInt,
    "label": int | str | list[int | str] | None,
    "license": str | None,
    "logger": dict | None,
    "metrics": dict | None,
    "model": dict,
    "n": Annotated[int, Ge(1), Le(10_000_000)],  # all at once in some commands: more would fill the memory
    "noise": NonNegativeFloat,
    "num_real": PositiveInt | None,
    "num_samples": PositiveInt | None,
    "objective": str | None,
    "out": str | None,
    "prior": dict | None,
    "prior_weight": NonNegativeFloat,
    "reference": str | None,
    "resize": str,
    "resume": bool | str | None,
    "rows": NonNegativeInt | None,
    "run_dir": str,
    "samples": str | None,
    "scale": Annotated[int, Ge(1), Le(64)],
    "shard_mb": Annotated[int, Ge(1), Le(100_000)],
    "seed": int,
    "seeds": Annotated[int, Ge(1), Le(10_000)],
    "space": str,
    "split": str,
    "starts": PositiveInt,
    "step_size": PositiveFloat,
    "steps": Annotated[int, Ge(1), Le(1_000_000)],
    "stops": Annotated[int, Ge(2), Le(10_000)],
    "summary": bool,
    "sweep": str | None,
    "temperature": PositiveFloat | None,
    "trainer": dict,
    "trust": str | list[str],
    "truncation": PositiveFloat | None,
}
_OF_COMMAND: dict[str, Any] = {
    "classify.images": str,
    "classify.resize": str | None,
    "convert.data": dict,
    "convert.out": str,
    "evaluate.checkpoint": str | None,
    "evaluate.split": str | None,
    "export.format": Literal["safetensors", "torch_export", "onnx"],
    "export.out": str,
    "export.steps": Annotated[int, Ge(1), Le(1_000)] | None,
    "inspect.data": dict,
    "interpolate.steps": Annotated[int, Ge(1), Le(10_000)],  # frames of a GIF
    "neighbors.num_real": Annotated[int, Ge(2)] | None,
    "predict.steps": Annotated[int, Ge(1), Le(10_000)] | None,
    "train.data": dict,
    "train.space": dict | None,
}
SECTIONS = ("evaluation",)  # mappings whose members are such keys, too
OBJECTS = ("data", "model", "trainer")  # each describes one object
MEMBERS = ("callbacks", "extractor", "logger", "metrics", "prior")  # mappings of objects by name


def annotation_of(key: str, command: str) -> Any:
    """The annotation of a command's key; Any if it is not declared: a key of a user's own file."""
    return _OF_COMMAND.get(f"{command}.{key}", KEYS.get(key, Any))
