"""Write a folder of images as shards: a few tar files with an index, for data sets of millions of files.

The files stay as they are, with their splits, classes and order: `data=shards` gives the same batches as the folder.

Examples:

  lightning-gen convert data=folder data.path=my_images data.size=64 out=my_shards
  lightning-gen train data=shards data.path=my_shards
"""

from pathlib import Path

from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.instantiation import instantiate
from lightning_gen.data.image_data import ImageData
from lightning_gen.data.shard_writer import INDEX, ShardWriter, image_files, write_shards
from lightning_gen.data.source import StreamSource, decode_each
from lightning_gen.errors import UserError
from lightning_gen.utilities.printable import printable
from lightning_gen.utilities.progress import progress


def run(job: Job) -> None:
    """Decode every image once, so that none is unreadable later, and write the shards."""
    cfg = job.config
    out = Path(cfg.out).expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out={cfg.out}: is there already, name a new folder")
    data = instantiate(cfg.data)
    data.in_memory = data.cache = False  # the files themselves
    data.prepare_data()
    data.setup()
    sources = {split: _stream(source) for split, source in data.sources.items()}
    _check(sources, data)
    count = write(out, data, sources, cfg.shard_mb * 2**20)
    for note in data.notes:
        print(printable(note))
    print(f"{sum(data.split_sizes.values()):,} images in {count:,} shards; use them by data=shards data.path={out}")


def _stream(source: object) -> StreamSource:
    if not isinstance(source, StreamSource):
        raise UserError("data: its images are not files; give data=folder data.path=FOLDER")
    image_files(source)
    return source


def _check(sources: dict[str, StreamSource], data: ImageData) -> None:
    with progress("reading images", sum(map(len, sources.values()))) as advance:
        for source in sources.values():
            decode_each(source.images, range(len(source)), data.workers(), lambda *_: advance(1))


def write(out: Path, data: ImageData, sources: dict[str, StreamSource], num_bytes: int) -> int:
    """Write shards of about `num_bytes` bytes to `out`, and return their number; if that fails, none is left."""
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    facts = {"name": data.name, "class_names": data.class_names, "digests": data.digests, "notes": []}
    with progress("writing images", sum(map(len, sources.values()))) as advance:
        writer = ShardWriter(out, num_bytes, advance)
        try:
            write_shards(writer, data.root, sources, facts)
        except BaseException:
            writer.remove()
            (out / INDEX).unlink(missing_ok=True)
            if made:
                out.rmdir()
            raise
    return len(writer.shards)
