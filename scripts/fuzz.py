"""Tries to break the command line with random input, and prints tries and failures as one JSON line.

`python scripts/fuzz.py [seconds=60] [seed=0] [only=KIND,KIND] [tries=N] [case=N] [keep=FOLDER]`. The kinds are the
commands, given random arguments; `usage`, the command line as a whole; and `checkpoints`, `run_folders` and
`image_folders`, damaged at random and given to the commands that read them.

A try fails by a traceback, a hang, death by a signal, an exit status other than 0 and 2, status 2 without exactly one
line of error, a file written outside its folder, a file of the user changed or removed, or code or a secret that a file
names. Each new failure goes to stderr with the command that repeats it: `case=N` of its kind and seed, where
`keep=FOLDER` leaves the files there. Each try is a process forked from this one, which has imported everything, without
a network. A job that does not end because it is large (n=1000000000) is counted as `long`, and is no failure.
"""

# ruff: noqa: SIM905 (tables of words)

import contextlib
import faulthandler
import gc
import hashlib
import importlib
import json
import math
import os
import pickle
import random
import re
import resource
import select
import shlex
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

SECONDS_PER_TRY = 30
BATCH = 100  # cases that are drawn at once
MEMORY = 8 * 2**30  # bytes of address space that a try may have on top of this process
SECRET = "a-secret-of-the-environment"
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Case:
    """`arguments` of the command line, in a folder filled by `makes`: names of functions in MAKERS, and arguments."""

    makes: tuple[tuple, ...]
    arguments: tuple[str, ...]


@dataclass
class Outcome:
    """What a try has printed and done; `status` is negative for a signal, None for a hang, 99 for a mistake here."""

    status: int | None
    out: str
    err: str
    events: list[str] = field(default_factory=list)  # writes outside the folder, launched processes
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)


# Settings of a size for a fraction of a second, as words

FAKE = "data=fake data.num_images=16 data.num_classes=3 data.batch_size=8".split()
QUICK = """debug=smoke trainer.max_images=16 trainer.validate_every_images=16 extractor=none
    callbacks.sample_grid.n=4 callbacks.reconstructions.n=4""".split()
NARROW = "data.image_shape=[1,16,16] model.latent_dim=4 model.generator.width=4 model.discriminator.width=4".split()
RUNS = {
    "vae": [*FAKE, *"data.image_shape=[1,8,8] model=mlp_vae model.latent_dim=3 metrics=[reconstruction]".split()],
    "gan": [*FAKE, *NARROW, "model=cgan_pd", "metrics=[accuracy]"],
    "frames": [*FAKE, *"""data.image_shape=[4,1,8,8] model=frame_lstm model.context_frames=2 metrics=[prediction]
        model.cells.features=8 model.cells.hidden=8 model.cells.width=4 model.cells.encoder.width=4
        model.cells.decoder.width=4 model.out_width=8""".split()],
    "pixels": [*FAKE, *"""data.image_shape=[1,6,6] model=pixel_cnn model.network.width=4 model.network.depth=1
        metrics=[likelihood]""".split()],
}  # fmt: skip
TRAINED = [
    *RUNS.values(),
    [*FAKE, *"""data.image_shape=[1,12,12] model=vae metrics=[] data/augment=[flip,crop,jitter]
        model.encoder.width=4 model.decoder.width=4 model.encoder.hidden=4 model.decoder.hidden=4""".split()],
    [*FAKE, *NARROW, *"""model=dcgan metrics=[] model/penalty=[dragan,lecam,r1] model/augment=ada
        callbacks=[log_terms,sample_grid,reconstructions,checkpoint]""".split()],
    "data=folder data.path=files/photos data.batch_size=4 model=mlp_vae metrics=[]".split(),
]  # fmt: skip
SCORED = """metrics=[kid,reconstruction] metrics.kid.subset_size=4 metrics.kid.subsets=2 extractor=module
    extractor.module.network._target_=torch.nn.Flatten extractor.module.size=8""".split()
# What each command needs to end well.
BASES: dict[str, Sequence[Sequence[str]]] = {
    "train": [
        *([*QUICK, *settings, "run_dir=run"] for settings in TRAINED),
        "run_dir=runs/vae resume=true trainer.max_images=24".split(),
    ],
    "evaluate": [
        ["checkpoint=runs/vae", "num_real=4", "num_samples=4", *SCORED],
        ["samples=files/photos", "reference=files/photos", "num_samples=8", *SCORED],
        ["checkpoint=runs/gan", *FAKE, "data.image_shape=[1,16,16]", "metrics=[]", "extractor=none"],
    ],
    "sample": [f"checkpoint=runs/{run} n=4 batch_size=2".split() for run in ("vae", "gan", "frames")],
    "interpolate": [f"checkpoint=runs/{run} n=2 stops=2 steps=2".split() for run in ("vae", "gan")],
    "project": [
        "checkpoint=runs/gan n=2 steps=2 starts=2".split(),
        "checkpoint=runs/vae images=files/photos n=2 steps=2 starts=2".split(),
    ],
    "neighbors": [f"checkpoint=runs/{run} n=2 k=2 num_real=4 extractor=none".split() for run in ("vae", "gan")],
    "predict": ["checkpoint=runs/frames n=2".split()],
    "complete": ["checkpoint=runs/pixels n=2".split()],
    "inspect": [FAKE, ["data=folder", "data.path=files/photos"], ["data=frames", "data.path=files"]],
}
# Commands that read a checkpoint, and the runs that they understand.
READERS = {
    "sample": ("n=2", list(RUNS)),
    "interpolate": ("n=2 stops=2 steps=2", ["vae", "gan"]),
    "project": ("n=2 steps=2 starts=1", ["vae", "gan"]),
    "neighbors": ("n=2 k=2 num_real=4 extractor=none", ["gan"]),
    "predict": ("n=2", ["frames"]),
    "complete": ("n=2", ["pixels"]),
    "evaluate": ("num_real=4 num_samples=4 extractor=none metrics=[reconstruction]", ["vae", "frames"]),
}


def reading(command: str, path: str) -> tuple[str, ...]:
    """A command of READERS with the checkpoint at `path`."""
    return command, f"checkpoint={path}", *READERS[command][0].split()


# Random values

