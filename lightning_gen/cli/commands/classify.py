"""Name the class of image files, by a trained classifier.

Examples:

  lightning-gen classify checkpoint=outputs/my_run images=my_photo.png
  lightning-gen classify checkpoint=PATH images=my_folder out=classes.csv
"""

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor

from lightning_gen.capabilities import Classifies
from lightning_gen.checkpoint import read_checkpoint, saved_config
from lightning_gen.cli.checkpoint_options import load
from lightning_gen.cli.hydra_app import Job
from lightning_gen.cli.image_files import check_resize, find_files, read_file, tell_doubts
from lightning_gen.data.augment import Binarize, normalize
from lightning_gen.data.decode import ImageFiles, check_range
from lightning_gen.data.folder_scan import FEW, each, shown
from lightning_gen.errors import UserError
from lightning_gen.evaluation.report import with_error
from lightning_gen.evaluation.table import csv_text
from lightning_gen.images import MODES
from lightning_gen.metrics.accuracy import Accuracy
from lightning_gen.utilities.atomic_files import atomic_write
from lightning_gen.utilities.hardware import num_processors
from lightning_gen.utilities.progress import progress
from lightning_gen.utilities.text_columns import column_lines
from lightning_gen.utilities.text_lists import listed

if TYPE_CHECKING:
    from lightning_gen.image_generator import ImageGenerator

FORMATS = (".csv", ".json")
MOST_ROWS = 40  # files on screen


class Classified(NamedTuple):
    """A file with the probabilities of all classes `(K,)`, and the number of its true class, where that is known."""

    file: str
    probabilities: Tensor
    true: int | None

    @property
    def best(self) -> int:
        """The number of the most probable class."""
        return int(self.probabilities.argmax())


def run(job: Job) -> None:
    """Print the class of each file, and the accuracy where folders say what is right; write all to `out`."""
    cfg = job.config
    out = _checked(cfg.out)
    root, paths = find_files(cfg.images)
    path, model = load(cfg)
    _check_model(model, path)
    names = model.class_names or [str(number) for number in range(model.num_classes or 0)]
    reader = _Reader(cfg, path, model)
    found: list[Classified] = []
    with torch.no_grad(), progress("images", len(paths)) as advance:
        for start in range(0, len(paths), cfg.batch_size):
            part = paths[start : start + cfg.batch_size]
            found += _classified(model, reader, root, part, names)
            advance(len(part))
    left_out = [f"{shown(file.relative_to(root))} ({reason})" for file, reason in reader.unreadable.items()]
    if not found:
        raise UserError(f"images={cfg.images}: no file can be read: {listed(left_out, ', ', FEW)}")
    if left_out:
        counts = f"{len(left_out):,} of {len(paths):,} files"
        print(f"images={cfg.images}: left out, unreadable: {counts}: {listed(left_out, ', ', FEW)}", file=sys.stderr)
    tell_doubts(cfg.images, [file for file in paths if file not in reader.unreadable], reader.limits)
    if out is not None:
        atomic_write(out, _as_json(found, names) if out.suffix == ".json" else _as_csv(found, names))
    if all(result.true is None for result in found) and any("/" in result.file for result in found):
        classes = listed(list(map(shown, names)), ", ", FEW)
        print(f"images={cfg.images}: no folder is named as a class ({classes}): no accuracy", file=sys.stderr)
    print("\n".join(_report(found, names)))
    if out is not None:
        print(f"classes of {len(found):,} files written to {out}")


def _checked(out: str | None) -> Path | None:
    """The file to write; UserError, before any work, for one that can't be written."""
    if out is None:
        return None
    path = Path(out).expanduser()
    if path.suffix not in FORMATS:
        raise UserError(f"out={out}: name a file that ends in {' or '.join(FORMATS)}")
    if path.exists():
        raise UserError(f"out={out}: is there already, name another file")
    if not path.parent.is_dir():
        raise UserError(f"out={out}: there is no folder {path.parent}; make it, or name another file")
    return path


def _check_model(model: "ImageGenerator", checkpoint: Path) -> None:
    if not isinstance(model, Classifies):
        name = type(model).__name__
        raise UserError(f"checkpoint={checkpoint}: holds a {name}, give a run of model=classifier")
    if model.image_shape[-3] not in MODES:
        channels = model.image_shape[-3]
        raise UserError(f"checkpoint={checkpoint}: image files have 1, 3 or 4 channels, this model takes {channels}")


