"""Images with alpha, from the data to the files of a run and of `sample`."""

import numpy as np
import torch
from helpers.runs import run
from PIL import Image

from lightning_gen.cli import main
from lightning_gen.sampling.captions import row_captions


def test_alpha_and_names_of_classes_are_in_all_pictures(tmp_path):
    options = ["data.image_shape=[4,12,12]", "data.num_classes=2", "model.conditional=true", "model/likelihood=mse"]
    folder = run(tmp_path / "run", *options, "data/augment=[flip,crop,jitter]", images=16)
    drawn = {path.name.split("_")[0]: Image.open(path) for path in (folder / "samples").iterdir()}
    assert {name: picture.mode for name, picture in drawn.items()} == {"samples": "RGBA", "reconstructions": "RGBA"}
    pixels = np.asarray(drawn["samples"])
    plain = pixels[:, -(2 * 14 + 2) :]
    assert (plain[:2, :, 3] == 0).all()  # borders
    expected = row_captions(torch.from_numpy(plain.transpose(2, 0, 1).copy()), ["blob 0", "blob 1"])
    assert np.array_equal(pixels, expected.numpy().transpose(1, 2, 0))
    given = [f"checkpoint={folder}", "n=4", "label=[blob 1,blob 0]", "interpolation=false", f"out={tmp_path / 'out'}"]
    assert main(["sample", *given]) == 0
    for name in ("grid.png", "images/000003.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.mode == "RGBA"