NAMES = [*"abc 日本語 é 🙂 a'b a\"b =1+1 |a|b| ~ %s {}".split(), "x" * 300, "a b", "a\nb", "\x1b[31mred"]
PATHS = """no/such files files/notes.txt files/empty files/photos/cat/0.png files/photos runs . .. ~ ~/x ~nobody/x
    /dev/null /proc/self/mem /dev/null/x runs/vae new/deep/er files/loop files/pipe a//b files/notes.txt/x""".split()
PATHS += ["x" * 300, "/".join(["y" * 200] * 30)]
BASIC = """null abc 2.5 [] -1 {} 1e30 nan inf '' 0 1 true [1] [null] {a:1} 1000000000 -0.5 2024 files/notes.txt [1,2]
    [abc] 9223372036854775808 0.0 -inf 1e-30""".split()
VALUES = """.nan .inf 2 3 -0.0 0.5 false yes 2147483648 1000000000000000000000000000000 1_0 [[]] [1,2,3] [0.5,0.5]
    [-1,2] [1,12] [{}] {a:{b:[]}} {_target_:nothing.here} {_target_:builtins.dict} {_target_:null} {_target_:[1]}
    {_partial_:true} 2024-01-01 0x10 1e3 - -- ??? a,b 1,2 range(1,3) choice(1,2) int(2.5) str(1) glob(*) interval(0,1)
    sort(3,1) shuffle(1) extend_list(1) none None [none] ${seed} ${nowhere} ${oc.env:HOME} ${oc.env:NOT_SET} ${ ${}
    ${a $ ${.} ${..seed} ${eval:1} ${run_id:} ${now:%Y} ${hydra:runtime.cwd} ${oc.select:model} '${seed' \\ { [ auto cpu
    cuda cuda:99 mps meta train test val z w crop pad _ * ?""".split()
MALFORMED = """= a =v seed + ~ ++ ~~a a==b a=b=c --x=1 -x --seed=1 @ a@b=c model@x=vae ' " a.b a..b=1 .a=1 a.=1 seed.x=1
    +seed=1 ++seed=1 ~seed ~seed=7 +a=1 +a.b.c=1 hydra.job.name=x +hydra.x=1 hydra.run=1 hydra/launcher=no
    hydra.searchpath=[files] hydra.searchpath=1 seed=${seed} [0]=1 a[0]=1 🙂=1 --cfg=job --cfg=all --cfg=x --info
    --info=defaults --info=x --resolve --package=model --config-name=x --config-dir=files --config-dir=no
    --config-path=files --multirun --hydra-help --help -h -c --run --version --shell-completion
    --experimental-rerun=x""".split()
MALFORMED += ["", "a b", "seed =1", "seed= 1", "seed=1 n=2", "\x1b[31m=1", "x" * 5000]


def quoted(text: str) -> str:
    """A string of Hydra's grammar."""
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", text) + "'"


