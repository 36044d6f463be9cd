"""Sequences: bouncing digits, the published Moving MNIST, folders of clips, and made-up ones."""

from itertools import islice
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
from lightning_gen.data.augment import Affine, Binarize, Crop, Flip, Jitter, augmented, normalize
from lightning_gen.data.frames import Frames
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.loader import TrainBatches
from lightning_gen.data.moving_digits import BouncingDigits, Motion
from lightning_gen.data.source import StreamSource
from lightning_gen.errors import UserError
from lightning_gen.randomness import hashed_noise, seed_all

TINY_DIGITS = ("data.size=24", "data.digit_size=8", "data.frames=12", "data.num_test=6")


def load(*overrides: str) -> ImageData:
    return build_data(compose([*overrides, "data.num_workers=0"], "inspect").data)


def digits(*overrides: str) -> ImageData:
    return load("data=moving_digits", *TINY_DIGITS, *overrides)


def drawn(data: ImageData, count: int = 200, split: str = "train") -> tuple[Tensor, Tensor]:
    return data.sources[split].images.placements(torch.arange(count))


# Bouncing digits


def test_moving_digits_are_sequences_without_labels() -> None:
    data = load("data=moving_digits", "data.num_test=5")
    assert (data.image_shape, data.num_classes) == ((20, 1, 64, 64), None)
    assert (data.split_sizes["val"], data.split_sizes["test"]) == (5, 5)
    batch = next(iter(data.train_dataloader()))[0]
    assert (batch.images.shape, batch.labels) == ((64, 20, 1, 64, 64), None)
    assert (batch.images.min(), batch.images.max()) == (-1, 1)
    assert not batch.images[0, 0].equal(batch.images[0, 1])


def test_a_sequence_is_a_function_of_seed_split_and_number() -> None:
    data, again, other = digits(), digits(), digits("data.seed=1")
    for split in ("train", "val", "test"):
        images = data.sources[split].images
        whole = images.index_select(0, torch.arange(6))
        assert torch.equal(whole, again.sources[split].images.index_select(0, torch.arange(6)))
        assert not torch.equal(whole, other.sources[split].images.index_select(0, torch.arange(6)))
        for order in ([5, 2], [0], [3, 3, 1]):
            assert torch.equal(images.index_select(0, torch.tensor(order)), whole[order])
        assert torch.equal(images[4], whole[4])
    places = [drawn(data, 6, split)[1] for split in ("train", "val", "test")]
    assert not torch.equal(places[0], places[1])
    assert not torch.equal(places[1], places[2])
    assert [len(next(data.batches(split, "cpu")).images) for split in ("val", "test")] == [6, 6]


def test_a_longer_or_fuller_sequence_begins_as_a_short_one() -> None:
    which, corners = drawn(digits("data.bounces=stochastic"))
    longer, longer_corners = drawn(digits("data.bounces=stochastic", "data.frames=30"))
    fuller, fuller_corners = drawn(digits("data.bounces=stochastic", "data.min_digits=3", "data.max_digits=3"))
    assert torch.equal(longer, which)
    assert torch.equal(longer_corners[:, :, :12], corners)
    assert torch.equal(fuller[:, :2], which)
    assert torch.equal(fuller_corners[:, :2], corners)


def slow_path(place: list[float], velocities: list[list[float]], room: int, stochastic: bool) -> list[list[int]]:
    """One digit's whole-pixel places, step by step, in single precision."""
    place, velocity, path = np.float32(place), np.float32(velocities[0]), []
    for step in range(len(velocities)):
        if step > 0:
            place = place + velocity
            walls = [(-1 if p <= 0 else 1 if p >= room else 0) for p in place]
            if stochastic and any(walls):
                velocity = np.float32(velocities[step])
            for axis, wall in enumerate(walls):
                if wall:
                    place[axis] = 0 if wall < 0 else room
                    velocity[axis] = -wall * abs(velocity[axis])
        path.append([int(p) for p in place])
    return path


