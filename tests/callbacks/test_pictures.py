"""What the pictures of a run show: all classes, points as a plot, nothing where nothing is generated."""

from types import SimpleNamespace

import pytest
import torch

from lightning_gen.batch import Batch
from lightning_gen.callbacks.pictures import SampleGrid, drawable
from lightning_gen.images import grid, pairs
from lightning_gen.sampling.scatter_plot import are_points, scatter


class Flat:
    """Its samples are the color of their label."""

    device = torch.device("cpu")
    generates = True

    def __init__(self, num_classes, image_shape=(1, 8, 8)):
        self.num_classes, self.image_shape = num_classes, image_shape
        self.class_names = [f"class {number}" for number in range(num_classes or 0)]

    def sample(self, n, labels=None):
        colors = torch.zeros(n) if labels is None else labels / self.num_classes
        return colors.view(-1, *[1] * len(self.image_shape)).expand(n, *self.image_shape)


@pytest.mark.parametrize(
    ("num_classes", "n", "rows", "columns"), [(10, 64, 10, 6), (16, 64, 16, 4), (3, 8, 3, 2), (100, 64, 8, 8)]
)
def test_a_row_for_each_class(num_classes, n, rows, columns):
    picture = SampleGrid("x", 1, n).pictures(None, Flat(num_classes))["samples"]
    margin = picture.shape[2] - (columns * 10 + 2)
    assert picture.shape[1] == rows * 10 + 2
    colors = picture[0, 5::10, margin + 5 :: 10]
    torch.testing.assert_close(colors, (torch.arange(rows) / num_classes)[:, None].expand(-1, columns))
    assert all(picture[0, 2 + 10 * row : 10 + 10 * row, :margin].max() > 0.5 for row in range(rows))  # its name


def test_other_grids_are_square():
    assert SampleGrid("x", 1, 64).pictures(None, Flat(None))["samples"].shape == (1, 82, 82)
    assert SampleGrid("x", 1, 4).pictures(None, Flat(10))["samples"].shape[0] == 1  # one of each class, named above it


def test_conditional_sequences_have_their_class():
    pictures = SampleGrid("x", 1, 6).pictures(None, Flat(3, (5, 1, 8, 8)))
    assert pictures["samples"].shape[1] == 3 * 10 + 2
    assert pictures["samples_moving"].shape[:3] == (5, 1, 3 * 10 + 2)


def test_nothing_of_models_that_do_not_generate():
    model = Flat(10)
    model.generates = False
    assert SampleGrid("x", 1, 64).pictures(None, model) == {}


def test_points_are_plotted():
    batch = Batch(torch.tensor([[-1.0, -1.0]]).view(1, 1, 1, 2), None)
    trainer = SimpleNamespace(datamodule=SimpleNamespace(batches=lambda *_, limit: iter([batch])))
    picture = SampleGrid("x", 1, 64).pictures(trainer, Flat(None, (1, 1, 2)))["samples"]
    assert picture.shape == (1, 256, 256)
    assert picture[0, 128, 128] > 0.99  # 2,000 samples in the middle
    assert -0.7 < picture[0, 255, 0] < -0.5  # one real point, dimmer
    assert (picture == -1).float().mean() > 0.99


def test_the_plot_has_its_axes_right():
    corner = scatter([(torch.tensor([[1.0, 0.5]]), 1.0)])
    rows, columns = (corner[0] > -1).nonzero().T
    assert rows.float().mean().item() == pytest.approx((1 - 0.5) / 2 * 255, abs=1)
    assert columns.min() >= 254
    assert scatter([(torch.tensor([[5.0, float("nan")]]), 1.0)]).isfinite().all()
    assert [are_points(shape) for shape in ((1, 1, 2), (1, 1, 1), (3, 4, 4))] == [True, False, False]


def test_pairs_stay_together():
    above = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 1, 4, 4)
    picture = pairs(above, -above, columns=3)
    expected = grid(torch.cat([above[:3], -above[:3], above[3:], -above[:1] * 0 - 1, -above[3:]]), columns=3)
    torch.testing.assert_close(picture, expected)


@pytest.mark.parametrize(("image_shape", "drawn"), [((2, 8, 8), False), ((4, 8, 8), True), ((2, 1, 1), True)])
def test_channels_that_no_image_file_has_are_not_drawn(image_shape, drawn):
    assert drawable(Flat(None, image_shape)) is drawn