def hydra_text(value: Any) -> str:
    """Nested values in Hydra's grammar."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{hydra_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(hydra_text, value)) + "]"
    return "null" if value is None else str(value)


def weighted(*choices: tuple[int, Any]) -> Any:
    """One of several strategies, by weight; `one_of` would drop repeated ones."""
    from hypothesis import strategies as st

    repeated = [strategy for weight, strategy in choices for _ in range(weight)]
    return st.integers(0, len(repeated) - 1).flatmap(repeated.__getitem__)


def value_texts() -> Any:
    """Values as they are typed after `key=`."""
    from hypothesis import strategies as st

    plain = st.sampled_from(BASIC + VALUES)
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
    nested = st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "_target_", "n"]), inner),
        max_leaves=4,
    )
    return weighted(
        (8, st.sampled_from(BASIC)),
        (5, plain),
        (2, st.sampled_from(PATHS)),
        (1, st.sampled_from(NAMES).map(quoted)),
        (1, st.sampled_from([*NAMES, *PATHS])),
        (1, st.integers(-300, 300).map(str)),
        (1, st.floats(width=16).map(repr)),
        (1, text.filter(lambda drawn: not drawn.lstrip().startswith("/")).map(quoted)),
        (1, nested.map(hydra_text)),
    )


# Random arguments


def values_of(command: str, arguments: Sequence[str]) -> dict[str, Any]:
    """All keys of a command's config, with dots, and their values."""
    from lightning_gen.config.composition import compose
    from lightning_gen.config.containers import as_dict

    def walk(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            yield f"{prefix}{key}", value
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")

    return dict(walk(as_dict(compose(arguments, command)), ""))


def near(value: Any) -> list[str]:
    """Other values of the same type, or almost."""
    if isinstance(value, bool) or value is None:
        return [str(not value).lower(), f"[{str(value).lower()}]"]
    if isinstance(value, int | float):
        return [str(number) for number in (0, -value, value + 1, value - 1, value / 2, 1000 * value, [value])]
    if isinstance(value, list):
        others = [[], [*value, *value], value[:1], value[::-1], [*value, None], [value]]
        return [hydra_text(other) for other in others]
    return [quoted(text) for text in ("", value * 2, value.upper(), f" {value}")] if isinstance(value, str) else ["{}"]


def group_choices(keys: list[str]) -> list[str]:
    """Choices of a config's groups; none that trains a large model or starts another program."""
    from lightning_gen.config.options import list_groups, list_options

    costly = {"model": 0, "experiment": 0, "trainer": 0, "network": 3}
    return [
        f"{group}={choice}"
        for group in list_groups()
        if group.partition("/")[0] in {"data", *keys}
        for option in list_options(group)[: costly.get(group)]
        if option.name not in ("wandb", "clips")
        for choice in (option.name, f"[{option.name}]", f"[{option.name},{option.name}]")
    ]


def overrides(values: dict[str, Any]) -> Any:
    """One override of a config with these values: a key, group or malformed text, with a value."""
    from hypothesis import strategies as st

    value, keys = value_texts(), list(values)
    top = [key for key in keys if "." not in key]
    key = st.sampled_from(keys) | st.sampled_from(top)
    changed = st.builds("{}{}={}".format, st.sampled_from([""] * 8 + ["+", "++"]), key, value)
    below = st.builds(
        "{}{}.{}={}".format, st.sampled_from(["", "+", "++"]), key, st.sampled_from(["x", "lr", "0"]), value
    )
    choices = group_choices(keys)
    groups = sorted({choice.partition("=")[0] for choice in choices})
    return weighted(
        (12, changed),
        (6, st.sampled_from([f"{key}={text}" for key in keys for text in near(values[key])])),
        (1, below),
        (2, st.builds("{}={}".format, st.sampled_from(groups), value)),
        (2, st.builds("{}{}".format, st.sampled_from(["", "", "+"]), st.sampled_from(choices))),
        (1, st.builds("~{}".format, key)),
        (1, st.sampled_from(MALFORMED)),
    )


def with_config(command: str) -> Any:
    """A command that would end well, with one to three overrides."""
    from hypothesis import strategies as st

    def of(arguments: Sequence[str]) -> Any:
        one = overrides(values_of(command, arguments))
        more = weighted((2, st.tuples(one)), (1, st.lists(one, min_size=2, max_size=3, unique=True)))
        return more.map(lambda added: with_runs(command, *arguments, *added))

    return st.one_of([of(arguments) for arguments in BASES[command]])


def with_runs(*arguments: str) -> Case:
    """A case with the runs that the arguments name."""
    named = re.findall(r"runs/(\w+)", " ".join(arguments))
    return Case(tuple(("run", run) for run in RUNS if run in named), arguments)


def words(candidates: Sequence[str], max_size: int = 4) -> Any:
    """Lists of words, likely and odd ones."""
    from hypothesis import strategies as st

    word = weighted((2, st.sampled_from(candidates)), (1, st.sampled_from(NAMES + PATHS + MALFORMED)))
    return st.lists(word, max_size=max_size)


def plain_arguments(command: str) -> Any:
    """A command without a config."""
    from lightning_gen.config.options import list_groups

    candidates = ["--help", "x"]
    if command == "compare":
        values = ["", "true", "csv", "html", "new.md", "new/x.csv", "reconstruction_mse", *NAMES, *PATHS]
        options = [f"{key}={value}" for key in ("sort", "scores", "format", "out", "force") for value in values]
        candidates = [*["runs/vae", "runs/gan", "runs/pixels"] * 20, *["runs/vae/evaluation.json"] * 5, *options]
    elif command == "list":
        candidates = [*list_groups(), "model/", "/", "experiment/digits", "model/x"]
    elif command == "new-plugin":
        kinds = [f"--kind={kind}" for kind in ("model", "metric", "data", "network", "x", "")]
        candidates = ["my_vae", "my-vae", "a", "torch", "class", "vae", "--kind", "model", *kinds, *kinds]
    return words(candidates).map(lambda drawn: with_runs(command, *drawn))


def usage() -> Any:
    """Words, of which the first may be a command."""
    from lightning_gen.cli.commands import COMMANDS

    commands = [command for command in COMMANDS if command != "train"]  # which alone trains for minutes
    return words([*commands, "--help", "--version", "help", "trian"]).map(lambda drawn: with_runs(*drawn))


# Random damage to files


def damages(values: list[Any]) -> Any:
    """A change of one value in nested containers: the way to it, and what is done there."""
    from hypothesis import strategies as st

    way = st.lists(st.integers(0, 40), min_size=1, max_size=6).map(tuple)
    change = weighted(
        (1, st.just(("drop",))),
        (1, st.sampled_from(["x", 1, None, "", "lightning_gen", "x" * 300]).map(lambda name: ("rename", name))),
        (4, st.sampled_from(values).map(lambda value: ("set", value))),
    )
    return st.tuples(way, change)


PLAIN: list[Any] = [
    *(None, "abc", 2.5, [], -1, {}, 1e30, math.nan, math.inf, -math.inf, "", 0, True, 10**30, [1], [None], {"a": 1}),
    *([[]], [{}], {1: 2}, {"": None}, -0.0, "x" * 5000, *NAMES, "=cmd|' /C calc'!A0", "2024-01-01", "~/x", "/no"),
    *("${seed}", "${nowhere}", "${oc.env:FUZZ_SECRET}", "???", "torch.hub.load", "os.system"),
    *({"_target_": "torch.utils.collect_env.run", "command": "touch canary"}, {"_target_": "nothing.here"}),
    *({"_target_": "pathlib.Path.write_text", "_args_": ["canary", "x"]}, {"_target_": None}),
]
# Tensors by name, so that a case is plain data.
TENSORS: dict[str, Callable[[Any], Any]] = {
    "nan": lambda torch: torch.full((3, 3), math.nan),
    "none": lambda torch: torch.empty(0),
    "number": lambda torch: torch.tensor(7),
    "complex": lambda torch: torch.zeros(2, 2, dtype=torch.complex64),
    "bits": lambda torch: torch.ones(4, dtype=torch.bool),
    "sparse": lambda torch: torch.eye(3).to_sparse(),
    "meta": lambda torch: torch.empty(3, device="meta"),
    "wide": lambda torch: torch.zeros(1).expand(2**40),
}
ODD = ["as tensor:double", "as tensor:nan", "as tensor:long", "as tensor:half", "as tensor:transposed", "itself"]


def damaged(content: Any, way: tuple[int, ...], change: tuple) -> None:
    """Change `content` in place at the end of the way, where each number chooses among keys or items."""
    place: tuple[Any, Any] = ({None: None}, None)
    for number in way:
        if not isinstance(content, dict | list) or not content:
            break
        keys = list(content) if isinstance(content, dict) else range(len(content))
        place = content, keys[number % len(keys)]
        content = content[place[1]]
    container, key = place
    if change[0] == "drop":
        del container[key]
    elif change[0] == "rename" and isinstance(container, dict):
        container[change[1]] = container.pop(key)
    elif change[0] == "set":
        container[key] = container if change[1] == "itself" else real_value(container[key], change[1])


def real_value(old: Any, value: Any) -> Any:
    """What a value of a case stands for."""
    import torch

    if not isinstance(value, str):
        return value
    if value.startswith("tensor:"):
        return TENSORS[value.partition(":")[2]](torch)
    if value.startswith("as tensor:") and isinstance(old, torch.Tensor):
        kind = value.partition(":")[2]
        if kind == "nan":
            return torch.full_like(old, math.nan) if old.is_floating_point() else old
        return old.T if kind == "transposed" else getattr(old, kind)()
    return value


def byte_damages() -> Any:
    """Damage to a file as such."""
    from hypothesis import strategies as st

    share = st.floats(0, 1, allow_nan=False)
    return st.one_of(
        st.tuples(st.just("flip"), st.lists(st.tuples(share, st.integers(1, 255)), min_size=1, max_size=20)),
        st.tuples(st.just("cut"), share),
        st.tuples(st.just("content"), st.sampled_from(CONTENTS)),
        st.tuples(st.just("insert"), share, st.sampled_from(CONTENTS)),
        st.tuples(st.sampled_from(["folder", "loop", "pipe", "missing", "dangling", "twice"])),
    )


CONTENTS = [
    text.encode()
    for text in (
        *"""null [] {} [null] 1 abc a:[ { !!python/object:os.system a,b [{"scores":null}] [{"scores":{}}] {"fid":3}
            [{"scores":{"a":"b"}}] [{"protocol":1}] model:1 " \t""".split(),
        *("", "\0" * 100, "- a\n- b\n", "a: [", "a: &a [*a]", "a,b\n1", "model: null\n", "model: 1\ndata: []\n"),
        *("a: 1\na: 2\n", "? [1]\n: 2\n", "[" * 5000, "seed: 1e999\n", "step,step\n1,2\n", "images_seen\nabc\n"),
        *("images_seen,loss\n8,nan,1\n", "\n\n\n", "\r\n", "1" * 5000, "PK\x03\x04", "PK\x05\x06" + "\0" * 18),
    )
]
CONTENTS += [b"\xff\xfe\x00", b"\x80\x04."]


def break_file(path: Path, how: tuple) -> None:
    """Do one of `byte_damages` to a file."""
    content = path.read_bytes() if path.is_file() else b""
    if how[0] in ("folder", "loop", "pipe", "missing", "dangling", "twice"):
        return replace_file(path, how[0], content)
    if how[0] == "flip" and content:
        content = bytearray(content)
        for share, bits in how[1]:
            content[min(int(share * len(content)), len(content) - 1)] ^= bits
    place = int(how[1] * len(content)) if how[0] in ("cut", "insert") else 0
    inserted = content[:place] + how[-1] + content[place:] if how[0] == "insert" else b""
    path.write_bytes({"cut": content[:place], "content": how[-1], "insert": inserted}.get(how[0], content))


def replace_file(path: Path, how: str, content: bytes) -> None:
    """Something else in a file's place."""
    if how == "twice":
        path.write_bytes(content * 2)
        return
    path.unlink(missing_ok=True)
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how != "missing":
        path.symlink_to(path.name if how == "loop" else "nowhere")


def checkpoint_cases() -> Any:
    """A damaged checkpoint, and a command that reads it."""
    from hypothesis import strategies as st

    inside = damages([*PLAIN, *ODD, *(f"tensor:{name}" for name in TENSORS)])
    damage = weighted((4, st.lists(inside, min_size=1, max_size=3)), (1, byte_damages()))

    def of(reader: tuple[str, str], damage: Any) -> Case:
        command, run = reader
        path = f"runs/{run}/checkpoints/last.ckpt"
        arguments = {
            "init_from": ("train", *QUICK, *RUNS[run], "run_dir=run", f"init_from={path}"),
            "resume": ("train", "trainer.max_images=24", "run_dir=new", f"resume={path}"),
        }.get(command) or reading(command, path)
        return Case((("run", run), ("break_checkpoint", path, damage)), arguments)

    readers = [(command, run) for command, (_, runs) in READERS.items() for run in runs]
    return st.builds(of, st.sampled_from([*readers, *product(["init_from", "resume"], RUNS)]), damage)


def run_folder_cases() -> Any:
    """A run folder with one to three damaged files, and a command that reads it."""
    from hypothesis import strategies as st

    yaml = st.tuples(st.just("config.yaml"), st.lists(damages(PLAIN), min_size=1, max_size=3) | byte_damages())
    scores = st.tuples(st.just("evaluation.json"), st.lists(damages(PLAIN), min_size=1, max_size=3) | byte_damages())
    others = [
        "metrics.csv",
        "log.txt",
        ".lock",
        "samples",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "checkpoints",
    ]
    other = st.tuples(st.sampled_from(others), byte_damages())
    commands = {
        "resume": ("train", "run_dir=runs/vae", "resume=true", "trainer.max_images=24"),
        "finished": ("train", "run_dir=runs/vae", "resume=true"),
        "again": ("train", *QUICK, *RUNS["vae"], "run_dir=runs/vae"),
        "other": ("train", "run_dir=new", "resume=runs/vae", "trainer.max_images=24"),
        "compare": ("compare", "runs/vae", "runs/pixels"),
        "markdown": ("compare", "runs/vae", "runs/vae/evaluation.json", "format=markdown", "force=true"),
        "evaluate": reading("evaluate", "runs/vae"),
        "sample": reading("sample", "runs/vae"),
    }

    def of(name: str, files: list[tuple[str, Any]]) -> Case:
        makes = [("run", "vae"), *([("run", "pixels")] if name == "compare" else [])]
        return Case(
            (*makes, *(("break_run_file", f"runs/vae/{file}", damage) for file, damage in files)), commands[name]
        )

    broken = st.lists(st.one_of(yaml, scores, other), min_size=1, max_size=3)
    compared = st.tuples(st.sampled_from(["compare", "markdown", "evaluate"]), st.lists(scores, min_size=1, max_size=2))
    return st.one_of(st.tuples(st.sampled_from(sorted(commands)), broken), compared).map(lambda drawn: of(*drawn))


# Random folders of images

MODES = "1 L P RGB RGBA CMYK YCbCr LAB HSV I F LA PA RGBX RGBa La I;16 I;16B".split()
FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp": "WEBP", "ppm": "PPM",
           "tga": "TGA", "jp2": "JPEG2000"}  # fmt: skip
