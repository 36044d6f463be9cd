"""`data=folder`: any image files, splits, classes, and what is said when something is wrong with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lightning_gen.cli.commands import inspect
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data
from lightning_gen.data.folder import Folder
from lightning_gen.data.source import StreamSource, TensorSource
from lightning_gen.errors import UserError


def folder(path: Path, *overrides: str) -> Folder:
    return build_data(compose(["data=folder", f"data.path={path}", "data.num_workers=0", *overrides], "inspect").data)


def save(path: Path, value: int | np.ndarray = 0, size: tuple[int, int] = (6, 8), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(value) if isinstance(value, np.ndarray) else Image.new("L", size[::-1], value)
    (image if isinstance(value, np.ndarray) else image.convert(mode)).save(path)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    for number in range(20):
        save(tmp_path / "images" / f"{number:02}.png", number * 10)
    return tmp_path / "images"


def only_image(path: Path, *overrides: str) -> Tensor:
    """The one file in `path` as the data module has it."""
    return folder(path, "data.split=[1,0,0]", *overrides).sources["train"].images[0]


def levels(data: Folder, split: str) -> set[int]:
    return {int(image[0, 0, 0]) for image in data.sources[split].images}


NUMBER = "data.split_by=number"  # the splits of runs from before the key: exact fractions


def test_flat_images_have_no_labels_and_a_stable_split(flat: Path) -> None:
    data = folder(flat, NUMBER)
    assert (data.name, data.num_classes, data.image_shape) == ("images", None, (1, 6, 8))
    assert data.split_sizes == {"train": 16, "val": 2, "test": 2}
    parts = [levels(data, split) for split in ("train", "val", "test")]
    assert parts[1] == {110, 180}  # seed 0, for good
    assert parts[2] == {80, 150}
    assert set.union(*parts) == {10 * number for number in range(20)}
    assert levels(folder(flat, NUMBER, "data.seed=1"), "val") != parts[1]
    assert folder(flat, NUMBER, "data.split=[0.5,0.25,0.25]").split_sizes == {"train": 10, "val": 5, "test": 5}


def test_streamed_and_in_memory_images_agree(flat: Path) -> None:
    memory, stream = folder(flat), folder(flat, "data.in_memory=false")
    assert isinstance(memory.sources["train"], TensorSource)
    assert isinstance(stream.sources["train"], StreamSource)
    assert stream.image_shape == memory.image_shape
    for one, other in zip(memory.batches("train", "cpu"), stream.batches("train", "cpu"), strict=True):
        assert torch.equal(one.images, other.images)


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for number in range(10):
        save(tmp_path / "dog" / f"{number}.png", 200)
        save(tmp_path / "cat" / "deeper" / f"{number}.JPG", 100)
    save(tmp_path / ".hidden" / "x.png")
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    data = folder(tmp_path)
    assert (data.class_names, data.num_classes) == (["cat", "dog"], 2)
    for source in data.sources.values():
        assert torch.equal(source.labels, (source.images[:, 0, 0, 0] > 150).long())
    assert sum(data.split_sizes.values()) == 20
    assert folder(tmp_path, "data.labels=false").num_classes is None


def test_split_folders(tmp_path: Path) -> None:
    for split, count in (("train", 10), ("Validation", 4)):
        for number in range(count):
            save(tmp_path / split / "ab"[number % 2] / f"{number}.png", 10 + count)
    data = folder(tmp_path, NUMBER)
    assert data.split_sizes == {"train": 9, "val": 4, "test": 1}  # no test folder: a tenth of train
    assert levels(data, "val") == {14}
    assert levels(data, "train") == levels(data, "test") == {20}
    assert data.class_names == ["a", "b"]


def test_one_class_is_no_class(tmp_path: Path) -> None:
    for number in range(10):
        save(tmp_path / "all" / f"{number}.png")
    assert folder(tmp_path).num_classes is None


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257], [1000, 32768, 65406, 65535]], dtype=np.uint16)
    save(tmp_path / "deep.png", values)
    assert only_image(tmp_path)[0].tolist() == np.round(values / 257).astype(int).tolist()
    assert only_image(tmp_path).max() == 255
    assert only_image(tmp_path, "data.channels=3").shape == (3, 2, 4)
    Image.fromarray(values.astype(">u2")).save(tmp_path / "deep.png")
    assert only_image(tmp_path)[0, 1, 3] == 255


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255], [255, 255]], np.uint8)).convert("1").save(tmp_path / "bit.png")
    assert only_image(tmp_path).tolist() == [[[0, 255], [255, 255]]]


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
    save(tmp_path / "clear.png", pixels)
    assert only_image(tmp_path).permute(1, 2, 0).tolist() == [[[200, 0, 0], [255, 255, 255], [127, 127, 127]]]
    assert torch.equal(only_image(tmp_path, "data.channels=4").permute(1, 2, 0), torch.from_numpy(pixels))
    gray = np.array([[[100, 255], [100, 0]]], np.uint8)
    save(tmp_path / "clear.png", gray)
    assert only_image(tmp_path).tolist() == [[[100, 255]]]


def test_palettes(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.save(tmp_path / "palette.png")
    assert only_image(tmp_path).permute(1, 2, 0).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    image.save(tmp_path / "palette.png", transparency=1)
    assert only_image(tmp_path).permute(1, 2, 0).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_gray_and_color_files_mix(tmp_path: Path, mode: str) -> None:
    save(tmp_path / "gray.tif", 255)
    save(tmp_path / "color.tif", 255, mode=mode)
    images = folder(tmp_path, "data.split=[1,0,0]").sources["train"].images
    assert images.shape == (2, 3, 6, 8)
    assert (images == 255).all()
    assert folder(tmp_path, "data.channels=1").image_shape == (1, 6, 8)


def test_photos_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    image.save(tmp_path / "photo.png", exif=exif)
    turned = np.rot90(np.asarray(image), -1)
    assert only_image(tmp_path)[0].tolist() == turned.tolist()


def test_resize(tmp_path: Path) -> None:
    pixels = np.full((40, 80), 100, np.uint8)
    pixels[:, :20] = pixels[:, 60:] = 200
    save(tmp_path / "wide.png", pixels)
    size = "data.size=16"
    crop = only_image(tmp_path, size, "data.resize=crop")[0].float()
    assert crop.shape == (16, 16)
    assert (crop[:, 3:-3] == 100).all()
    stretched = only_image(tmp_path, size, "data.resize=stretch")[0]
    assert (stretched[:, 1] > 190).all()
    assert (stretched[:, 7:9] == 100).all()
    padded = only_image(tmp_path, size, "data.resize=pad")[0]
    assert (padded[:4] == 0).all()
    assert (padded[-4:] == 0).all()
    assert (padded[4:12] > 90).all()
    assert only_image(tmp_path, "data.size=[10,20]").shape == (1, 10, 20)


def test_downscaling_is_antialiased(tmp_path: Path) -> None:
    save(tmp_path / "checks.png", np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255)
    inner = only_image(tmp_path, "data.size=8")[0, 1:-1, 1:-1].float()
    assert (inner - 127.5).abs().max() < 3


def truncated(path: Path) -> None:
    save(path, np.random.default_rng(0).integers(0, 256, (6, 8), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-40])


def test_damaged_files_are_named_and_can_be_left_out(flat: Path) -> None:
    (flat / "03.png").write_bytes(b"no image at all")
    (flat / "04.png").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"data.skip_unreadable=false: .*03.png cannot be read .*\(and 1 more like it\)"
    ):
        folder(flat)
    (flat / "03.png").unlink()
    truncated(flat / "04.png")
    with pytest.raises(UserError, match=r"04.png cannot be read \(.*\): remove it, or .*data.skip_unreadable=true$"):
        folder(flat)
    for workers in (0, 1):
        data = folder(flat, "data.in_memory=false", f"data.num_workers={workers}")
        with pytest.raises(UserError, match=r"^data.skip_unreadable=false: .*04.png") as caught:
            list(data.batches("train", "cpu"))
        assert "\n" not in str(caught.value)
    kept = folder(flat, "data.skip_unreadable=true")
    assert sum(kept.split_sizes.values()) == 18
    for path in flat.iterdir():
        path.write_bytes(b"x")
    with pytest.raises(UserError, match="none of the 19 image files can be read"):
        folder(flat, "data.skip_unreadable=true")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.channels=2"], r"data.channels=2: choose 1 \(gray\), 3 \(RGB\), 4 \(RGBA\) or null"),
        (["data.size=0"], r"data.size=0: give a number, \[height,width\] or null"),
        (["data.size=[1,2,3]"], r"data.size=\[1, 2, 3\]: give a number, \[height,width\] or null"),
        (["data.resize=zoom"], r"data.resize.*crop"),
        (["data.split=[0.5,0.2,0.2]"], r"data.split=\[0.5, 0.2, 0.2\]: give three fractions that sum to 1"),
    ],
)
def test_mistakes_in_keys(flat: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        folder(flat, *overrides)


def test_mistakes_in_the_path(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"data.path={tmp_path}/imagse does not exist: did you mean {flat}\?"):
        folder(tmp_path / "imagse")
    with pytest.raises(UserError, match=r"does not exist: give a folder of images"):
        folder(tmp_path / "no" / "such")
    with pytest.raises(UserError, match=r"00.png is not a folder: give the folder"):
        folder(flat / "00.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=rf"data.path={tmp_path}/empty: there are no images .* in {tmp_path}/empty"):
        folder(tmp_path / "empty")
    with pytest.raises(UserError, match=r"data.path"):
        compose(["data=folder"], "inspect")


def test_unlike_sizes_are_named_with_the_fix(flat: Path) -> None:
    save(flat / "99.png", size=(5, 5))
    with pytest.raises(UserError, match=r"00.png is 6x8 and 99.png is 5x5: set data.size=\[6,8\] \(data.resize=crop"):
        folder(flat)
    assert folder(flat, "data.size=[6,8]").image_shape == (1, 6, 8)


def test_images_beside_class_folders(flat: Path) -> None:
    save(flat / "class" / "1.png")
    with pytest.raises(
        UserError, match=r"class/1.png\), others have none \(\d+.png\): move them or set data.labels=false"
    ):
        folder(flat)
    assert folder(flat, "data.labels=false").num_classes is None


def test_a_batch_larger_than_the_folder(flat: Path) -> None:
    with pytest.raises(
        UserError, match=r"data.batch_size=64: data=images has only 16 training images, set .*=16 or less"
    ):
        folder(flat, NUMBER).train_dataloader()


def printed(capsys: pytest.CaptureFixture, *overrides: str) -> str:
    inspect.run(Job(compose([*overrides, "data.num_workers=0"], "inspect")))
    return capsys.readouterr().out


def test_inspect_reports_a_folder_that_cannot_be_loaded(flat: Path, capsys: pytest.CaptureFixture) -> None:
    truncated(flat / "04.png")
    save(flat / "99.png", np.zeros((5, 5), np.uint16))
    (flat / "98.png").write_bytes(b"x")
    text = printed(capsys, "data=folder", f"data.path={flat}")
    for part in ("files:       22", "6x8 (20), 5x5 (1)", "L (20), I;16 (1)", "8 (20), 16 (1)", "04.png (", "98.png ("):
        assert part in text
    assert "problem:     data.skip_unreadable=false: " in text
    text = printed(capsys, "data=folder", f"data.path={flat}", NUMBER, "data.size=[6,8]")
    assert "images:      train 16, val 2, test 2" in text
    assert "problem:     data.skip_unreadable=false: " in text
    text = printed(capsys, "data=folder", f"data.path={flat}", NUMBER, "data.skip_unreadable=true", "data.size=[6,8]")
    assert "images:      train 16, val 2, test 2" in text
    assert "problem" not in text


def test_inspect_counts_classes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number in range(12):
        save(tmp_path / ("a" if number < 5 else "b") / f"{number}.png")
    text = printed(capsys, "data=folder", f"data.path={tmp_path}")
    assert "classes:     2: a 5, b 7" in text
    assert "unreadable:  none" in text
    text = printed(capsys, "data=mnist5k")
    assert "images:      train 4,000, val 500, test 500" in text
    assert "1 x 28 x 28 (gray, 8 bits)" in text
    assert "7 500" in text
    assert "classes:     none" in printed(capsys, "data=fake", "data.num_classes=null")
