"""Config keys that the commands with a checkpoint share: loading, checks, classes, data and output."""

import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import Tensor

from lightning_gen.batch import Batch
from lightning_gen.checkpoint import checkpoint_of, load_model, match_data, read_checkpoint, saved_config
from lightning_gen.config.composition import check
from lightning_gen.config.containers import as_dict, merge
from lightning_gen.config.instantiation import build_data
from lightning_gen.data.folder_scan import shown
from lightning_gen.errors import UserError
from lightning_gen.image_generator import KEY
from lightning_gen.images import video_library
from lightning_gen.origins.places import shared_name
from lightning_gen.report.page import renew_report
from lightning_gen.report.pictures import GENERATED
from lightning_gen.sampling.preparation import check_weights, choose_device
from lightning_gen.utilities.float32 import use_tf32
from lightning_gen.utilities.suggestions import did_you_mean
from lightning_gen.utilities.text_lists import listed

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator

Label = int | str
SOME, MOST_NAMES = 10, 32  # names of classes in an error message, and in a line of output


def load(cfg: DictConfig) -> tuple[Path, "ImageGenerator"]:
    """The checkpoint file and its model, on `device`, with averaged weights if `ema`.

    `+model.key=value` changes single values of the model's config.
    """
    if not cfg.checkpoint:
        raise UserError("checkpoint=null: give a checkpoint file or a run's folder, as checkpoint=outputs/my_run")
    device = choose_device(cfg.device)
    use_tf32(False)  # images and latents are those of any other device
    path = checkpoint_of(cfg.checkpoint)
    model = load_model(path, ema=cfg.ema, device=device, changes=as_dict(cfg.model))
    check_weights(model, path)
    return path, model


def run_folder(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint file belongs to; if it is outside of a run, the folder of the file.

    For one of a plugin or of the Hugging Face Hub, whose folder is not the user's, it is one in `outputs`.
    """
    if name := shared_name(checkpoint):
        return Path("outputs", name)
    folder = checkpoint.absolute().parent
    return folder.parent if folder.name == "checkpoints" else folder


def check_format(format: str) -> None:
    """UserError unless moving pictures of a `format`, gif or mp4, can be written here."""
    if format == "mp4":
        video_library()


def chosen_classes(
    label: Label | list[Label] | None, num_classes: int | None, names: Sequence[str] = ()
) -> list[int] | None:
    """The classes to sample: those given, else all; None for an unconditional model. UserError for an unknown class."""
    if num_classes is None:
        if label is not None:
            raise UserError(f"label={label}: this model is unconditional, leave out label")
        return None
    if label is None:
        return list(range(num_classes))
    return list(dict.fromkeys(label_list(label, num_classes, names)))


def label_list(
    label: Label | list[Label], num_classes: int, names: Sequence[str] = (), owner: str = "this model"
) -> list[int]:
    """One label or several, numbers or `names` of the classes of `owner`, as a list of numbers.

    UserError for an empty list or an unknown class.
    """
    labels = list(label) if isinstance(label, list | ListConfig) else [label]
    if not labels:
        raise UserError("label=[]: name at least one class")
    return [_class_number(label, num_classes, names, owner) for label in labels]


def _class_number(label: Label, num_classes: int, names: Sequence[str], owner: str) -> int:
    if str(label) in names:  # also of numbers: classes 1 to 5 are meant by their names, not as 0 to 4
        return list(names).index(str(label))
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < num_classes:
        return label
    fix = did_you_mean(str(label), names)
    named = f" ({listed(list(map(shown, names)), ', ', SOME)})" if names else ""
    raise UserError(f"label={label}: {owner} has the classes 0 to {num_classes - 1}{named}{fix}")


def print_classes(model: "ImageGenerator", labels: Tensor | None, what: str = "rows") -> None:
    """Print the classes of `what` by `labels`, as numbers with their names, and how many have each."""
    if labels is None:
        return
    names = model.class_names
    classes = [
        " ".join([str(number), *map(shown, names[number : number + 1]), *([f"({times})"] if times > 1 else [])])
        for number, times in Counter(labels.tolist()).items()
    ]
    print(f"classes of the {what}: {listed(classes, ', ', MOST_NAMES)}")


def tell(*data: "ImageData | None") -> None:
    """Print the notes on data, on stderr; called after all checks, as a mistake ends in a single line."""
    for part in filter(None, data):
        for note in part.notes:
            print(f"data={part.name}: {note}", file=sys.stderr)


def load_data(cfg: DictConfig, checkpoint: Path, model: "ImageGenerator") -> "ImageData":
    """The chosen data, or those of the checkpoint. UserError if the shapes of data and model differ."""
    data = matching_data(cfg, checkpoint)
    data.check_shape(model.image_shape)
    return data


def matching_data(cfg: DictConfig, checkpoint: Path) -> "ImageData":
    """The chosen data, or those of the checkpoint, with its numbers of classes; `notes` say what has changed since."""
    data = build_data(data_config(cfg, checkpoint))
    data.notes += match_data(data, read_checkpoint(checkpoint)[KEY])
    return data


def data_config(cfg: DictConfig, checkpoint: Path) -> DictConfig:
    """The config of the chosen data, or of the checkpoint's, of which `+data.key=value` changes single values."""
    chosen = cfg.get("data") or OmegaConf.create()
    if "_target_" in chosen:
        return chosen
    config = merge(saved_config(read_checkpoint(checkpoint), f"checkpoint={checkpoint}", "data"), chosen)
    check({"data": as_dict(config)})
    return config


def output_folder(out: str | None, checkpoint: Path) -> Path:
    """The folder `out` to write to; null: one in the run's folder. UserError for one that is not empty."""
    folder = _new_folder(checkpoint) if out is None else Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"out={folder}: exists and is not an empty folder, name another one")
    return folder