FOLDERS = """cat dog 0 1 10 train test val train/cat train/dog test/cat valid bus Train training train/train a/b/c/d
    .hidden ü 日本 [a] ${x} =a -rf ~ 'q' a,b a=b __MACOSX None null 1.0""".split()
FOLDERS += ["", "", "", "a b", "x\ny", "\x1b[31m", "z" * 200, "\udcff"]
STEMS = ["a b", "x\ny", "n" * 200, "\udcfe", *"0 1 2 10 a b ü .hidden ._0 %d - =x Thumbs".split()]
SUFFIXES = [*FORMATS, *FORMATS, *"PNG jpeg txt npy mp4 png.bak tiff avif".split(), ""]


def image_folder_cases() -> Any:
    """A folder with images and other things, and a command that reads it."""
    from hypothesis import strategies as st

    side = st.sampled_from([1, 2, 7, 8, 8, 8, 9, 16])
    frames = st.sampled_from([1, 1, 1, 2, 5])
    image = st.tuples(st.just("image"), st.sampled_from(MODES), st.sampled_from(sorted(FORMATS)), side, side, frames)
    plain = st.sampled_from([("image", mode, "png", 8, 8, 1) for mode in ("L", "RGB", "RGB")])
    huge = st.tuples(st.just("header"), st.sampled_from([(0, 8), (30_000, 30_000), (2**31 - 1, 2**31 - 1), (1, 10**6)]))
    broken = st.tuples(st.just("damaged"), image, byte_damages())
    link = st.tuples(st.just("link"), st.sampled_from(". .. ../.. cat train 0.png nowhere ../images".split()))
    content = weighted((3, plain), (4, image), (2, broken), (1, huge), (2, link))
    name = st.tuples(st.sampled_from(STEMS), st.sampled_from(SUFFIXES)).map(lambda parts: ".".join(filter(None, parts)))
    entry = st.tuples(st.sampled_from(FOLDERS), name, content)
    many = st.lists(st.tuples(st.sampled_from(FOLDERS), st.integers(1, 12)), max_size=4)
    option = st.sampled_from(
        """data.size=8 data.size=[8,4] data.channels=1 data.channels=3 data.channels=4 data.resize=pad
        data.resize=stretch data.labels=false data.skip_unreadable=true data.split=[0.5,0.25,0.25] data.split=[1,0,0]
        data.batch_size=1 data.in_memory=false data.num_workers=2 data.binarize=true""".split()
    )
    train = ("train", *QUICK, "model=mlp_vae", "data.batch_size=2", "run_dir=run")
    score = SCORED[1:]
    project = "checkpoint=runs/vae images=images n=2 steps=2 starts=1".split()
    commands = [
        *[("inspect", "data=folder")] * 4,
        *[(*train, "metrics=[reconstruction]", "data=folder")] * 3,
        *[("inspect", "data=frames"), (*train, "metrics=[]", "data=frames")],
        ("evaluate", "samples=images", "reference=files/photos", "metrics=[kid]", *score),
        ("evaluate", "samples=files/photos", "reference=images", "metrics=[kid]", *score),
        ("evaluate", "samples=images", "reference=images", "metrics=[kid]", *score),
        *[("evaluate", "samples=images", "metrics=[kid]", *score, "data=folder"), ("project", *project)],
    ]

    def of(many: list, entries: list, arguments: tuple, options: list[str]) -> Case:
        if arguments[-1].startswith("data="):
            arguments = (*arguments, "data.path=images", *options)
        case = with_runs(*arguments)
        return Case((("images", many, entries), *case.makes), case.arguments)

    entries = st.lists(entry, max_size=6)
    return st.builds(of, many, entries, st.sampled_from(commands), st.lists(option, max_size=3, unique=True))


