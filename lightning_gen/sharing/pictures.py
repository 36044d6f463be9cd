"""The picture of a model card: samples, or where a model draws none the newest picture of its run."""

import shutil
from pathlib import Path

import torch

from lightning_gen.image_generator import ImageGenerator
from lightning_gen.images import MODES, enlarged, film, save_png
from lightning_gen.runs.files import inside, names_in
from lightning_gen.sampling.captions import class_grid
from lightning_gen.sampling.evaluation_mode import full_precision
from lightning_gen.sampling.samples import rows_of, sample_batches
from lightning_gen.sampling.scatter_plot import are_points
from lightning_gen.sharing.program import only_continues

IMAGES, SEQUENCES = 64, 8
SIDE = 640  # pixels about which small pictures are enlarged to
# Names of pictures that training draws, the best first.
OF_RUN = ("predictions_moving", "predictions", "reconstructions", "confusion_matrix")


def write_picture(model: ImageGenerator, run: Path, folder: Path) -> tuple[str, str] | None:
    """Write a picture to `folder` and return its name and a caption; None if there is none to show."""
    drawn = model.generates and not only_continues(model)
    if drawn and model.image_shape[-3] in MODES and not are_points(model.image_shape):
        return _samples(model, folder)
    return _of_run(run, folder)


def _samples(model: ImageGenerator, folder: Path) -> tuple[str, str]:
    sequences = len(model.image_shape) == 4
    n = SEQUENCES if sequences else IMAGES
    classes = model.num_classes
    labels = None if classes is None else torch.arange(n) * min(n, classes) // n
    with full_precision():
        images = torch.cat(list(sample_batches(model, n, labels, 0, n)))
    if sequences:
        picture = film(images)
    else:
        shown, columns = rows_of(labels, n)
        picture = class_grid(images[shown], None if labels is None else labels[shown], columns, model.class_names)
    save_png(enlarged(picture, max(1, SIDE // picture.shape[-1])), folder / "samples.png")
    return "samples.png", f"{n} {'sequences, a row each' if sequences else 'samples'}, not selected (seed 0)."


def _of_run(run: Path, folder: Path) -> tuple[str, str] | None:
    names = names_in(run, "samples")
    for kind in OF_RUN:
        found = [f"samples/{name}" for name in names if name.rpartition("_")[0] == kind]
        for name in [*reversed(found), *(f"{kind}{suffix}" for suffix in (".png", ".gif"))]:
            if path := inside(run, name):
                shutil.copyfile(path, folder / f"{kind}{path.suffix}")
                return (
                    f"{kind}{path.suffix}",
                    f"{kind.replace('_moving', '').replace('_', ' ').capitalize()} by the run.",
                )
    return None
