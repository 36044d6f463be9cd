"""The order of images: the same from memory and from files, on every rank, and after every resume."""

import gc
import multiprocessing
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_gen.data.augment import Affine, Binarize, Flip, Jitter
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.loader import EvaluationBatches, TrainBatches
from lightning_gen.data.source import StreamSource, TensorSource
from lightning_gen.errors import UserError
from lightning_gen.randomness import seed_all


def numbered(count: int) -> Tensor:
    """Image i is i everywhere (modulo 256)."""
    return torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 3, 4, 4).contiguous()


def random_source(count: int = 23) -> TensorSource:
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return TensorSource(images, torch.arange(count))


def first_batches(count: int, **options) -> list:
    options = {"source": random_source(), "batch_size": 6} | options
    return [batch for call in islice(iter(TrainBatches(**options)), count) for batch in call]


def assert_equal(ours: list, theirs: list) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_streamed_batches_equal_those_from_memory(num_workers: int) -> None:
    source = random_source()
    stream = StreamSource(source.images, source.labels, num_workers)
    augmentations = [Flip(), Affine()]
    options = {"seed": 5, "augmentations": augmentations, "steps_per_call": 2}
    assert_equal(first_batches(4, source=stream, **options), first_batches(4, source=source, **options))
    assert_equal(list(EvaluationBatches(stream, batch_size=5)), list(EvaluationBatches(source, batch_size=5)))


@settings(max_examples=40, deadline=None)
@given(
    images_seen=st.integers(0, 500), batch_size=st.integers(1, 23), steps_per_call=st.integers(1, 3), rank=st.booleans()
)
def test_resuming_anywhere_continues_the_run(
    images_seen: int, batch_size: int, steps_per_call: int, rank: bool
) -> None:
    position = images_seen // batch_size
    options = {"batch_size": batch_size, "seed": 3, "augmentations": [Flip(), Jitter()], "rank": int(rank) % batch_size}
    options["world_size"] = 2 if batch_size > 1 else 1
    straight = first_batches(position + steps_per_call, **options)[position:]
    resumed = first_batches(1, images_seen=lambda: images_seen, steps_per_call=steps_per_call, **options)
    assert_equal(resumed, straight)


def test_the_position_is_read_when_iteration_starts() -> None:
    seen = [0]
    stream = TrainBatches(random_source(), batch_size=6, images_seen=lambda: seen[0])
    seen[0] = 12
    assert_equal(next(iter(stream)), first_batches(3)[2:])


def test_an_epoch_repeats_no_image_and_differs_from_the_next() -> None:
    epochs = [torch.cat([batch.labels for batch in first_batches(9)[start : start + 3]]) for start in (0, 3, 6)]
    for labels in epochs:
        assert len(labels) == len(labels.unique()) == 18  # 23 images, batches of 6, the last 5 are dropped
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[1], epochs[2])


def test_seeds_change_order_and_augmentation() -> None:
    assert not torch.equal(first_batches(1, seed=0)[0].labels, first_batches(1, seed=1)[0].labels)
    flipped = [first_batches(1, seed=7, augmentations=[Flip()], rank=rank)[0].images for rank in (0, 1)]
    assert not torch.equal(*flipped)


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_ranks_partition_each_global_batch(world_size: int) -> None:
    whole = first_batches(7)
    shares = [first_batches(7, rank=rank, world_size=world_size) for rank in range(world_size)]
    for number, batch in enumerate(whole):
        for rank in range(world_size):
            assert torch.equal(shares[rank][number].labels, batch.labels[rank::world_size])
            assert torch.equal(shares[rank][number].images, batch.images[rank::world_size])


@pytest.mark.parametrize(("limit", "world_size"), [(None, 1), (None, 3), (10, 3), (1, 2), (99, 1)])
def test_ranks_share_an_evaluation_pass(limit: int | None, world_size: int) -> None:
    whole = torch.cat([batch.labels for batch in EvaluationBatches(random_source(), batch_size=5, limit=limit)])
    assert len(whole.unique()) == len(whole) == min(limit or 23, 23)
    for rank in range(world_size):
        share = EvaluationBatches(random_source(), batch_size=5, limit=limit, rank=rank, world_size=world_size)
        batches = list(share)
        assert len(batches) == len(share)
        labels = torch.cat([batch.labels for batch in batches]) if batches else torch.tensor([], dtype=torch.int64)
        assert torch.equal(labels, whole[rank::world_size])