def make_images(work: Path, many: list[tuple[str, int]], entries: list[tuple[str, str, tuple]]) -> None:
    """Fill the folder `images`."""
    root = work / "images"
    root.mkdir()
    for number, (folder, count) in enumerate(many):
        for index in range(count):
            make_entry(root / folder / f"{number}_{index}.png", ("image", "RGB", "png", 8, 8, 1))
    for folder, name, content in entries:
        with contextlib.suppress(FileExistsError, NotADirectoryError, FileNotFoundError):
            make_entry(root / folder / name, content)


def make_entry(path: Path, content: tuple) -> None:
    """Make one image, link, ..., unless something is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        return
    kind, *rest = content
    if kind == "image":
        write_image(path, *rest)
    elif kind == "header":
        path.write_bytes(huge_png(*rest[0]))
    elif kind == "link":
        path.symlink_to(rest[0])
    else:
        make_entry(path, rest[0])
        break_file(path, rest[1])


def write_image(path: Path, mode: str, suffix: str, width: int, height: int, frames: int) -> None:
    """An image of a mode in a format, or if the format has no such mode, as TIFF or PNG."""
    from PIL import Image

    noise = hashlib.sha256(path.name.encode(errors="replace")).digest() * (width * height // 4 + 1)
    size = (width, height)
    raw = len(Image.new(mode, size).tobytes())
    image = Image.frombytes(mode, size, noise[:raw])
    more = {"save_all": True, "append_images": [Image.new(mode, size)] * (frames - 1)} if frames > 1 else {}
    for chosen in (FORMATS[suffix], "TIFF", "PNG"):
        try:
            image.save(path, chosen, **more)
            return
        except (OSError, ValueError, KeyError, TypeError):
            continue
    path.write_bytes(noise)


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises a size."""
    import struct
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


# Making the folder of a try


def make_files(work: Path) -> None:
    """What a user has, and no command may change."""
    files = work / "files"
    for name in ("cat", "dog"):
        for index in range(6):
            make_entry(files / "photos" / name / f"{index}.png", ("image", "L", "png", 8, 8, 1))
    (files / "notes.txt").write_text("notes of a user\n")
    (files / "empty").touch()
    (files / "loop").symlink_to("loop")
    os.mkfifo(files / "pipe")


def make_run(work: Path, name: str) -> None:
    """A copy of a run of RUNS."""
    shutil.copytree(work.parents[1] / "runs" / name, work / "runs" / name)


def break_checkpoint(work: Path, path: str, damage: Any) -> None:
    """Do `byte_damages`, or a list of `damages` to what is in a checkpoint."""
    import torch

    if not isinstance(damage, list):
        break_file(work / path, damage)
        return
    content = torch.load(work / path, weights_only=True)
    for way, change in damage:
        damaged(content, way, change)
    torch.save(content, work / path)


def break_run_file(work: Path, name: str, damage: Any) -> None:
    """Do `byte_damages`, or a list of `damages` to what is in a YAML or JSON file."""
    import yaml

    path = work / name
    if not isinstance(damage, list):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        with contextlib.suppress(OSError):
            break_file(path, damage)
        return
    if not path.is_file():
        return  # a folder, a pipe or nothing by now
    try:
        content = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
    except (ValueError, yaml.YAMLError):
        return
    for way, change in damage:
        damaged(content, way, change)
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))


