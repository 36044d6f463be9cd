"""A checkpoint to share: a folder with `model.safetensors`, the weights, and `config.yaml`, all else of the model.

Both can be read by anyone with any tool, and hold no code. There is no state of training in it: it samples, is scored
and finetuned (`init_from`), and can't be resumed. Averaged weights stand in place of the trained ones.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_gen.config.saved import plain_yaml
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY
from lightning_gen.origins.local_files import CONFIG, WEIGHTS

AVERAGED = "averaged"  # of the facts: the parts whose averages are saved as their weights


def write_weights(folder: Path, state_dict: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write both files; `facts` are those of a checkpoint, with `averaged`, the names of averaged parts."""
    import yaml
    from safetensors.torch import save

    # Clones, as parts of one storage can't be saved.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state_dict.items()}
    (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
    rest = {name: value for name, value in facts.items() if name != "config"}
    content = {**facts["config"], KEY: rest}
    (folder / CONFIG).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def read_weights(path: Path, origin: str) -> dict[str, Any]:
    """The content of a checkpoint, by the weights at `path` and the config beside them.

    UserError, which names `origin`, for files that are missing, damaged or of another kind; `check_content` checks the
    rest.
    """
    facts, config = _facts(path.with_name(CONFIG), origin)
    tensors = _tensors(path, origin)
    averaged = facts.get(AVERAGED)
    for part in averaged if isinstance(averaged, list) else []:
        start = f"{part}."
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(start)}
        tensors |= {f"averages.{part}.module.{name.removeprefix(start)}": tensor for name, tensor in own.items()}
    return {KEY: {**facts, "config": config}, "state_dict": tensors}


def _facts(path: Path, origin: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if not path.is_file():
        raise UserError(f"{origin}: {path.name} is missing beside it; get the whole folder")
    content = plain_yaml(path, origin)
    facts = content.pop(KEY, None) if isinstance(content, dict) else None
    if not isinstance(facts, dict):
        raise UserError(f"{origin}: {path.name} was not written by lightning-gen export; it lacks {KEY}")
    return facts, content


def _tensors(path: Path, origin: str) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise UserError(f"{origin}: the package safetensors is missing: pip install safetensors") from None
    try:
        tensors = load_file(path)
    except Exception as error:  # SafetensorError, and what damaged headers make it raise
        raise UserError(f"{origin}: not a file of safetensors, or one cut short or damaged; get it again") from error
    return {name: tensor.float() if tensor.dtype in _HALF else tensor for name, tensor in tensors.items()}


_HALF = (torch.float16, torch.bfloat16)