def test_binarized_evaluation_depends_on_the_image_alone() -> None:
    source = random_source()
    reference = {}
    for batch in EvaluationBatches(source, batch_size=23, binarize=True):
        assert set(batch.images.unique().tolist()) == {-1.0, 1.0}
        reference |= dict(zip(batch.labels.tolist(), batch.images, strict=True))
    seed_all("something else")
    for rank in (0, 1):
        for batch in EvaluationBatches(source, batch_size=4, binarize=True, rank=rank, world_size=2):
            for label, image in zip(batch.labels.tolist(), batch.images, strict=True):
                assert torch.equal(image, reference[label])


def test_evaluation_leaves_the_global_generator_alone() -> None:
    for source in (random_source(), StreamSource(random_source().images, torch.arange(23), 0)):
        seed_all("before")
        expected = torch.rand(3)
        seed_all("before")
        list(EvaluationBatches(source, batch_size=4, binarize=True))
        assert torch.equal(torch.rand(3), expected)


def test_training_draws_do_not_depend_on_the_global_generator() -> None:
    options = {"augmentations": [Flip(), Binarize()]}
    expected = first_batches(3, **options)
    torch.manual_seed(99)
    assert_equal(first_batches(3, **options), expected)


def test_the_train_stream_has_no_length_and_images_are_normalized() -> None:
    assert not hasattr(TrainBatches, "__len__")
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    batch = next(iter(EvaluationBatches(TensorSource(images), batch_size=1)))
    expected = torch.arange(256, dtype=torch.float64) / 127.5 - 1
    assert batch.labels is None
    assert batch.images.dtype == torch.float32
    torch.testing.assert_close(batch.images.view(-1).double(), expected, atol=2e-7, rtol=0)
    assert batch.images.min() == -1
    assert batch.images.max() == 1


def test_a_call_holds_one_batch_of_floats_at_a_time() -> None:
    made = []

    class Counted(Flip):
        def __call__(self, images: Tensor) -> Tensor:
            made.append(len(images))
            return super().__call__(images)

    batches = TrainBatches(random_source(), batch_size=6, steps_per_call=4, augmentations=[Counted()])
    call = next(iter(batches))
    assert len(call) == 4
    assert not made
    first = next(iter(call))
    assert made == [6]
    assert torch.equal(call[0].images, first.images)  # the same draws whenever it is made


def test_two_passes_at_once_do_not_disturb_each_other() -> None:
    stream = StreamSource(numbered(40), torch.arange(40), num_workers=1)
    passes = [iter(EvaluationBatches(stream, batch_size=4)) for _ in range(2)]
    next(passes[0])
    pairs = zip(list(passes[1])[1:], passes[0], strict=True)
    assert all(torch.equal(one.labels, other.labels) for one, other in pairs)
    assert len(stream._idle) == 2  # whose workers the next pass takes over
    given_up = iter(EvaluationBatches(stream, batch_size=4))
    next(given_up)
    given_up.close()
    assert len(list(EvaluationBatches(stream, batch_size=4))) == 10
    assert len(stream._idle) == 2


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_decoding_error_stays_one_line(num_workers: int) -> None:
    class Broken(torch.utils.data.Dataset):
        image_shape = (1, 2, 2)

        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Tensor:
            raise UserError(f"image {index} is broken")

    with pytest.raises(UserError, match=r"^image \d is broken$"):
        list(EvaluationBatches(StreamSource(Broken(), None, num_workers), batch_size=2))
    with pytest.raises(UserError, match=r"^image 0 is broken \(and 3 more like it\)$"):
        StreamSource(Broken(), None, num_workers).in_memory()


class Numbers(ImageData):
    name = "numbers"

    def load(self) -> dict:
        self.class_names = ["all"]
        source = TensorSource(numbered(20), torch.zeros(20, dtype=torch.int64))
        return {"train": source, "val": source, "test": TensorSource(numbered(20)[:0])}


def numbers(**options) -> Numbers:
    keys = {
        "batch_size": 8,
        "seed": 0,
        "augment": {},
        "augment_share": 1.0,
        "binarize": False,
        "in_memory": None,
        "num_workers": 0,
    }
    data = Numbers(**keys | options)
    data.setup()
    return data