MAKERS: dict[str, Callable[..., None]] = {
    "run": make_run,
    "images": make_images,
    "break_checkpoint": break_checkpoint,
    "break_run_file": break_run_file,
}


def snapshot(work: Path) -> dict[str, str]:
    """Each path, with a hash of the file, the target of the link, or its kind."""
    found = {}
    for folder, folders, files in os.walk(work):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                what = os.readlink(path)
            else:
                what = hashlib.sha256(Path(path).read_bytes()).hexdigest() if stat.S_ISREG(mode) else f"{mode:o}"
            found[os.path.relpath(path, work)] = what
    return found


# One try in a process of its own


# Audit events with the places of their paths.
CHANGING = {"os.mkdir": [0], "os.remove": [0], "os.rmdir": [0], "os.chmod": [0], "os.rename": [0, 1],
            "os.symlink": [1], "os.link": [1], "shutil.rmtree": [0]}  # fmt: skip


def watch(folder: Path, log: int) -> None:
    """Log and refuse writes outside `folder`, end with status 0 before other processes are started, and no network."""
    inside = (f"{folder}/", "/dev/", "/proc/")

    def check(path: Any, follow: bool) -> None:
        if isinstance(path, int):
            return
        path = os.fsdecode(path)
        place = os.path.realpath(path if follow else os.path.dirname(os.path.abspath(path))) + "/"
        if not place.startswith(inside):
            os.write(log, f"wrote {path}\n".encode(errors="replace"))
            raise PermissionError(13, "Permission denied", path)

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            check(arguments[0], True)
        elif event in CHANGING and arguments[-1] in (-1, None):  # no path relative to an open folder
            for index in CHANGING[event]:
                check(arguments[index], False)
        elif event == "subprocess.Popen" and "lightning_gen" in map(str, arguments[1]):
            os.write(log, b"launched\n")
            os._exit(0)
        elif event == "socket.getaddrinfo" or (event == "socket.connect" and isinstance(arguments[1], tuple)):
            raise ConnectionRefusedError("a try has no network")

    sys.addaudithook(hook)


