"""Figures of a GPU beside their goals: images/s of training, eager, captured, compiled, by hand; memory; FID."""

import hashlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from gpu_machines import Machine
from gpu_trials import OutOfTime, Refused, Training, captured, time_limit
from lightning.pytorch import Callback
from loops import Step, fit, raw_batches, raw_step

from lightning_gen.batch import Batch
from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_data, build_model
from lightning_gen.extractors.inception import Inception
from lightning_gen.images import to_uint8
from lightning_gen.metrics.frechet import FrechetDistance
from lightning_gen.sampling.evaluation_mode import evaluation_mode
from lightning_gen.testing import narrow
from lightning_gen.training.run import use_channels_last
from lightning_gen.utilities.float32 import use_tf32

COMMON = "model.ema_decay=null data/augment=[none] data=fake data.num_classes=null callbacks=[log_terms,finite_guard]"
CLIPS = "data.image_shape=[20,1,64,64] data.batch_size=16"
FID_IMAGES = 50_000
TESTS = Path(__file__).parents[1] / "tests"


class Rivals(NamedTuple):
    """How the speed of a model is measured; `window` is a multiple of the period of its penalties."""

    overrides: str
    precision: str = "32-true"
    warm_up: int = 80  # steps: those of StyleGAN2 with all penalties, every 16th, are captured by then
    window: int = 80
    by_hand: bool = False  # whether the raw loop is captured, too: all its steps are of one kind
    share: float = 1  # of the time, relative to others


# By the name of the model and the size of its images, by importance.
SPEEDS = {
    "dcgan": Rivals("data.image_shape=[3,32,32]", by_hand=True, share=2),
    "vae": Rivals("data.image_shape=[1,28,28]", by_hand=True, share=2),
    "sngan": Rivals("data.image_shape=[3,32,32]"),
    "stylegan2-256": Rivals("data.image_shape=[3,256,256] data.batch_size=32", "bf16-mixed", window=16, share=3),
    "r3gan": Rivals("data.image_shape=[3,32,32] model.beta2_schedule=null", "bf16-mixed"),
    "stylegan2-128": Rivals("data.image_shape=[3,128,128] data.batch_size=32", "bf16-mixed", window=16),
    "pixel_cnn": Rivals("data.image_shape=[1,28,28]"),
    "frame_lstm": Rivals(CLIPS),
    "pixel_rnn_row": Rivals("data.image_shape=[1,28,28]", warm_up=10, window=10),
    "conv_lstm": Rivals(CLIPS, warm_up=10, window=10),
}


class Windows(Callback):
    """Marks the time every `window` steps, and ends the run after some of them or `seconds`."""

    def __init__(self, machine: Machine, rivals: Rivals, seconds: float, graphs: bool):
        self.machine, self.rivals, self.graphs = machine, rivals, graphs
        self.warm_up = rivals.warm_up if graphs else min(rivals.warm_up, 20)
        self.deadline = time.monotonic() + seconds
        self.marks: list[tuple[int, Any]] = []  # with the steps before

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        # On a pretended device the model has none of its own.
        if self.machine.pretended and self.graphs and pl_module.graphs is None:
            pl_module.graphs = captured(self.machine, pl_module)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        seen = pl_module.batches_seen
        if seen >= self.warm_up + len(self.marks) * self.rivals.window:
            self.marks.append((seen, self.machine.mark()))
        if enough(len(self.marks), self.deadline):
            trainer.should_stop = True

    @property
    def seconds(self) -> float:
        """The median of a step."""
        steps = [number for number, _ in self.marks]
        lengths = self.machine.seconds([mark for _, mark in self.marks])
        return statistics.median(t / (b - a) for t, a, b in zip(lengths, steps, steps[1:], strict=False))


def enough(marks: int, deadline: float) -> bool:
    """Seven windows, or as many as there is time for, but one."""
    return marks > 7 or (marks > 1 and time.monotonic() > deadline)