@pytest.mark.parametrize("stochastic", [False, True])
def test_digits_bounce_as_in_a_slow_simulation(stochastic: bool) -> None:
    frames, room = 40, 16
    motion = Motion(frames=frames, room=room, speed=(0.1, 0.4), stochastic=stochastic)
    noise = torch.rand(20, 2, motion.num_draws, generator=torch.Generator().manual_seed(0))
    corners = motion.corners(noise)
    assert corners.shape == (20, 2, frames, 2)
    assert (corners.min(), corners.max()) == (0, room)
    velocities = motion._velocities(noise[..., 2::2], noise[..., 3::2]).expand(20, 2, frames, 2)
    for sequence in range(20):
        for digit in range(2):
            start = (noise[sequence, digit, :2] * room).tolist()
            path = slow_path(start, velocities[sequence, digit].tolist(), room, stochastic)
            assert corners[sequence, digit].tolist() == path


def test_directions_are_uniform_and_speeds_of_the_range() -> None:
    motion = Motion(frames=1, room=10, speed=(0.1, 0.4), stochastic=False)
    noise = torch.rand(4000, 1, 4, generator=torch.Generator().manual_seed(0))
    velocity = motion._velocities(noise[..., 2::2], noise[..., 3::2]).view(-1, 2)
    speed = velocity.norm(dim=1)
    assert 1 <= speed.min() < 1.01
    assert 3.99 < speed.max() <= 4.0001
    angle = torch.atan2(velocity[:, 0], velocity[:, 1])
    assert torch.histc(angle, 8).min() > 400


def test_stochastic_bounces_change_the_path_from_the_first_wall_on() -> None:
    _, straight = drawn(digits("data.frames=30"))
    _, random = drawn(digits("data.frames=30", "data.bounces=stochastic"))
    room = 16
    for one, other in zip(straight[:, 0], random[:, 0], strict=True):
        at_wall = ((one == 0) | (one == room)).any(1)
        first = at_wall.nonzero()[0, 0] if at_wall.any() else len(one)
        assert torch.equal(one[:first], other[:first])
    assert (straight != random).flatten(1).any(1).float().mean() > 0.8


def test_frames_show_the_digits_at_their_places_the_brighter_above() -> None:
    images = digits("data.max_digits=3").sources["train"].images
    index = torch.tensor([3, 70, 12345])
    which, corners = images.placements(index)
    side = images.digits.shape[-1]
    expected = torch.zeros(3, 12, 1, 24, 24, dtype=torch.uint8)
    for sequence in range(3):
        for digit, path in zip(which[sequence], corners[sequence], strict=True):
            for frame, (row, column) in enumerate(path.tolist()):
                part = expected[sequence, frame, 0, row : row + side, column : column + side]
                part.copy_(torch.maximum(part, images.digits[digit]))
    assert torch.equal(images.index_select(0, index), expected)


def test_the_number_of_digits_is_drawn_per_sequence() -> None:
    which, corners = drawn(digits("data.min_digits=1", "data.max_digits=3"), 600)
    digits_and_paths = torch.cat([which[..., None], corners.flatten(2)], 2)
    counts = [len(sequence.unique(dim=0)) for sequence in digits_and_paths]
    assert min(counts.count(number) for number in (1, 2, 3)) > 150


def test_no_digit_is_in_two_splits() -> None:
    data = load("data=moving_digits")
    tables = [data.sources[split].images.digits for split in ("train", "val", "test")]
    assert [len(table) for table in tables] == [4000, 500, 500]
    assert len({digit.numpy().tobytes() for table in tables for digit in table}) > 4990
    which = drawn(data, 3000)[0]
    assert (which.min() < 10, which.max() > 3990, len(which.unique()) > 2900) == (True, True, True)