def in_child(function: Callable[[], Any], out: Path, err: Path, seconds: float) -> int | None:
    """The exit status of `function` in a forked process that prints to files; None, its stack in `err`, if it hangs."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _become(function, out, err)
    handle = os.pidfd_open(pid)
    try:
        ended = bool(select.select([handle], [], [], seconds)[0])
        if not ended:
            os.kill(pid, signal.SIGUSR2)  # print the stack
            select.select([handle], [], [], 1)
    finally:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # with what it has started; it is not reaped, so the number is still its own
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(handle)
    return status if ended else None


def _become(function: Callable[[], Any], out: Path, err: Path) -> None:
    status: Any = 1
    try:
        os.setsid()
        for number, path, flags in ((0, Path(os.devnull), os.O_RDONLY), (1, out, os.O_WRONLY), (2, err, os.O_WRONLY)):
            os.dup2(os.open(path, flags | os.O_CREAT * (number > 0) | os.O_TRUNC * (number > 0), 0o600), number)
        faulthandler.register(signal.SIGUSR2, file=2, all_threads=False)
        try:
            status = function()
        except SystemExit as stop:
            status = stop.code
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status if isinstance(status, int) else 0 if status is None else 1)


def command_line(case: Case, root: Path) -> int:
    """Make the folder of a case and run its command in it."""
    folder = root / "try"
    work = folder / "work"
    os.chdir(work)
    try:
        make_files(work)
        for name, *arguments in case.makes:
            MAKERS[name](work, *arguments)
        (root / "before").write_bytes(pickle.dumps(snapshot(work)))
    except BaseException:
        traceback.print_exc()
        os._exit(99)
    return run_in(folder, list(case.arguments), root / "events")


def run_in(folder: Path, arguments: list[str], events: Path) -> int:
    """`lightning-gen <arguments>` as a user in `folder` would see it."""
    os.environ.update(HOME=str(folder / "home"), TMPDIR=str(folder / "tmp"), FUZZ_SECRET=SECRET, WANDB_MODE="disabled")
    for name in ("XDG_CACHE_HOME", "TORCH_HOME", "LIGHTNING_GEN_CACHE"):
        os.environ[name] = str(folder / "home" / "cache")
    tempfile.tempdir = None
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    os.fsync = lambda fd: None
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    watch(folder, os.open(events, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    from lightning_gen.cli import main

    return main(arguments)


def attempt(case: Case, root: Path) -> Outcome:
    """Run a case in a new folder."""
    shutil.rmtree(root / "try", ignore_errors=True)
    for name in ("work", "home", "tmp"):
        (root / "try" / name).mkdir(parents=True)
    for name in ("events", "before"):
        (root / name).unlink(missing_ok=True)
    out, err = root / "out", root / "err"
    status = in_child(lambda: command_line(case, root), out, err, SECONDS_PER_TRY)
    texts = [path.read_bytes().decode(errors="replace") for path in (out, err)]
    if status == 99:
        return Outcome(status, texts[0], texts[1])
    events = (root / "events").read_text().splitlines() if (root / "events").exists() else []
    before = pickle.loads((root / "before").read_bytes()) if (root / "before").exists() else {}
    return Outcome(status, texts[0], texts[1], events, before, snapshot(root / "try" / "work"))


# What has failed


def failure_of(case: Case, outcome: Outcome, work: Path) -> str | None:
    """A line that names the failure, the same for the same one; None for a try that ended well."""
    return leak_of(outcome, work) or crash_of(outcome) or refusal_of(case, outcome) or change_of(case, outcome)


def crash_of(outcome: Outcome) -> str | None:
    """Tracebacks, hangs, signals and exit statuses."""
    if not outcome.before:
        return "fuzz.py itself failed to make the files"
    if outcome.status is None:
        return f"hang in {place_of(outcome.err.rpartition('most recent call first')[2], first=True)}"
    if "Traceback (most recent call last)" in (text := outcome.out + outcome.err):
        return f"{exception_of(text)} in {place_of(text.rpartition('Traceback (most recent call last)')[2])}"
    if outcome.status < 0:
        return f"death by {signal.Signals(-outcome.status).name}"
    return None if outcome.status in (0, 2) else f"exit status {outcome.status}"


def exception_of(text: str) -> str:
    """The type of the last exception in printed tracebacks."""
    lines = text.rpartition("Traceback (most recent call last)")[2].splitlines()[1:]
    return next((line.partition(":")[0] for line in lines if line and not line.startswith((" ", "\t"))), "?")


def place_of(stack: str, first: bool = False) -> str:
    """The innermost line of this project in a printed stack, and the line that raised."""
    found = re.findall(r'File "([^"]+)", line (\d+),? in (.+)', stack)
    frames = found[::-1] if first else found
    ours = [frame for frame in frames if str(ROOT) in frame[0] and not frame[0].endswith("fuzz.py")]
    if not frames:
        return "an unknown place"
    path, line, function = (ours or frames)[-1]
    inner = "" if frames[-1][0] == path else f" <- {Path(frames[-1][0]).name}:{frames[-1][2].strip()}"
    return f"{path.removeprefix(f'{ROOT}/')}:{line} {function.strip()}{inner}"


def refusal_of(case: Case, outcome: Outcome) -> str | None:
    """Exit status 2 without exactly one line of error at the end."""
    lines = [line for line in outcome.err.split("\n") if line.strip()]
    errors = [index for index, line in enumerate(lines) if line.startswith("error:")]
    if outcome.status == 0:
        return "success with an error" if errors else None
    if len(errors) != 1:
        return f"{len(errors)} lines of error: {case.arguments[0]}"
    line = lines[errors[0]]
    if errors[0] + 1 < len(lines):
        return "more after the line of error"
    odd = [character for character in line if ord(character) < 32 or 127 <= ord(character) < 160]
    return "control characters in an error" if odd else None


def leak_of(outcome: Outcome, work: Path) -> str | None:
    """Writes outside the folder, code or secrets that a file names, leftovers of atomic writes."""
    wrote = [event for event in outcome.events if event.startswith("wrote")]
    if wrote:
        return f"wrote outside its folder: {wrote[0].removeprefix('wrote ')[:80]}"
    new = outcome.after.keys() - outcome.before.keys()
    if any(Path(name).name == "canary" for name in new):
        return "ran code that a file names"
    texts = [path.read_bytes() for path in map(work.joinpath, sorted(new)) if path.is_file() and not path.is_symlink()]
    if SECRET in outcome.out + outcome.err or any(SECRET.encode() in text for text in texts):
        return "resolved an interpolation that a file names"
    odd = [name for name in new if re.search(r"\.\d+\.tmp$", name) or name.split("/")[0].startswith("~")]
    return f"left over: {re.sub(r'[0-9]+', 'N', odd[0])}" if odd else None


# Commands that add to a run folder, and then renew its report.
ADDING = ("evaluate", "sample", "interpolate", "project", "neighbors", "predict", "complete")


def change_of(case: Case, outcome: Outcome) -> str | None:
    """Files of the user that were changed or removed, other than those of a run that goes on."""
    resumed = next((a.partition("=")[2] for a in case.arguments if a.startswith("run_dir=")), "?") + "/"
    in_run = "train" in case.arguments[:1] and any(a.startswith("resume=") for a in case.arguments)
    for path, content in outcome.before.items():
        if outcome.after.get(path) == content or (in_run and path.startswith(resumed) and path in outcome.after):
            continue
        if path.endswith("/evaluation.json") and path in outcome.after and case.arguments[0] == "evaluate":
            continue
        if path.endswith("/report.html") and path in outcome.after and case.arguments[0] in ADDING:
            continue
        if not path.endswith((".lock", ".tmp")):
            return f"{case.arguments[0]} {'changed' if path in outcome.after else 'removed'} {path}"
    return None


def is_large(case: Case) -> bool:
    """Whether a number is large enough, or a limit lifted, for a job that takes long."""
    added = [argument for argument in case.arguments if argument not in QUICK]
    lifted = any(re.match(r"~|debug=|trainer=|.*max_images=", argument) for argument in added)
    texts = [argument.partition("=")[2] for argument in added]
    numbers = [float(number) for text in texts for number in re.findall(r"\d+(?:\.\d+)?(?:e\+?\d+)?", text)]
    return lifted or "inf" in texts or any(number >= 1000 for number in numbers)


# The kinds, and the loop over them


def kinds() -> dict[str, Callable[[], Any]]:
    """For each kind, what makes the strategy of its cases."""
    from lightning_gen.cli.commands import COMMANDS

    found: dict[str, Callable[[], Any]] = {}
    for command in COMMANDS:
        found[command] = (
            (lambda c=command: with_config(c)) if command in BASES else (lambda c=command: plain_arguments(c))
        )
    return found | {
        "usage": usage,
        "checkpoints": checkpoint_cases,
        "run_folders": run_folder_cases,
        "image_folders": image_folder_cases,
    }


class Fuzzer:
    """Draws cases, makes the runs that they start from, tries them and counts."""

    def __init__(self, root: Path, seed: int):
        self.root, self.seed = root, seed
        self.drawn: dict[tuple[str, int], list[Case]] = {}
        self.tries: Counter[str] = Counter()
        self.long: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    def case(self, kind: str, number: int) -> Case:
        """Case `number` of a kind."""
        batch = number // BATCH
        if (kind, batch) not in self.drawn:
            self.drawn[kind, batch] = self._draw(kind, batch)
        cases = self.drawn[kind, batch]
        return cases[number % BATCH % len(cases)]

    def _draw(self, kind: str, batch: int) -> list[Case]:
        path = self.root / "cases"
        strategy_of, seed = kinds()[kind], f"{self.seed} {kind} {batch}"
        self._in_child(lambda: path.write_bytes(pickle.dumps(draw(strategy_of(), seed))))
        return pickle.loads(path.read_bytes())

    def _in_child(self, function: Callable[[], Any]) -> None:
        out, err = self.root / "out", self.root / "err"
        if in_child(lambda: (function(), 0)[1], out, err, 300) != 0:
            sys.exit(f"fuzz.py itself failed:\n{out.read_text()}{err.read_text()}")

    def run(self, case: Case) -> Outcome:
        """Try a case; the runs that it starts from are trained at their first use."""
        for name in {make[1] for make in case.makes if make[0] == "run"}:
            if not (self.root / "runs" / name).exists():
                self._train(name)
        return attempt(case, self.root)

    def _train(self, name: str) -> None:
        home = self.root / "trained"
        for folder in ("home", "tmp", "work"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        arguments = ["train", *QUICK, *RUNS[name], "run_dir=run"]

        def train() -> None:
            os.chdir(home / "work")
            if run_in(home, arguments, self.root / "events"):
                raise SystemExit(1)

        self._in_child(train)
        (self.root / "runs").mkdir(exist_ok=True)
        shutil.move(home / "work" / "run", self.root / "runs" / name)

    def count(self, kind: str, number: int) -> tuple[Case, Outcome, str | None]:
        """Try a case, count it, and report a failure that is new."""
        case = self.case(kind, number)
        outcome = self.run(case)
        failure = failure_of(case, outcome, self.root / "try" / "work")
        self.tries[kind] += 1
        if outcome.status is None and is_large(case):
            self.long[kind] += 1
            failure = None
        if failure:
            self.failures[failure] += 1
            if self.failures[failure] == 1:
                report(failure, case, outcome, f"only={kind} seed={self.seed} case={number}")
        return case, outcome, failure


def draw(strategy: Any, seed: str) -> list[Case]:
    """A batch of cases, the same for the same seed; for a process that does nothing else."""
    import hypothesis

    # Hypothesis draws some numbers and texts from the source of imported modules, other than installed ones.
    for name in [name for name in sys.modules if name.startswith("lightning_gen")]:
        del sys.modules[name]

    cases: list[Case] = []

    @hypothesis.seed(int(hashlib.sha256(seed.encode()).hexdigest()[:16], 16))
    @hypothesis.settings(
        max_examples=3 * BATCH,  # many are equal
        phases=[hypothesis.Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def collect(case: Case) -> None:
        if case not in cases:
            cases.append(case)

    collect()
    random.Random(seed).shuffle(cases)  # the first are the simplest
    return cases[:BATCH]


def report(failure: str, case: Case, outcome: Outcome, options: str) -> None:
    """Print a failure and how to repeat it."""
    print(f"\nFAILED: {failure}\n  python scripts/fuzz.py {options}", file=sys.stderr)
    for name, *arguments in case.makes:
        print(f"  {name} {' '.join(map(repr, arguments))[:400]}", file=sys.stderr)
    print(f"  lightning-gen {shlex.join(case.arguments)[:1500]}", file=sys.stderr)
    stack = outcome.err.rpartition("most recent call first):")[2] if outcome.status is None else ""
    tail = "\n".join(stack.splitlines()[:8] or outcome.err.splitlines()[-6:])
    print("\n".join(f"  | {line[:300]}" for line in ascii_only(tail).splitlines()), file=sys.stderr, flush=True)


def ascii_only(text: str) -> str:
    """Without what a terminal would obey."""
    return re.sub(r"[^\n -~]", lambda found: repr(found[0])[1:-1], text)


def warm(chosen: list[str]) -> None:
    """Import what the commands need, once, without running anything that starts threads."""
    import hypothesis.strategies  # noqa: F401

    import lightning_gen.cli.help
    import lightning_gen.cli.hydra_app  # noqa: F401
    from lightning_gen.cli.commands import COMMANDS, load_run

    light = {"list", "new-plugin", "usage"}
    for command in COMMANDS if set(chosen) - light else light & set(chosen) - {"usage"}:
        load_run(command)
    if set(chosen) - light:
        for name in "models.gan models.vae models.recurrent_predictor models.pixel_model data.folder".split():
            importlib.import_module(f"lightning_gen.{name}")
    gc.collect()
    gc.freeze()


def main(seconds: float, seed: int = 0, only: str = "", tries: int = 0, case: int = -1, keep: str = "") -> None:
    """Try cases of all kinds in turn for some seconds, or a number of each kind, or one case."""
    chosen = only.split(",") if only else list(kinds())
    if unknown := [kind for kind in chosen if kind not in kinds()]:
        sys.exit(f"only={unknown[0]}: no such kind; kinds: {', '.join(kinds())}")
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its folder is removed
    with contextlib.ExitStack() as stack:
        root = Path(keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz_"))).resolve()
        root.mkdir(parents=True, exist_ok=True)
        stack.callback(gc.unfreeze)
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(root / "hypothesis")
        warm(chosen)
        fuzzer = Fuzzer(root, seed)
        if case >= 0:
            repeat(fuzzer, chosen[0], case)
        start = time.monotonic()
        number = 0
        while number < tries if tries else time.monotonic() - start < seconds:
            for kind in chosen:
                fuzzer.count(kind, number)
                if not tries and time.monotonic() - start >= seconds:
                    break
            number += 1
    for failure, times in fuzzer.failures.most_common():
        print(f"{times} x {failure}", file=sys.stderr)
    summary = {
        "bench": "fuzz",
        "seed": seed,
        "seconds": round(time.monotonic() - start, 1),
        "tries": sum(fuzzer.tries.values()),
        "failures": sum(fuzzer.failures.values()),
        "distinct": len(fuzzer.failures),
        "long": sum(fuzzer.long.values()),
        "tries_per_kind": dict(fuzzer.tries),
    }
    print(json.dumps(summary))
    sys.exit(bool(fuzzer.failures))


def repeat(fuzzer: Fuzzer, kind: str, number: int) -> None:
    """One case with all that it prints."""
    case, outcome, failure = fuzzer.count(kind, number)
    print(ascii_only(outcome.out) + ascii_only(outcome.err))
    print(f"lightning-gen {shlex.join(case.arguments)}")
    print(f"status {outcome.status}, {failure or 'no failure'}, {' '.join(outcome.events)}")
    sys.exit(failure is not None)


if __name__ == "__main__":
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    if unknown := options.keys() - {"seconds", "seed", "only", "tries", "case", "keep"}:
        sys.exit(f"{unknown.pop()}: no such key\n\n{__doc__}")
    numbers = {key: int(options[key]) for key in ("seed", "tries", "case") if key in options}
    main(float(options.get("seconds", 60)), only=options.get("only", ""), keep=options.get("keep", ""), **numbers)
