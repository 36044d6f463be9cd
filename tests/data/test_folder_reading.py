"""What a folder is read as: splits, classes, links, and the lines about what is left out or may be meant otherwise."""

import os
import socket
import unicodedata
from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_gen.cli.commands import inspect
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data
from lightning_gen.data.folder import Folder
from lightning_gen.data.frames import Frames
from lightning_gen.data.whole_folder import image_folder
from lightning_gen.errors import UserError


def save(folder: Path, *names: str, value: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("L", (4, 4), value).save(folder / name, "png")


def folder(path: Path, *overrides: str) -> Folder:
    return build_data(compose(["data=folder", f"data.path={path}", "data.num_workers=0", *overrides], "inspect").data)


def frames(path: Path, *overrides: str) -> Frames:
    options = ["data=frames", f"data.path={path}", "data.frames=2", "data.num_workers=0", "data.channels=1"]
    return build_data(compose([*options, *overrides], "inspect").data)


def whole(path: Path, *overrides: str) -> Folder:
    return folder(path, "data.split=[1,0,0]", *overrides)


def twelve(path: Path, value: int = 0) -> None:
    save(path, *(f"{number}.png" for number in range(12)), value=value)


def printed(capsys: pytest.CaptureFixture, *overrides: str) -> str:
    inspect.run(Job(compose([*overrides, "data.num_workers=0"], "inspect")))
    return capsys.readouterr().out


def paths(data: Folder, split: str) -> set[str]:
    return {path.relative_to(data.root).as_posix() for path in data.load()[split].images.paths}


# Which folders are splits


def test_a_class_called_train_is_a_class(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number, name in enumerate(("bus", "car", "train")):
        twelve(tmp_path / name, 100 * number)
    data = whole(tmp_path)
    assert (data.class_names, data.split_sizes["train"]) == (["bus", "car", "train"], 36)
    train = data.sources["train"]
    assert torch.equal(train.labels * 100, train.images[:, 0, 0, 0].long())
    assert any(note.startswith("read as classes, not as splits: train (for one alone: ") for note in data.notes)
    assert "36 files seen, 36 used, 0 left out" in printed(capsys, "data=folder", f"data.path={tmp_path}")
    # Runs from before the rule keep what they were trained on, and now it is told.
    before = whole(tmp_path, "data.split_by=number")
    assert (before.class_names, before.split_sizes["train"]) == (None, 12)
    assert "left out, beside the folders of the splits: bus/ (12), car/ (12)" in before.notes
    data = image_folder(str(tmp_path))
    data.setup()
    assert data.num_classes == 3


@pytest.mark.parametrize(
    ("images", "used", "classes", "left_out"),
    [
        (["train/a/1.png", "train/b/1.png", "labels.csv"], 2, ["a", "b"], "of another kind: labels.csv"),
        (["train/1.png", "test/1.png", "misc/1.png", "x.png"], 2, None, "the splits: misc/ (1), x.png"),
        (["train/1.png", "example.png"], 1, None, "the splits: example.png"),
        (["train/a/1.png", "train/b/1.png", "misc/1.png"], 2, ["a", "b"], "the splits: misc/ (1)"),
        (["train/a/1.png", "misc/a/1.png"], 2, ["misc", "train"], None),
        (
            ["train/1.png", "Train/1.png", "training/1.png", "val/1.png"],
            2,
            None,
            "the splits: Train/ (1), training/ (1)",
        ),
        (["train/1.png", "empty/notes.txt"], 1, None, "folders with nothing to read: empty/"),
        (["valid/1.png", "invalid/1.png"], 2, ["invalid", "valid"], None),
        (["test/1.png", "val/1.png"], 2, ["test", "val"], None),
    ],
)
def test_split_folders(
    tmp_path: Path, images: list[str], used: int, classes: list[str] | None, left_out: str | None
) -> None:
    for name in images:
        save((tmp_path / name).parent, Path(name).name)
    data = whole(tmp_path)
    assert sum(data.split_sizes.values()) == used
    assert data.class_names == classes
    text = "\n".join(data.notes)
    assert f"{len(images)} files seen, {used} used, {len(images) - used} left out" in text
    assert (left_out in text) if left_out else ("left out," not in text)


def test_clips_in_folders_called_train(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        save(tmp_path / name, "1.png", "2.png", "3.npy")
    data = frames(tmp_path, "data.split=[1,0,0]")
    assert data.split_sizes["train"] == 2
    assert data.notes == [
        "6 files seen, 4 used, 2 left out",
        "left out, of another kind: bus/3.npy, train/3.npy",
        "not read as splits: train",
    ]
    assert frames(tmp_path, "data.split=[1,0,0]", "data.split_by=number").split_sizes["train"] == 1


# Classes


def test_classes_are_in_natural_order(tmp_path: Path) -> None:
    for number in range(12):
        save(tmp_path / str(number), "x.png", value=number)
    save(tmp_path / "01", "x.png", value=99)  # the same number: the order must not depend on chance
    data = whole(tmp_path)
    assert data.class_names == ["0", "01", *map(str, range(1, 12))]
    by_text = whole(tmp_path, "data.split_by=number")
    assert by_text.class_names == sorted(data.class_names)
    assert by_text.class_names[4] == "11"


def test_a_flat_test_folder_has_no_labels(tmp_path: Path) -> None:
    twelve(tmp_path / "train" / "cat", 10)
    twelve(tmp_path / "train" / "dog", 20)
    twelve(tmp_path / "test", 30)
    data = folder(tmp_path)
    assert data.class_names == ["cat", "dog"]
    assert [data.has_labels(split) for split in ("train", "val", "test")] == [True, True, False]
    batch = next(iter(data.batches("test", "cpu")))
    assert (len(batch.images), batch.labels) == (12, None)
    assert "without class folders, so without labels: test" in data.notes
    assert "classes:     2: cat 12, dog 12" in "\n".join(f"{title + ':':<13}{value}" for title, value in data.inspect())
    (tmp_path / "train").rename(tmp_path / "swapped")
    (tmp_path / "test").rename(tmp_path / "train")
    (tmp_path / "swapped").rename(tmp_path / "test")
    swapped = folder(tmp_path)
    assert swapped.class_names is None
    assert "class folders are not read: the training images have none" in swapped.notes


def test_doubtful_classes_are_named(tmp_path: Path) -> None:
    twelve(tmp_path / "train" / "Cat")
    twelve(tmp_path / "train" / "dog" / "puppies")
    twelve(tmp_path / "test" / "cat")
    data = folder(tmp_path)
    assert data.class_names == ["Cat", "cat", "dog"]
    assert data.notes[1:] == [
        "folders in classes are not read as classes: train/dog/puppies",
        "classes that differ only in case: Cat, cat",
        "classes without training images: cat",
    ]
    twelve(tmp_path / "outer" / "data" / "a")
    twelve(tmp_path / "outer" / "data" / "b")
    assert whole(tmp_path / "outer").notes[1:] == [
        "folders in classes are not read as classes: data/a, data/b",
        "one class is no label: data",
    ]


def test_flat_and_nested_images_are_refused_whatever_split_they_are_in(tmp_path: Path) -> None:
    save(tmp_path / "class", "1.png")
    for seed in range(5):
        twelve(tmp_path)
        with pytest.raises(UserError, match="some images have a class folder"):
            folder(tmp_path, f"data.seed={seed}")


# Links, and what is no image


@pytest.mark.parametrize("links", [{"latest": "."}, {"up": ".."}, {"a": "b", "b": "c", "c": "."}, {"again": "cat"}])
def test_each_folder_is_read_once(tmp_path: Path, links: dict[str, str]) -> None:
    root = tmp_path / "root"
    twelve(root / "cat")
    twelve(root / "dog")
    alone = folder(root)
    for name, target in links.items():
        (root / name).symlink_to(target)
    data = folder(root)
    assert data.split_sizes == alone.split_sizes
    assert data.class_names == ["cat", "dog"]
    assert [paths(data, split) for split in ("train", "val")] == [paths(alone, split) for split in ("train", "val")]
    told = next(note for note in data.notes if "links to folders that are read already" in note)
    assert all(f"{name}/" in told for name in links)
    assert frames(root, "data.split=[1,0,0]").split_sizes["train"] == 12


def test_a_linked_folder_outside_is_read(tmp_path: Path) -> None:
    twelve(tmp_path / "elsewhere" / "deep")
    twelve(tmp_path / "root" / "dog")
    (tmp_path / "root" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "deep" / "loop").symlink_to(tmp_path / "root")
    data = whole(tmp_path / "root")
    assert (data.class_names, data.split_sizes["train"]) == (["cat", "dog"], 24)


def test_files_that_are_read_twice_are_named(tmp_path: Path) -> None:
    twelve(tmp_path / "root" / "cat")
    save(tmp_path / "elsewhere", "1.png")
    (tmp_path / "root" / "dog").mkdir()
    (tmp_path / "root" / "dog" / "inner.png").symlink_to("../cat/1.png")
    (tmp_path / "root" / "dog" / "outer.png").symlink_to("../../elsewhere/1.png")
    data = whole(tmp_path / "root")
    assert data.split_sizes["train"] == 14
    assert data.notes == ["14 files seen, 14 used, 0 left out", "read twice, by links too: dog/inner.png"]


def test_what_is_neither_file_nor_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twelve(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    monkeypatch.chdir(tmp_path)  # paths of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        (tmp_path / "device.png").symlink_to("/dev/zero")
        (tmp_path / "self").symlink_to("self")
        (tmp_path / "gone").symlink_to("nowhere")
        data = whole(tmp_path)
    assert data.split_sizes["train"] == 12
    assert data.notes == [
        "17 files seen, 12 used, 5 left out",
        "left out, neither files nor folders: device.png, pipe.png, socket.png",
        "left out, links that lead nowhere: gone, self",
    ]
    (tmp_path / "lost.png").symlink_to("nowhere.png")
    (tmp_path / "round.png").symlink_to("round.png")
    with pytest.raises(UserError, match=r"lost\.png cannot be read"):
        whole(tmp_path)
    assert whole(tmp_path, "data.skip_unreadable=true").split_sizes["train"] == 12


def test_files_left_out_are_named_in_bounds(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    twelve(tmp_path / "cat")
    twelve(tmp_path / "dog")
    save(tmp_path / "dog", "13.PNG", ".14.png")
    save(tmp_path / "@eaDir", "thumb.png")
    save(tmp_path / "__MACOSX" / "cat", "._1.png")
    for number in range(99):
        (tmp_path / "cat" / f"{number}.npy").write_text("")
    (tmp_path / "bird").mkdir()
    (tmp_path / "bird" / "\x1b[31m\udcff.heic").write_text("")
    text = printed(capsys, "data=folder", f"data.path={tmp_path}")
    assert "126 files seen, 25 used, 101 left out\n" in text
    assert "left out, hidden or of the system: @eaDir/, __MACOSX/, dog/.14.png\n" in text
    assert r"left out, of another kind: bird/\x1b[31m\udcff.heic, cat/0.npy, " in text
    assert "98.npy" not in text
    assert ", ... and 90 more\n" in text
    assert "left out, folders with nothing to read: bird/\n" in text


def test_folders_that_cannot_be_read_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twelve(tmp_path / "cat")
    twelve(tmp_path / "dog")
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=r"data\.skip_unreadable=false: .*dog cannot be read .*Permission denied"):
        whole(tmp_path)
    data = whole(tmp_path, "data.skip_unreadable=true")
    assert data.split_sizes["train"] == 12
    assert "left out, unreadable: dog/" in data.notes


# Splits by path


def split_of(data: Folder) -> dict[str, str]:
    return {path: split for split in ("train", "val", "test") for path in paths(data, split)}


def test_an_image_keeps_its_split_whatever_else_is_there(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        save(tmp_path / name, *(f"{number}.png" for number in range(100)))
    before = split_of(folder(tmp_path))
    counts = [list(before.values()).count(split) for split in ("train", "val", "test")]
    assert all(abs(count - 200 * share) < 15 for count, share in zip(counts, (0.8, 0.1, 0.1), strict=True))
    for number in range(0, 100, 7):
        (tmp_path / "cat" / f"{number}.png").unlink()
    save(tmp_path / "ant", *(f"{number}.png" for number in range(50)))
    after = split_of(folder(tmp_path))
    kept = before.keys() & after.keys()
    assert len(kept) == 185
    assert all(before[path] == after[path] for path in kept)
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert split_of(folder(moved)) == after
    assert split_of(folder(moved, "data.seed=1")) != after
    # By number, as in runs from before the key, a single image changes most splits.
    number = split_of(folder(moved, "data.split_by=number"))
    save(moved / "ant", "new.png")
    changed = split_of(folder(moved, "data.split_by=number"))
    assert sum(number[path] != changed[path] for path in number) > 30


def test_splits_by_path_for_good(tmp_path: Path) -> None:
    twelve(tmp_path)
    accents = unicodedata.normalize("NFC", "é.png")
    save(tmp_path, accents)
    data = folder(tmp_path, "data.split=[0.4,0.3,0.3]")
    assert paths(data, "val") == {"3.png", "5.png", "6.png", "11.png"}
    split = split_of(data)[accents]
    (tmp_path / accents).rename(tmp_path / unicodedata.normalize("NFD", accents))
    assert split_of(folder(tmp_path, "data.split=[0.4,0.3,0.3]"))[unicodedata.normalize("NFD", accents)] == split


def test_a_folder_for_one_split_leaves_the_other_as_it_was(tmp_path: Path) -> None:
    save(tmp_path / "train", *(f"{number}.png" for number in range(60)))
    before = folder(tmp_path)
    twelve(tmp_path / "test")
    after = folder(tmp_path)
    assert paths(after, "val") == paths(before, "val")
    assert paths(after, "train") == paths(before, "train") | paths(before, "test")


def test_a_clip_keeps_its_split(tmp_path: Path) -> None:
    for clip in range(40):
        save(tmp_path / str(clip), *(f"{number}.png" for number in range(4)), value=clip)

    def clips(split: str) -> set[int]:
        data = frames(tmp_path)
        assert data.split_sizes == {split: len(source) for split, source in data.sources.items()}
        return {int(image[0, 0, 0, 0]) for image in data.sources[split].images}

    assert frames(tmp_path, "data.frames=3").notes == [
        "160 files seen, 160 used, 0 left out",
        "left out, 40 of 160 frames at the ends of clips, after sequences that span 3",
    ]
    before = {split: clips(split) for split in ("train", "val", "test")}
    assert sum(map(len, before.values())) == 40
    assert min(map(len, before.values())) > 0
    save(tmp_path / "100", "1.png", "2.png", value=100)
    after = {split: clips(split) - {100} for split in before}
    assert after == before


def test_too_few_images_for_a_split_are_told_with_a_seed_that_helps(tmp_path: Path) -> None:
    save(tmp_path, *(f"{number}.png" for number in range(10)))
    with pytest.raises(
        UserError, match=r"no images in it, set data\.split, or data\.seed=\d+ to draw others$"
    ) as caught:
        folder(tmp_path, "data.seed=0").check_images("val")
    seed = str(caught.value).partition("data.seed=")[2].split()[0]
    assert min(folder(tmp_path, f"data.seed={seed}").split_sizes.values()) > 0
    with pytest.raises(UserError, match=r"no image is for training, set data\.split$"):
        folder(tmp_path, "data.split=[0,0.5,0.5]")
