"""Values of pixels: files of any bits and range are read as what they show, or told of."""

import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from lightning_gen.cli.commands import inspect
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data
from lightning_gen.data.folder import Folder
from lightning_gen.data.image_data import ImageData
from lightning_gen.errors import UserError

TWELVE = np.array([[0, 1000], [2048, 4095]], np.uint16)


def folder(path: Path, *overrides: str) -> Folder:
    return build_data(
        compose(
            ["data=folder", f"data.path={path}", "data.num_workers=0", "data.split=[1,0,0]", *overrides], "inspect"
        ).data
    )


def doubts(data: ImageData) -> list[str]:
    """The notes on pixels, without those on what is in the folder."""
    return [note for note in data.notes if "values (" in note or "frames" in note or "profiles" in note]


def values(path: Path, *overrides: str) -> list[list[int]]:
    """The one gray image in a folder, as models see it."""
    return folder(path, *overrides).sources["train"].images[0, 0].tolist()


def printed(capsys: pytest.CaptureFixture, *overrides: str) -> str:
    inspect.run(Job(compose([*overrides, "data.num_workers=0"], "inspect")))
    return capsys.readouterr().out


def save_tiff(path: Path, array: np.ndarray, sample_format: int = 1, bits: int | None = None, white: int = 1) -> None:
    """Write a gray TIFF by its tags; `white` is 1, or 0 for files whose zero is white."""
    data, (height, width) = array.tobytes(), array.shape
    longs = {256: width, 257: height, 273: 8, 278: height, 279: len(data)}
    shorts = {258: bits or array.itemsize * 8, 259: 1, 262: white, 277: 1, 339: sample_format}
    entries = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in longs.items()}
    entries |= {tag: struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in shorts.items()}
    directory = struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory)