class Trainer:
    """As much of a Lightning trainer as a data module looks at."""

    def __init__(self, world_size: int = 1, global_rank: int = 0, images_seen: int = 0) -> None:
        self.world_size, self.global_rank = world_size, global_rank
        self.lightning_module = self.strategy = self
        self.images_seen, self.root_device = images_seen, torch.device("cpu")


def test_batch_size_is_that_of_all_processes() -> None:
    data = numbers()
    data.trainer = Trainer(world_size=2, global_rank=1, images_seen=16)
    data.steps_per_call, data.run_seed = 3, 5
    whole = numbers()
    whole.run_seed = 5
    straight = [batch for call in islice(iter(whole.train_dataloader()), 5) for batch in call][2:]
    mine = next(iter(data.train_dataloader()))
    assert [len(batch.images) for batch in mine] == [4, 4, 4]
    for one, other in zip(mine, straight, strict=True):
        assert torch.equal(one.images, other.images[1::2])


@pytest.mark.parametrize(
    ("options", "trainer", "message"),
    [
        ({"batch_size": 21}, Trainer(), "data.batch_size=21: .* only 20 training images, set data.batch_size=20"),
        ({"batch_size": 8}, Trainer(3), "data.batch_size=8: 3 processes .* set data.batch_size=6"),
    ],
)
def test_unfit_batch_sizes_are_explained(options: dict, trainer: Trainer, message: str) -> None:
    data = numbers(**options)
    data.trainer = trainer
    with pytest.raises(UserError, match=message):
        data.train_dataloader()


def test_unfit_splits_are_explained() -> None:
    with pytest.raises(UserError, match=r"split=tset: no such split; did you mean test\?"):
        numbers().batches("tset", "cpu")
    with pytest.raises(UserError, match=r"split=test: .* no images .* data.split"):
        numbers().batches("test", "cpu")


def test_facts_and_where_images_are_kept() -> None:
    data = numbers()
    assert (data.image_shape, data.num_classes, data.split_sizes["train"]) == ((3, 4, 4), 1, 20)
    assert isinstance(data.sources["train"], TensorSource)
    assert isinstance(numbers(in_memory=False).sources["train"], StreamSource)
    assert data.transfer_batch_to_device("as it is", torch.device("cpu"), 0) == "as it is"
    assert not isinstance(data.train_dataloader(), DataLoader)


def test_augmentation_ends_where_told_and_binarization_goes_on() -> None:
    images = torch.arange(64, dtype=torch.uint8).view(16, 1, 2, 2)
    options = {"batch_size": 4, "augmentations": [Flip(p=1.0), Binarize()], "augment_until": 4}
    (first,), (second,) = islice(TrainBatches(TensorSource(images), **options), 2)
    assert set(first.images.unique().tolist()) <= {-1.0, 1.0}
    assert set(second.images.unique().tolist()) <= {-1.0, 1.0}

    white = {"batch_size": 4, "augmentations": [Flip(p=1.0)], "augment_until": 4}
    (flipped,), (plain,) = islice(TrainBatches(TensorSource(images), **white), 2)
    (raw_first,), (raw_second,) = islice(TrainBatches(TensorSource(images), batch_size=4), 2)
    assert torch.equal(flipped.images, raw_first.images.flip(-1))
    assert torch.equal(plain.images, raw_second.images)


def test_workers_of_a_collected_source_end_by_themselves(monkeypatch):
    """The collector closes queues in a cycle before it ends the workers, which then would have to be killed."""
    killed = []
    terminate = multiprocessing.process.BaseProcess.terminate
    monkeypatch.setattr(
        "multiprocessing.process.BaseProcess.terminate", lambda self: [killed.append(self), terminate(self)]
    )
    source = StreamSource(torch.zeros(64, 1, 4, 4, dtype=torch.uint8), num_workers=1)
    batches = iter(TrainBatches(source, batch_size=16))
    others = multiprocessing.active_children()
    next(batches)
    (worker,) = (child for child in multiprocessing.active_children() if child not in others)
    del source, batches
    gc.collect()
    worker.join(20)
    assert worker.exitcode == 0
    assert worker not in killed