def test_digits_are_resized_once_and_antialiased() -> None:
    small, large = digits().sources["test"].images.digits, digits("data.digit_size=20").sources["test"].images.digits
    full = load("data=moving_digits").sources["test"].images.digits
    assert (small.shape, large.shape) == ((500, 8, 8), (500, 20, 20))
    for table in (small, large):
        assert abs(table.float().mean() - full.float().mean()) < 1


def test_the_training_stream_never_repeats_and_resumes_exactly() -> None:
    source = digits().sources["train"]
    stream = TrainBatches(source, batch_size=8, seed=3)
    batches = list(islice(stream.index_batches(0), 3000))
    assert len(torch.cat(batches).unique()) == 24_000  # more than an epoch counts
    assert torch.cat(batches).diff().unique().tolist() == [1]
    resumed = TrainBatches(source, batch_size=8, seed=3, images_seen=lambda: 160)
    assert torch.equal(next(resumed.index_batches(20)), batches[20])
    straight = [call[0].images for call in islice(iter(TrainBatches(source, batch_size=8, seed=3)), 23)]
    for ours, theirs in zip(islice(iter(resumed), 3), straight[20:], strict=True):
        assert torch.equal(ours[0].images, theirs)
    other = next(iter(TrainBatches(source, batch_size=8, seed=4)))[0].images
    assert not torch.equal(other, straight[0])


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_partition_the_stream(world_size: int) -> None:
    source = digits().sources["train"]
    whole = list(islice(TrainBatches(source, batch_size=6).index_batches(4), 5))
    for rank in range(world_size):
        share = TrainBatches(source, batch_size=6, rank=rank, world_size=world_size).index_batches(4)
        for ours, theirs in zip(islice(share, 5), whole, strict=True):
            assert torch.equal(ours, theirs[rank::world_size])


def test_streamed_digits_equal_those_made_in_batches() -> None:
    memory, stream = digits("data.batch_size=4"), digits("data.batch_size=4", "data.in_memory=false")
    assert isinstance(stream.sources["train"], StreamSource)
    ours, theirs = (next(iter(data.train_dataloader()))[0].images for data in (memory, stream))
    assert torch.equal(ours, theirs)


def test_noise_is_the_same_in_any_batch() -> None:
    index = torch.arange(100)
    noise = hashed_noise(index[:, None], torch.arange(50), 7)
    assert torch.equal(hashed_noise(index[13:14, None], torch.arange(50), 7)[0], noise[13])
    assert 0 <= noise.min() < noise.max() < 1
    assert abs(noise.mean() - 0.5) < 0.02
    assert not torch.equal(hashed_noise(index[:, None], torch.arange(50), 8), noise)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.digit_size=24", r"data\.digit_size=24: give less than data\.size=24"),
        ("data.max_digits=4", r"data\.min_digits=2 data\.max_digits=4: give 1 to 3"),
        ("data.max_digits=1", r"data\.min_digits=2 data\.max_digits=1: give 1 to 3, the least first"),
        ("data.speed=[0.3,0.1]", r"data\.speed=\[0\.3, 0\.1\]: give the least and the most"),
        ("data.bounces=random", r"data\.bounces=random: expected one of 'deterministic', 'stochastic'"),
        ("data.frames=0", r"data\.frames=0: expected int of at least 1"),
        ("data.num_test=0", r"data\.num_test=0: expected int of at least 1"),
    ],
)
def test_mistakes_with_moving_digits(override: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        digits(override)


def test_inspect_tells_of_sequences(capsys: pytest.CaptureFixture) -> None:
    inspect.run(Job(compose(["data=moving_digits"], "inspect")))
    said = capsys.readouterr().out
    assert "sequences:   train without end, val 1,000, test 1,000\n" in said
    assert "shape:       20 x 1 x 64 x 64 (20 frames, gray, 8 bits), 3.7 MiB in memory\n" in said


# The published file


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, np.ndarray]:
    array = np.random.default_rng(0).integers(0, 256, (20, 12, 64, 64), np.uint8)
    np.save(tmp_path / "mnist_test_seq.npy", array)
    return tmp_path / "mnist_test_seq.npy", array


