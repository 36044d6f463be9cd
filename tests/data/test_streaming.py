"""`data=huggingface data.streaming=true`: rows of Parquet files by their numbers, so resume and ranks are exact."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_gen.config.composition import compose
from lightning_gen.config.containers import as_dict
from lightning_gen.config.instantiation import build_data
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.loader import TrainBatches
from lightning_gen.data.parquet_table import WINDOW, order_by_groups
from lightning_gen.data.source import StreamSource
from lightning_gen.errors import UserError


def test_an_order_by_groups_holds_each_image_once_and_few_groups_at_a_time() -> None:
    groups = torch.arange(40).repeat_interleave(5)[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    order = order_by_groups(groups, torch.Generator().manual_seed(1))
    assert sorted(order.tolist()) == list(range(200))
    for part in groups[order].split(WINDOW * 5):
        assert len(part.unique()) == WINDOW
        assert (part.diff() != 0).float().mean() > 0.5  # shuffled within the window
    other = order_by_groups(groups, torch.Generator().manual_seed(2))
    assert groups[other[:40]].unique().tolist() != groups[order[:40]].unique().tolist()


def pixels(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (8, 6, 3), np.uint8)


def png(number: int) -> bytes:
    content = BytesIO()
    Image.fromarray(pixels(number)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    datasets, folder = pytest.importorskip("datasets"), tmp_path_factory.mktemp("parquet")
    import pyarrow.parquet

    features = datasets.Features({"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["cat", "dog"])})
    for part in range(2):
        numbers = range(100 * part, 100 * part + 100)
        columns = {"picture": [{"bytes": png(n), "path": None} for n in numbers], "kind": [n % 2 for n in numbers]}
        table = pyarrow.table(columns, schema=features.arrow_schema)
        pyarrow.parquet.write_table(table, folder / f"train-{part}.parquet", row_group_size=5)
    return folder


def load(path: Path, **keys: Any) -> ImageData:
    config = as_dict(compose(["data=huggingface", f"data.path={path}"], "inspect").data)
    return build_data(config | {"num_workers": 0, "batch_size": 8} | keys)


@pytest.mark.tools
def test_streamed_rows_are_those_of_the_files(parquet: Path) -> None:
    data = load(parquet, streaming=True)
    assert (data.class_names, data.split_sizes) == (["cat", "dog"], {"train": 160, "val": 20, "test": 20})
    assert isinstance(data.sources["train"], StreamSource)
    every = {pixels(number).tobytes(): number for number in range(200)}
    found = []
    for source in data.sources.values():
        numbers = [every.pop(image.permute(1, 2, 0).numpy().tobytes()) for image in source.images]
        assert source.labels.tolist() == [number % 2 for number in numbers]
        found += numbers
    assert sorted(found) == list(range(200))


@pytest.mark.tools
def test_resume_and_ranks_are_exact(parquet: Path) -> None:
    source = load(parquet, streaming=True).sources["train"]

    def batches(rank: int, world_size: int, images_seen: int, count: int) -> list[torch.Tensor]:
        loader = TrainBatches(source, batch_size=8, images_seen=lambda: images_seen, rank=rank, world_size=world_size)
        stream = iter(loader)
        return [next(stream)[0].images for _ in range(count)]

    whole = batches(0, 1, 0, 24)  # into the second epoch
    ranks = [batches(rank, 2, 0, 24) for rank in range(2)]
    for number, batch in enumerate(whole):
        assert torch.equal(batch, torch.stack([part[number] for part in ranks], 1).flatten(0, 1))
    assert torch.equal(torch.stack(batches(0, 1, 13 * 8, 11)), torch.stack(whole[13:]))


@pytest.mark.tools
def test_other_files_than_parquet_are_refused(parquet: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 6)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="is not of Parquet files"):
        load(tmp_path, streaming=True)