class _Reader:
    """Reads files as the data of a checkpoint were read, in batches; `unreadable` has the reasons of those it can't."""

    def __init__(self, cfg: DictConfig, checkpoint: Path, model: "ImageGenerator"):
        data = saved_config(read_checkpoint(checkpoint), f"checkpoint={checkpoint}", "data")
        self.resize: Any = cfg.resize or data.get("resize") or "crop"
        check_resize(self.resize)
        self.limits = check_range(data.get("range"))
        self.binarize = Binarize() if data.get("binarize") else None
        self.image_shape = model.image_shape
        self.unreadable: dict[Path, str] = {}

    def read(self, paths: list[Path]) -> tuple[list[Path], Tensor]:
        """The files that can be read, and their images in [-1, 1]."""
        channels, height, width = self.image_shape
        files = ImageFiles(paths, channels, (height, width), self.resize, self.limits)
        read = each(lambda number: read_file(files, number), list(range(len(paths))), num_processors())
        self.unreadable |= {paths[n]: result for n, result in read.items() if isinstance(result, str)}
        pixels = {paths[n]: result for n, result in read.items() if isinstance(result, Tensor)}
        images = normalize(torch.stack(list(pixels.values()))) if pixels else torch.zeros(0, *self.image_shape)
        if self.binarize:
            images = self.binarize.fixed(images, torch.arange(len(images)))
        return list(pixels), images


def _classified(
    model: Any, reader: _Reader, root: Path, paths: list[Path], names: Sequence[str]
) -> Iterator[Classified]:
    readable, images = reader.read(paths)
    if not readable:
        return
    probabilities = model.classify(images.to(model.device)).cpu()
    for path, row in zip(readable, probabilities, strict=True):
        file = path.relative_to(root)
        known = [names.index(folder) for folder in file.parts[:-1] if folder in names]
        yield Classified(shown(file), row, known[-1] if known else None)


def _report(found: list[Classified], names: Sequence[str]) -> list[str]:
    """A row for each file, and the accuracy of those in folders named as classes."""
    columns: dict[str, list[Any]] = {
        "file": [result.file for result in found],
        "class": [names[result.best] for result in found],
        "probability": [result.probabilities[result.best].item() for result in found],
    }
    labeled = [result for result in found if result.true is not None]
    if labeled:
        columns["true class"] = ["-" if result.true is None else names[result.true] for result in found]
    lines = column_lines(columns, MOST_ROWS, "; out=FILE.csv has all")
    return lines + (_accuracy(labeled, names) if labeled else [])


def _accuracy(labeled: list[Classified], names: Sequence[str]) -> list[str]:
    """Lines on files of known classes: the accuracy, and the scores of each class."""
    metric = Accuracy()
    metric.start(SimpleNamespace(class_names=names, num_classes=len(names), image_shape=(1, 1, 1)), "")
    metric.update(torch.stack([result.probabilities for result in labeled]), torch.tensor([r.true for r in labeled]))
    accuracy = metric.compute()["accuracy"].item()
    text = with_error(accuracy, metric.standard_errors()["accuracy"], ".6g")
    classes = column_lines(metric.tables()["classes"], MOST_ROWS, "")
    return ["", f"accuracy {text} on {len(labeled):,} images in folders named as classes", *classes]


def _as_csv(found: list[Classified], names: Sequence[str]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["file", "class", "probability", "true class", *(f"p({name})" for name in names)])
    for result in found:
        true = "" if result.true is None else names[result.true]
        probabilities = [f"{value:.6f}" for value in result.probabilities.tolist()]
        texts = [csv_text(text) for text in (result.file, names[result.best], true)]
        writer.writerow([*texts[:2], probabilities[result.best], texts[2], *probabilities])
    return file.getvalue()


def _as_json(found: list[Classified], names: Sequence[str]) -> str:
    entries = [
        {
            "file": result.file,
            "class": names[result.best],
            "true_class": None if result.true is None else names[result.true],
            "probabilities": dict(zip(names, result.probabilities.tolist(), strict=True)),
        }
        for result in found
    ]
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"