@pytest.mark.parametrize("in_memory", ["true", "false"])
def test_the_published_file_is_split_by_seed(published: tuple[Path, np.ndarray], in_memory: str) -> None:
    file, array = published
    shares = ("data.split=[0.5,0.25,0.25]", f"data.in_memory={in_memory}")
    data = load("data=moving_mnist", f"data.path={file}", *shares)
    assert (data.image_shape, data.num_classes) == ((20, 1, 64, 64), None)
    assert data.split_sizes == {"val": 3, "test": 3, "train": 6}
    found = [image for source in data.sources.values() for image in (source.images[i] for i in range(len(source)))]
    numbers = [next(n for n in range(12) if np.array_equal(image[:, 0].numpy(), array[:, n])) for image in found]
    assert sorted(numbers) == list(range(12))
    assert next(iter(data.batches("val", "cpu"))).images.shape == (3, 20, 1, 64, 64)
    other = load("data=moving_mnist", f"data.path={file}", *shares, "data.seed=1")
    assert not torch.equal(other.sources["val"].images[0], data.sources["val"].images[0])


def test_mistakes_with_the_published_file(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(UserError) as caught:
            load("data=moving_mnist", f"data.path={path}")
        assert "\n" not in str(caught.value)
        return str(caught.value)

    file = tmp_path / "x.npy"
    assert "x.npy does not exist: give the file mnist_test_seq.npy (http" in said(file)
    file.write_text("no array")
    assert "cannot be read as a NumPy array: give the file" in said(file)
    np.save(file, np.array([{}]), allow_pickle=True)
    assert "cannot be read as a NumPy array" in said(file)
    np.save(file, np.zeros((10, 20, 64, 64), np.uint8))
    assert "holds 10x20x64x64 uint8, not 20x10000x64x64 uint8: give" in said(file)
    np.save(file, np.zeros((20, 10, 64, 64), np.float32))
    assert "holds 20x10x64x64 float32" in said(file)
    np.savez(file.with_suffix(".npz"), a=1)
    assert "holds several arrays" in said(file.with_suffix(".npz"))
    assert "cannot be read" in said(tmp_path)


# Folders of clips: frame n of clip c is gray 10 c + n everywhere


def pictures(clip: int, count: int, size: tuple[int, int] = (6, 8)) -> list[Image.Image]:
    return [Image.new("L", size[::-1], 10 * clip + frame) for frame in range(count)]


def save_frames(folder: Path, clip: int, count: int, size: tuple[int, int] = (6, 8)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures(clip, count, size)):
        picture.save(folder / f"{number}.png")


def save_animation(file: Path, clip: int, count: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    first, *others = pictures(clip, count)
    first.save(file, save_all=True, append_images=others, duration=40, lossless=True)


def frames(path: Path, *overrides: str) -> Frames:
    return load("data=frames", f"data.path={path}", "data.frames=3", *overrides)


def levels(data: Frames, split: str = "train") -> list[list[int]]:
    source = data.sources[split]
    return sorted(source.images[i][:, 0, 0, 0].tolist() for i in range(len(source)))


def test_folders_of_frames_give_windows_in_natural_order(tmp_path: Path) -> None:
    save_frames(tmp_path / "a", 1, 12)
    save_frames(tmp_path / "deeper" / "b", 3, 7)
    data = frames(tmp_path, "data.split=[1,0,0]")
    assert (data.image_shape, data.num_classes, data.name) == ((3, 1, 6, 8), None, tmp_path.name)
    first, second = [[10, 11, 12], [13, 14, 15], [16, 17, 18], [19, 20, 21]], [[30, 31, 32], [33, 34, 35]]
    assert levels(data) == first + second
    streamed = frames(tmp_path, "data.split=[1,0,0]", "data.in_memory=false")
    assert isinstance(streamed.sources["train"], StreamSource)
    assert levels(streamed) == levels(data)
    assert levels(frames(tmp_path, "data.split=[1,0,0]", "data.stride=2")) == [[10, 12, 14], [15, 17, 19], [30, 32, 34]]
    assert next(iter(data.batches("train", "cpu"))).images.shape == (6, 3, 1, 6, 8)


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.apng", "a.webp"])
def test_animations(tmp_path: Path, name: str) -> None:
    save_animation(tmp_path / name, 2, 7)
    data = frames(tmp_path, "data.split=[1,0,0]", "data.channels=1")
    assert levels(data) == [[20, 21, 22], [23, 24, 25]]


def test_videos(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    for name, codec in (("a.mp4", "mpeg4"), ("b.avi", "mjpeg"), ("c.webm", "libvpx-vp9")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height = 64, 48
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for number in range(13):
                values = np.full((48, 64, 3), 20 * number, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="rgb24")))
            container.mux(stream.encode())
    data = frames(tmp_path, "data.split=[1,0,0]", "data.size=16")
    assert data.image_shape == (3, 3, 16, 16)
    expected = sorted([20 * (start + n) for n in range(3)] for start in range(0, 12, 3) for _ in range(3))
    assert np.abs(np.array(levels(data)) - np.array(expected)).max() <= 8  # lossy
    (tmp_path / "d.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:300])
    with pytest.raises(UserError, match=r"d\.mp4 cannot be read"):
        frames(tmp_path)
    readable = frames(tmp_path, "data.skip_unreadable=true", "data.split=[1,0,0]")
    assert readable.split_sizes == {"train": 12, "val": 0, "test": 0}


def test_videos_without_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(UserError, match=r"a\.mp4 is a video: .* pip install 'lightning-gen\[video\]'$"):
        frames(tmp_path)


def test_windows_of_a_clip_stay_in_one_split(tmp_path: Path) -> None:
    for clip in range(10):
        save_animation(tmp_path / f"{clip}.gif", clip, 10)
    data = frames(tmp_path, "data.split=[0.6,0.2,0.2]", "data.split_by=number")
    assert data.split_sizes == {"train": 18, "val": 6, "test": 6}
    clips = [{first // 10 for first, *_ in levels(data, split)} for split in ("train", "val", "test")]
    assert [len(part) for part in clips] == [6, 2, 2]
    assert set.union(*clips) == set(range(10))


def test_split_folders_of_clips(tmp_path: Path) -> None:
    for clip, split in enumerate(("train", "train", "Validation", "test")):
        save_animation(tmp_path / split / f"{clip}.gif", clip, 3)
    data = frames(tmp_path)
    assert levels(data) == [[0, 1, 2], [10, 11, 12]]
    assert (levels(data, "val"), levels(data, "test")) == ([[20, 21, 22]], [[30, 31, 32]])


def test_clips_are_resized_as_images_are(tmp_path: Path) -> None:
    save_frames(tmp_path / "a", 1, 3)
    save_frames(tmp_path / "b", 2, 3, (12, 10))
    with pytest.raises(UserError, match=r"images differ in size, .* set data\.size=\["):
        frames(tmp_path)
    assert frames(tmp_path, "data.size=[4,6]", "data.channels=3").image_shape == (3, 3, 4, 6)
    save_frames(tmp_path / "b", 2, 3)
    Image.new("L", (20, 20)).save(tmp_path / "b" / "2.png")
    with pytest.raises(UserError, match=r"b/2\.png is 20x20"):
        frames(tmp_path)


def test_short_and_damaged_clips(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_animation(tmp_path / "a.gif", 1, 6)
    save_animation(tmp_path / "b.gif", 2, 2)
    with pytest.raises(UserError, match=r"^data\.frames=3: .*b\.gif has 2 frames, fewer than 3: set 2 or less, or "):
        frames(tmp_path)
    with pytest.raises(UserError, match=r"has 2 frames, fewer than 5 \(data\.stride=2\): set 1 or less"):
        frames(tmp_path, "data.stride=2")
    (tmp_path / "c.gif").write_text("no image")
    with pytest.raises(UserError, match=r"b\.gif has 2 frames.*\(and 1 more like it\)$"):
        frames(tmp_path)
    inspect.run(Job(compose(["data=frames", f"data.path={tmp_path}", "data.frames=3"], "inspect")))
    said = capsys.readouterr().out
    assert "clips:       animation (1)\nframes:      6\n" in said
    assert "problem:     data.frames=3" in said
    save_frames(tmp_path / "d", 4, 6)
    (tmp_path / "d" / "4.png").write_bytes((tmp_path / "d" / "4.png").read_bytes()[:50])
    options = ("data.split=[1,0,0]", "data.skip_unreadable=true", "data.size=[6,8]")
    assert levels(frames(tmp_path, *options)) == [[10, 11, 12], [13, 14, 15], [40, 41, 42]]
    (tmp_path / "a.gif").unlink()
    (tmp_path / "d").rename(tmp_path / ".d")
    with pytest.raises(UserError, match=r"none of the 2 clips can be used$"):
        frames(tmp_path, "data.skip_unreadable=true")


def test_mistakes_with_clips(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data\.path=.*: there are no clips \(folders of images, gif, mp4"):
        frames(tmp_path)
    with pytest.raises(UserError, match=r"nowhere does not exist"):
        frames(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"^data\.stride=0: expected int of at least 1"):
        frames(tmp_path, "data.stride=0")


# What images have, sequences have


def test_made_up_sequences_move() -> None:
    options = ("data=fake", "data.num_images=16", "data.num_classes=4")
    data = load(*options, "data.image_shape=[5,3,12,20]")
    assert (data.image_shape, data.num_classes) == ((5, 3, 12, 20), 4)
    images = data.sources["train"].images
    assert images.shape == (16, 5, 3, 12, 20)
    assert all((sequence[0] != sequence[4]).any() for sequence in images)
    # At first the spots are where those of images are.
    assert torch.equal(images[:, 0], load(*options, "data.image_shape=[3,12,20]").sources["train"].images)


@pytest.mark.parametrize("augmentation", [Flip(), Crop(2), Crop(2, "zero"), Jitter(), Affine(20)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_all_frames_are_augmented_alike(augmentation: object, channels: int) -> None:
    image = torch.randint(0, 256, (6, 1, channels, 9, 8), dtype=torch.uint8)
    sequences = augmented(image.expand(-1, 4, -1, -1, -1).contiguous(), [augmentation])
    assert sequences.shape == (6, 4, channels, 9, 8)
    torch.testing.assert_close(sequences, sequences[:, :1].expand_as(sequences))
    seed_all("alike")
    sequences = augmented(image.expand(-1, 4, -1, -1, -1).contiguous(), [augmentation])
    seed_all("alike")
    torch.testing.assert_close(sequences[:, 2], augmented(image[:, 0], [augmentation]))


def test_sequences_are_binarized() -> None:
    half = normalize(torch.full((50, 4, 1, 8, 8), 127, dtype=torch.uint8))
    fixed = Binarize().fixed(half, torch.arange(50))
    for binary in (Binarize()(half), fixed):
        assert set(binary.unique().tolist()) == {-1.0, 1.0}
        assert abs(binary.mean()) < 0.05
        assert not torch.equal(binary[:, 0], binary[:, 1])
    assert torch.equal(Binarize().fixed(half[:1], torch.tensor([7]))[0], fixed[7])
    data = digits("data.binarize=true", "data/augment=[crop]", "data.batch_size=4")
    assert set(next(iter(data.train_dataloader()))[0].images.unique().tolist()) == {-1.0, 1.0}


def test_a_copy_on_a_device_makes_the_same() -> None:
    images = digits().sources["test"].images
    moved = images.to(torch.device("cpu"))
    assert isinstance(moved, BouncingDigits)
    assert torch.equal(moved[3], images[3])