def time_loop(machine: Machine, step: Step, batches: Iterable[Batch], rivals: Rivals, seconds: float) -> float:
    """The median seconds of a step of a loop by hand, which reads its terms at every 50th."""
    marks, deadline, warm_up = [], time.monotonic() + seconds, min(rivals.warm_up, 20)
    for number, batch in enumerate(batches):
        if number >= warm_up and (number - warm_up) % rivals.window == 0:
            marks.append(machine.mark())
            if enough(len(marks), deadline):
                break
        terms = step(batch)
        if number % 50 == 0:
            {name: term.item() for name, term in terms.items()}
    return statistics.median(machine.seconds(marks)) / rivals.window


def captured_by_hand(machine: Machine, step: Step, example: Batch) -> Step:
    """The step as one graph, as PyTorch's notes on CUDA graphs have it."""
    static, recorder = Batch(example.images.clone(), None), machine.recorder()
    terms: dict[str, torch.Tensor] = {}

    def run() -> None:
        terms.update(step(static))

    for _ in range(3):
        recorder.warm_up(run)
    graph = recorder.record(run)

    def replay(batch: Batch) -> dict[str, torch.Tensor]:
        static.images.copy_(batch.images)
        graph.replay()
        return terms

    return replay


class Contest:
    """The rivals for one model, with the same data."""

    def __init__(self, machine: Machine, name: str, seconds: float):
        self.machine, self.rivals, self.seconds = machine, SPEEDS[name], seconds
        model = name.partition("-")[0]
        chosen = [f"model={model}", *COMMON.split(), *self.rivals.overrides.split(), *machine.trainer]
        if machine.pretended:
            self.rivals = self.rivals._replace(warm_up=6, window=1)
            shape = "[4,1,16,16]" if self.rivals.overrides == CLIPS else "[1,16,16]"
            chosen += [*narrow(model), f"data.image_shape={shape}", "data.batch_size=2"]
        self.config = compose([*chosen, f"trainer.precision={self.rivals.precision}"])
        self.data = build_data(self.config.data)
        self.batch_size = self.data.batch_size

    def model(self, compiled: bool = False) -> Any:
        torch.manual_seed(0)
        config = {**self.config.model, "compile": compiled}
        return build_model(config, self.data.image_shape, self.data.num_classes)

    def ours(self, graphs: bool, compiled: bool = False) -> float:
        """Seconds a step, with Lightning and its callbacks."""
        windows = Windows(self.machine, self.rivals, self.seconds, graphs)
        asked = {} if self.machine.pretended else {"graphs": graphs}
        fit(self.config, self.model(compiled), self.data, windows, 10**9, **asked)
        return windows.seconds

    def raw(self, by_hand: bool = False) -> float:
        """Seconds a step of a loop by hand."""
        model = self.model().to(self.machine.device).train()
        use_channels_last(model)
        autocast = self.machine.autocast if self.rivals.precision == "bf16-mixed" else nullcontext
        batches = raw_batches(self.data, self.machine.device)
        step = raw_step(model, autocast, **({"fused": True, "capturable": True} if by_hand else {}))
        if by_hand:
            step = captured_by_hand(self.machine, step, next(batches))
        return time_loop(self.machine, step, batches, self.rivals, self.seconds)


def speed(machine: Machine, name: str, box: float) -> Mapping[str, Any]:
    """Images/s of all rivals that there is time for in `box` seconds."""
    use_tf32(True)
    torch.backends.cudnn.benchmark = True
    deadline = time.monotonic() + box
    contest = Contest(machine, name, seconds=0 if machine.pretended else min(4, box / 8))
    entries: dict[str, Callable[[], float]] = {
        "raw": contest.raw,
        "eager": partial(contest.ours, graphs=False),
        "captured": partial(contest.ours, graphs=True),
    }
    if contest.rivals.by_hand:
        entries["by hand"] = partial(contest.raw, by_hand=True)
    if not machine.pretended:  # whose operations can't be compiled
        entries["compiled"] = partial(contest.ours, graphs=False, compiled=True)
        entries["compiled, captured"] = partial(contest.ours, graphs=True, compiled=True)
    times: dict[str, float] = {}
    for entry, measure in entries.items():
        try:
            with time_limit(deadline - time.monotonic()):
                times[entry] = measure()
        except OutOfTime:
            break
    found: dict[str, Any] = {entry: contest.batch_size / seconds for entry, seconds in times.items()}
    if machine.pretended:
        return found | {"(one tiny window)": ""}
    return found | goals(name, times, found)