def save_color_png(path: Path, array: np.ndarray) -> None:
    """Write RGB of 16 bits, which Pillow cannot."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    size = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", size), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


# The range of values


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_twelve_bits_in_sixteen(tmp_path: Path, name: str, capsys: pytest.CaptureFixture) -> None:
    Image.fromarray(TWELVE).save(tmp_path / name)
    dark = folder(tmp_path)
    assert dark.sources["train"].images.max() == 16
    (note,) = doubts(dark)
    assert note == (
        "values (16 bits) go from 0 to 4095 of 65535: the images are dark; if that is not meant, "
        "set data.range=[0,4095]"
    )
    right = folder(tmp_path, "data.range=[0,4095]")
    assert right.sources["train"].images[0, 0].tolist() == [[0, 62], [128, 255]]
    assert doubts(right) == []
    said = printed(capsys, "data=folder", f"data.path={tmp_path}", "data.split=[1,0,0]")
    assert "values:      16 bits: 0 to 4095\n" in said
    assert "values (16 bits) go from 0 to 4095 of 65535" in said


def test_signed_and_long_integers(tmp_path: Path) -> None:
    save_tiff(tmp_path / "a.tif", np.array([[-1000, 0], [500, 1000]], np.int16), sample_format=2)
    (note,) = doubts(folder(tmp_path))
    assert note.endswith("go from -1000 to 1000: those outside 0 to 65535 are clipped; set data.range=[-1000,1000]")
    assert values(tmp_path, "data.range=[-1000,1000]") == [[0, 128], [191, 255]]
    Image.fromarray(np.array([[0, 100_000], [200_000, 400_000]], np.int32)).save(tmp_path / "a.tif")
    assert values(tmp_path) == [[0, 255], [255, 255]]
    (note,) = doubts(folder(tmp_path))
    assert note.startswith("values (32 bits) go from 0 to 400000: those outside 0 to 65535 are clipped")
    assert values(tmp_path, "data.range=[0,400000]") == [[0, 64], [128, 255]]


def test_tags_say_what_the_numbers_mean(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    save_tiff(file, np.array([[0, 3_000_000_000]], np.uint32))
    assert "go from 0 to 3000000000" in doubts(folder(tmp_path))[0]
    assert values(tmp_path, "data.range=[0,4000000000]") == [[0, 191]]
    save_tiff(file, np.array([[-128, 0, 127]], np.int8), sample_format=2)
    assert values(tmp_path) == [[0, 0, 127]]
    assert values(tmp_path, "data.range=[-128,127]") == [[0, 128, 255]]
    for dtype, white in ((np.uint8, 255), (np.uint16, 65535)):
        save_tiff(file, np.array([[0, white // 5, white]], dtype), white=0)
        assert values(tmp_path) == [[255, 204, 0]]
    save_tiff(file, np.array([[0, 4095]], np.uint16), white=0)
    assert values(tmp_path, "data.range=[0,4095]") == [[255, 0]]
    packed = np.array([[0xFF, 0xF0, 0x00]], np.uint8)  # 4095 and 0, in 12 bits each
    save_tiff(file, packed, bits=12)
    file.write_bytes(file.read_bytes().replace(struct.pack("<HHII", 256, 4, 1, 3), struct.pack("<HHII", 256, 4, 1, 2)))
    assert values(tmp_path) == [[255, 0]]


def test_floating_point_needs_a_range(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.fromarray(np.array([[0, 0.25, 1, 2]], np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"f\.tif cannot be read \(floating-point .*: give data\.range=\[lo,hi\]\): "):
        folder(tmp_path)
    said = printed(capsys, "data=folder", f"data.path={tmp_path}")
    assert "floating point: 0 to 2\n" in said
    assert "problem:     data.skip_unreadable=false: " in said
    assert values(tmp_path, "data.range=[0,1]") == [[0, 64, 255, 255]]
    assert values(tmp_path, "data.range=[-0.5,2]") == [[51, 76, 153, 255]]
    Image.fromarray(np.array([[0, np.nan]], np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(UserError, match=r"f\.tif cannot be read \(some values are NaN\)"):
        folder(tmp_path, "data.range=[0,1]")


def test_a_range_of_eight_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 5, 9]], np.uint8)).save(tmp_path / "mask.png")
    (note,) = doubts(folder(tmp_path))
    assert note.startswith("values (8 bits) go from 0 to 9 of 255: the images are dark")
    assert note.endswith("set data.range=[0,9]")
    assert values(tmp_path, "data.range=[0,9]") == [[0, 142, 255]]
    pixels = np.array([[[10, 20, 30, 128], [250, 0, 0, 0]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    images = folder(tmp_path, "data.range=[10,30]", "data.channels=4").sources["train"].images[0]
    assert images.permute(1, 2, 0).tolist() == [[[0, 128, 255, 128], [255, 0, 0, 0]]]
    assert "makes all of them white" in doubts(folder(tmp_path, "data.range=[-9,0]"))[0]


def test_colors_of_sixteen_bits(tmp_path: Path) -> None:
    save_color_png(tmp_path / "a.png", np.array([[[0, 32768, 65535], [257, 514, 65024]]], np.uint16))
    data = folder(tmp_path)
    assert data.sources["train"].images[0].permute(1, 2, 0).tolist() == [[[0, 128, 255], [1, 2, 254]]]
    assert doubts(data) == []
    with pytest.raises(UserError, match=r"colors of 16 bits are read as 8 bits, without data\.range"):
        folder(tmp_path, "data.range=[0,4095]")
    save_color_png(tmp_path / "a.png", np.array([[[0, 2048, 4095]]], np.uint16))
    (note,) = doubts(folder(tmp_path))
    assert note.startswith("values (the upper 8 of 16 bits) go from 0 to 15 of 255")
    assert note.endswith("convert the files to 8 bits")


def test_a_transparent_value_of_sixteen_bits(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1000, 65535]], np.uint16)).save(tmp_path / "a.png", transparency=1000)
    assert values(tmp_path) == [[0, 255, 255]]
    clear = folder(tmp_path, "data.channels=4").sources["train"].images[0, 3]
    assert clear.tolist() == [[255, 0, 255]]


@pytest.mark.parametrize("wrong", ["[1]", "[3,2]", "[0,1,2]", "[1,1]"])
def test_mistakes_in_the_range(tmp_path: Path, wrong: str) -> None:
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"^data\.range=\[.*: give the values that are black and white, as \[0,4095\]"):
        folder(tmp_path, f"data.range={wrong}")


def test_a_config_from_before_the_range(tmp_path: Path) -> None:
    Image.fromarray(TWELVE).save(tmp_path / "a.png")
    config = compose(["data=folder", f"data.path={tmp_path}", "data.split=[1,0,0]"], "inspect").data
    config = {key: value for key, value in config.items() if key != "range"}
    assert build_data(config).sources["train"].images[0, 0].tolist() == [[0, 4], [8, 16]]


def test_the_range_of_clips(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    for number in range(4):
        Image.fromarray(TWELVE + number).save(tmp_path / "clip" / f"{number}.png")
    options = ["data=frames", f"data.path={tmp_path}", "data.frames=2", "data.split=[1,0,0]", "data.num_workers=0"]
    assert "set data.range=[0,8191]" in doubts(build_data(compose(options, "inspect").data))[0]
    data = build_data(compose([*options, "data.range=[0,4096]"], "inspect").data)
    assert data.sources["train"].images[:, 0, 0, 1, 1].tolist() == [255, 255]
    assert data.sources["train"].images[0, 0, 0].tolist() == [[0, 62], [128, 255]]


# What is left out or read in part


def test_unreadable_files_are_left_out_and_counted(tmp_path: Path) -> None:
    for number in range(5):
        Image.new("L", (2, 2), 100).save(tmp_path / f"{number}.png")
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tif")
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:-25])
    data = folder(tmp_path, "data.skip_unreadable=true")
    assert data.split_sizes["train"] == 5
    (note,) = (note for note in data.notes if note.startswith("left out, unreadable: 2 of 7 image files: "))
    assert "cut.png (" in note
    assert "float.tif (floating-point values have no known range: give data.range=[lo,hi])" in note
    kept = folder(tmp_path, "data.skip_unreadable=true", "data.range=[0,1]", "data.channels=1", "data.size=2")
    assert kept.split_sizes["train"] == 6


def test_unreadable_sequences_are_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    for number in range(6):
        Image.new("L", (8, 8), 40 + number).save(tmp_path / "clip" / f"{number}.png")
    (tmp_path / "clip" / "4.png").write_bytes((tmp_path / "clip" / "4.png").read_bytes()[:50])
    options = ["data=frames", f"data.path={tmp_path}", "data.frames=3", "data.split=[1,0,0]", "data.num_workers=0"]
    data = build_data(compose([*options, "data.skip_unreadable=true"], "inspect").data)
    assert data.sources["train"].images[:, :, 0, 0, 0].tolist() == [[40, 41, 42]]
    assert f"left out, unreadable: 1 sequences: {tmp_path / 'clip'} from frame 3" in data.notes


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_files_of_several_frames_are_told(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture) -> None:
    first, *others = [Image.new("L", (6, 6), 50 + 40 * number) for number in range(3)]
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=others, lossless=True)
    first.save(tmp_path / f"b.{suffix}", lossless=True)
    data = folder(tmp_path, "data.channels=1")
    assert doubts(data) == [
        f"1 of 2 files hold several frames or pages (a.{suffix} has 3), of which the first is used; "
        "data=frames reads all"
    ]
    assert (data.sources["train"].images == 50).all()
    said = printed(capsys, "data=folder", f"data.path={tmp_path}", "data.split=[1,0,0]", "data.channels=1")
    assert "frames:      " in said
    assert "3 (1)" in said
    assert "1 of 2 files hold several frames" in said


def test_pages_of_a_file_are_a_clip(tmp_path: Path) -> None:
    first, *others = [Image.fromarray(np.full((4, 4), 1000 * number, np.uint16)) for number in range(5)]
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    options = ["data=frames", f"data.path={tmp_path}", "data.frames=5", "data.split=[1,0,0]", "data.num_workers=0"]
    data = build_data(compose([*options, "data.range=[0,4000]"], "inspect").data)
    assert data.sources["train"].images[0, :, 0, 0, 0].tolist() == [0, 64, 128, 191, 255]


def test_the_image_for_other_programs_is_no_frame(tmp_path: Path) -> None:
    still, *moving = [Image.new("L", (4, 4), value) for value in (7, 50, 90)]
    still.save(tmp_path / "a.png", save_all=True, default_image=True, append_images=moving)
    options = ["data=frames", f"data.path={tmp_path}", "data.frames=2", "data.split=[1,0,0]", "data.num_workers=0"]
    data = build_data(compose(options, "inspect").data)
    assert data.sources["train"].images[:, :, 0, 0, 0].tolist() == [[50, 90]]


# Orientation


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize(("orientation", "turns"), [(6, -1), (8, 1), (3, 2)])
def test_turned_tiffs(tmp_path: Path, compression: str, orientation: int, turns: int) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.tif", exif=exif, compression=compression)
    turned = np.rot90(pixels, turns)
    assert values(tmp_path) == turned.tolist()
    assert folder(tmp_path).image_shape == (1, *turned.shape)


def test_an_orientation_at_the_end_of_a_file(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a.png", exif=exif)
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    chunk = content[start : start + 12 + struct.unpack(">I", content[start : start + 4])[0]]
    rest = content.replace(chunk, b"")
    (tmp_path / "a.png").write_bytes(rest[:-12] + chunk + rest[-12:])
    with pytest.raises(UserError, match=r"a\.png cannot be read \(it is 4x3, its header says 3x4"):
        folder(tmp_path)
    assert folder(tmp_path, "data.size=[4,3]").sources["train"].images[0, 0].tolist() == [
        [8, 4, 0],
        [9, 5, 1],
        [10, 6, 2],
        [11, 7, 3],
    ]


def test_photographs_with_a_preview_are_no_clips(tmp_path: Path) -> None:
    photo = Image.new("L", (8, 8), 90)
    photo.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[photo.resize((4, 4))])
    assert doubts(folder(tmp_path)) == []


def test_printing_colors(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.jpg", quality=100)
    image = folder(tmp_path).sources["train"].images[0, :, 0, 0]
    assert (image.int() - torch.tensor([0, 255, 255])).abs().max() <= 2


def test_hub_images_have_a_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of rows stands in for the package `datasets`."""
    features = {"image": type("Image", (), {})()}

    class Table(list):
        def __init__(self, rows: list) -> None:
            super().__init__(rows)
            self.features = features

    module = ModuleType("datasets")
    rows = [{"image": Image.fromarray(TWELVE)} for _ in range(4)]
    module.load_dataset = lambda path, name=None: {"train": Table(rows), "test": Table(rows)}
    monkeypatch.setitem(sys.modules, "datasets", module)
    options = ["data=huggingface", "data.path=a/b", "data.split=[1,0,0]", "data.num_workers=0"]
    assert "set data.range=[0,4095]" in doubts(build_data(compose(options, "inspect").data))[0]
    data = build_data(compose([*options, "data.range=[0,4095]"], "inspect").data)
    assert data.sources["test"].images[0, 0].tolist() == [[0, 62], [128, 255]]
    assert doubts(data) == []