@contextmanager
def filled(out: Path) -> Iterator[Path]:
    """A folder to write to that becomes `out` at the end: what was written until a failure is kept beside it.

    So `out` holds all files or none, and can be given again. After a UserError nothing is kept.
    """
    out = out.resolve()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # A folder that exists may be one that can't be replaced: mounted, or the current one.
        part = _new_part(out / "unfinished" if out.is_dir() else _beside(out))
    except OSError as error:
        raise UserError(f"out={out}: {error.strerror}; name a folder that can be written") from None
    try:
        yield part
    except UserError:
        shutil.rmtree(part)
        raise
    except BaseException:
        _keep(part, out)
        raise
    if part.parent != out:
        part.replace(out)
        return
    for path in part.iterdir():
        path.replace(out / path.name)
    part.rmdir()


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.name}-unfinished")


def _new_part(path: Path) -> Path:
    """Make the folder `path`, with a number if an earlier command, or one that runs now, has made it."""
    for number in count(1):
        part = path if number == 1 else path.with_name(f"{path.name}-{number}")
        with suppress(FileExistsError):
            part.mkdir()
            return part
    raise AssertionError("unreachable")


def _keep(part: Path, out: Path) -> None:
    """Move the files of a command that failed out of `out`, and tell where they are; if there are any."""
    if not any(path.is_file() for path in part.rglob("*")):
        shutil.rmtree(part)
        return
    if part.parent == out:
        with suppress(OSError):  # the folder of `out` can't be written to
            part = part.replace(_new_part(_beside(out)))
    print(f"unfinished: what was written until then is in {part}", file=sys.stderr)


def _new_folder(checkpoint: Path) -> Path:
    folder = run_folder(checkpoint) / GENERATED / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    if not folder.exists():
        return folder
    numbered = (folder.with_name(f"{folder.name}-{number}") for number in count(2))  # two commands within a second
    return next(other for other in numbered if not other.exists())


def print_written(what: str, out: Path) -> None:
    """Print what was written and where; if that is in a run folder, renew its report, which shows it."""
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in out.iterdir())
    print(f"{what} written to {out} ({', '.join(names)})", flush=True)
    if out.parent.name == GENERATED:
        renew_report(out.parent.parent)


def first_images(cfg: DictConfig, path: Path, model: "ImageGenerator") -> Batch:
    """The first `n` images of a split of the data, with their labels if they have any."""
    data = load_data(cfg, path, model)
    if model.num_classes is not None:
        data.check_labels(cfg.split)
    batch = images_of(cfg, data, model.device)
    tell(data)
    return batch


def images_of(cfg: DictConfig, data: "ImageData", device: torch.device) -> Batch:
    """The first `n` images of a split, or those of the classes of `label` where it is given; UserError without any."""
    if cfg.get("label") is None:
        return _joined(data.batches(cfg.split, device, limit=cfg.n))
    data.check_split(cfg.split)
    if not data.has_labels(cfg.split):
        raise UserError(f"label={cfg.label}: data={data.name} has no labels in split={cfg.split}; leave out label")
    names = data.class_names or []
    classes = label_list(cfg.label, len(names), names, f"data={data.name}")
    batch = _joined(_of_classes(data.batches(cfg.split, device), classes, cfg.n))
    if not len(batch.images):
        raise UserError(f"label={cfg.label}: data={data.name} has no such image in split={cfg.split}; give another one")
    return batch


def _of_classes(batches: Iterable[Batch], classes: list[int], n: int) -> Iterator[Batch]:
    """The images with these labels in each batch, until there are `n`."""
    for images, labels in batches:
        assert labels is not None
        chosen = torch.isin(labels, torch.tensor(classes, device=labels.device)).nonzero()[:n, 0]
        yield Batch(images[chosen], labels[chosen])
        n -= len(chosen)
        if not n:
            return


def _joined(batches: Iterable[Batch]) -> Batch:
    batches = list(batches)
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return Batch(torch.cat([batch.images for batch in batches]), torch.cat(labels) if labels else None)