def goals(name: str, times: Mapping[str, float], speeds: Mapping[str, float]) -> dict[str, Any]:
    """What is reached of the goals, and `below` for those that are not."""
    reached: dict[str, tuple[float, float]] = {}
    if name == "dcgan" and {"raw", "captured", "by hand"} <= speeds.keys():
        reached["captured / raw"] = speeds["captured"] / speeds["raw"], 2.5
        reached["captured / by hand"] = speeds["captured"] / speeds["by hand"], 0.9
    if name == "stylegan2-256" and "eager" in speeds:
        reached["best"] = max(value for entry, value in speeds.items() if entry != "raw"), 300
    if times.get("raw", 0) > 5e-3 and "eager" in times:
        reached["eager / raw"] = speeds["eager"] / speeds["raw"], 0.99  # an overhead of 1 %
    shown = {f"{what} ({goal:g} wanted)": value for what, (value, goal) in reached.items()}
    below = [what for what, (value, goal) in reached.items() if value < goal]
    return shown | ({"below": ", ".join(below)} if below else {})


SIZES = {
    "dcgan": ["data=fake", "data.image_shape=[3,32,32]"],
    "stylegan2": ["data=fake", "data.image_shape=[3,256,256]", "data.batch_size=32"],
}


def memory(machine: Machine, name: str) -> Mapping[str, Any]:
    """Peaks of the memory of steps with penalties, allocated and reserved, in GiB."""
    if machine.pretended:
        raise Refused("a pretended device has no memory")
    found = {}
    for kind, graphs in {"eager": None, "captured": partial(captured, machine)}.items():
        allocated, reserved = peak(machine, Training(name, *SIZES[name], device=machine.device, graphs=graphs))
        found |= {kind: allocated, f"{kind}, reserved": reserved}
    return found


def peak(machine: Machine, run: Training) -> tuple[float, float]:
    """GiB allocated and reserved at most in steps of all kinds, once the cache is empty."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(7 * run.period):
        run.step(machine.autocast())
    return torch.cuda.max_memory_allocated() / 2**30, torch.cuda.max_memory_reserved() / 2**30


def fid(machine: Machine, name: str) -> Mapping[str, Any]:
    """Images/s of samples through Inception with random weights, and the seconds of a FID of 50,000."""
    if machine.pretended:
        raise Refused("Inception takes too long on a pretended device")
    sys.path.append(str(TESTS))
    from helpers.random_weights import inception

    with tempfile.TemporaryDirectory() as folder:
        path = inception(Path(folder, "inception.pth"))
        extractor = Inception(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), "tf").to(machine.device)
    run = Training(name, *SIZES[name], device=machine.device)
    with evaluation_mode(run.model):
        marks = []
        for _ in range(12):
            extract(run, extractor)
            marks.append(machine.mark())
        one = statistics.median(machine.seconds(marks[2:]))
        features = torch.randn(FID_IMAGES, extractor.num_features, device=machine.device)
        before = machine.mark()
        metric = FrechetDistance().to(machine.device)
        metric.update(features, real=True)
        metric.update(features.roll(1, dims=1), real=False)
        metric.compute()
        distance = machine.seconds([before, machine.mark()])[0]
    seconds = FID_IMAGES / 1000 * one + distance
    found = {"images/s": 1000 / one, "distance, s": distance, f"{FID_IMAGES:,} images, s (30 wanted)": seconds}
    return found | ({"below": "seconds"} if seconds > 30 else {})


def extract(run: Training, extractor: Inception) -> torch.Tensor:
    """The features of 1,000 samples, in batches of the size that an evaluation has."""
    return torch.cat([extractor(to_uint8(run.model.sample(100))) for _ in range(10)])