@pytest.mark.parametrize(("matrix", "white"), [((0, 1, -1, 0), np.s_[:30]), ((0, -1, 1, 0), np.s_[34:])])
def test_videos_are_turned_as_telephones_ask(tmp_path: Path, matrix: tuple[int, ...], white: slice) -> None:
    av = pytest.importorskip("av")
    file = tmp_path / "a.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        values = np.zeros((48, 64, 3), np.uint8)
        values[:, :32] = 255
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(file.read_bytes())
    start = content.index(b"tkhd") + 44
    a, b, c, d = (65536 * value for value in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 2**30)
    file.write_bytes(content)
    options = ["data=frames", f"data.path={tmp_path}", "data.frames=4", "data.split=[1,0,0]", "data.num_workers=0"]
    images = build_data(compose(options, "inspect").data).sources["train"].images
    assert images.shape == (1, 4, 3, 64, 48)
    bright = images[0, 0, 0].float().mean(-1) > 128
    assert bright[white].all()
    assert bright.sum() == 32


def test_color_profiles_are_told(tmp_path: Path) -> None:
    standard = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.new("RGB", (4, 4), (90, 100, 200)).save(tmp_path / "a.jpg", icc_profile=standard)
    assert doubts(folder(tmp_path)) == []
    Image.new("RGB", (4, 4), (90, 100, 200)).save(tmp_path / "b.png", icc_profile=other)
    Image.new("RGB", (4, 4), (90, 100, 200)).save(tmp_path / "c.webp", icc_profile=b"none", lossless=True)
    (note,) = doubts(folder(tmp_path))
    assert note.startswith("color profiles are not applied, so colors are a little off: ")
    assert "unknown (1)" in note
    assert note.endswith("(1) of 3 files")


def test_floating_point_is_gray(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1]], np.float32)).save(tmp_path / "f.tif")
    assert folder(tmp_path, "data.range=[0,1]").image_shape == (1, 1, 2)


@pytest.mark.parametrize("suffix", ["tif", "avif"])
def test_damage_that_pillow_reports_in_other_ways(tmp_path: Path, suffix: str) -> None:
    """TypeError of a TIFF without its size, RuntimeError of an AVIF."""
    Image.effect_noise((16, 16), 90).convert("RGB").save(tmp_path / f"a.{suffix}")
    file = tmp_path / f"a.{suffix}"
    content = bytearray(file.read_bytes())
    if suffix == "tif":
        tag = content.index(struct.pack("<HHI", 256, 4, 1))
        content[tag : tag + 2] = struct.pack("<H", 255)
    else:
        content[content.index(b"mdat") + 4 :] = bytes(len(content) - content.index(b"mdat") - 4)
    file.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.{suffix} cannot be read \("):
        folder(tmp_path)
