"""Image files as they are, in tar files with an index; the members are named as webdataset names them."""

import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, repeat
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from lightning_gen.data.decode import ImageFiles, unreadable
from lightning_gen.data.file_index import FileIndex, Names
from lightning_gen.data.source import StreamSource
from lightning_gen.errors import UserError
from lightning_gen.utilities.atomic_files import atomic_write

INDEX = "index.npy"
BLOCK = tarfile.BLOCKSIZE


@dataclass
class ShardWriter:
    """Writes shards of about `num_bytes` bytes to the folder `out`; `advance` counts images.

    `shards` are the sizes of the files by name, `places` the shard, the offset and the size of each image.
    """

    out: Path
    num_bytes: int
    advance: Callable[[float], None]
    shards: dict[str, int] = field(default_factory=dict)
    places: list[tuple[int, int, int]] = field(default_factory=list)

    def write(self, split: str, paths: Sequence[Path], labels: Iterable[int] | None) -> None:
        """Write the files of a split in their order: `000000012.png`, and its class number as `000000012.cls`."""
        end = len(self.places) + len(paths)
        members = zip(count(len(self.places)), paths, repeat(None) if labels is None else labels, strict=False)
        for number in count():
            if len(self.places) == end:
                return
            name = f"{split}-{number:06}.tar"
            atomic_write(self.out / name, lambda file: self._fill(file, members))
            self.shards[name] = (self.out / name).stat().st_size

    def _fill(self, file: IO[bytes], members: Iterator[tuple[int, Path, int | None]]) -> None:
        for number, path, label in members:
            try:
                content = path.read_bytes()
            except OSError as error:
                raise UserError(unreadable(path, error)) from error
            offset = _add(file, f"{number:09}{path.suffix.lower()}", content)
            self.places.append((len(self.shards), offset, len(content)))
            if label is not None:
                _add(file, f"{number:09}.cls", str(label).encode())
            self.advance(1)
            if file.tell() >= self.num_bytes:
                break
        file.write(bytes(2 * BLOCK))  # the end of a tar file

    def remove(self) -> None:
        """Remove the shards that were written."""
        for name in self.shards:
            (self.out / name).unlink(missing_ok=True)


def _add(file: IO[bytes], name: str, content: bytes) -> int:
    """Append a member to a tar file; the offset of its content. All members have one time and no owner."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    file.write(member.tobuf(tarfile.USTAR_FORMAT))
    offset = file.tell()
    file.write(content + bytes(-len(content) % BLOCK))
    return offset


def write_shards(
    writer: ShardWriter, root: Path, sources: Mapping[str, StreamSource], facts: Mapping[str, Any]
) -> None:
    """Write the image files of `sources`, which are below `root`, and at last the index with `facts`."""
    rows, paths = {}, []
    for split, source in sources.items():
        files = image_files(source)
        labels = None if source.labels is None else source.labels.tolist()
        writer.write(split, files.paths, labels)
        rows[split] = torch.arange(len(paths), len(paths) + len(files))
        paths += [path.relative_to(root) for path in files.paths]
    files = image_files(sources["train"])
    how = {"channels": files.channels, "size": files.size, "resize": files.resize, "range": files.limits}
    places = torch.from_numpy(np.array(writer.places, np.int64))
    labels = {split: source.labels for split, source in sources.items()}
    facts = {**facts, **how, "shards": writer.shards}
    atomic_write(writer.out / INDEX, FileIndex(Names.of(root, paths), rows, labels, facts, places).write)


def image_files(source: StreamSource) -> ImageFiles:
    """The files of a source; UserError if its images are not files."""
    if not isinstance(source.images, ImageFiles):
        raise UserError("data: its images are not files; give data=folder data.path=FOLDER")
    return source.images
