"""Pixel-by-pixel models against the loops that one would write first: `python scripts/bench_rnn.py [rounds]`.

- `row`, `diagonal`: forward and backward of one layer on 28x28, against a loop over the pixels with the same weights.
- `recurrence`: minGRU over 784 steps against torch.nn.LSTM, and the recurrence as the paper scans it, in logarithms.
- `sampling`: 28x28 images from cached states, against a whole forward for each pixel (timed on some of the pixels).

All rivals take turns in one process; medians of CPU seconds. One JSON line each. Uses a GPU where there is one.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_gen.config.composition import compose
from lightning_gen.config.instantiation import build_model
from lightning_gen.models.pixel_model import PixelModel
from lightning_gen.networks.linear_recurrence import by_doubling, linear_recurrence, step_by_step
from lightning_gen.networks.pixel_min_rnn import MinLayer
from lightning_gen.networks.pixel_rnn import DiagonalLSTM, RowLSTM, lstm_cell

SIZE = 28
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def seconds(run: Callable[[], object]) -> float:
    """Of one run: CPU time, or on a GPU wall time."""
    clock = time.process_time if DEVICE == "cpu" else time.perf_counter
    start = clock()
    run()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def medians(rivals: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Each rival's median over the rounds, after a warm-up."""
    for run in rivals.values():
        run()
    times = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, run in rivals.items():
            times[name].append(seconds(run))
    return {name: statistics.median(values) for name, values in times.items()}


def report(bench: str, times: dict[str, float], faster: str, than: str, **more: object) -> None:
    line = {"bench": "rnn", "what": bench, "device": DEVICE, "threads": torch.get_num_threads()}
    line |= {f"{name}_ms": round(value * 1e3, 2) for name, value in times.items()}
    print(json.dumps({**line, "speedup": round(times[than] / times[faster], 2), **more}), flush=True)


def trained(forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Callable[[], None]:
    """Forward and backward."""
    return lambda: forward(inputs).square().mean().backward()


def row_by_pixels(layer: RowLSTM, inputs: Tensor) -> Tensor:
    """The Row LSTM as a loop over pixels."""
    batch, height, width, features = inputs.shape
    nothing, blank = inputs.new_zeros(batch, layer.hidden), inputs.new_zeros(batch, features)
    above, cells, rows = [nothing] * (width + 2), [nothing] * width, []
    for row in range(height):
        hidden = []
        for column in range(width):
            left = inputs[:, row, column - 1] if column else blank
            gates = layer.input(torch.cat([left, inputs[:, row, column]], 1))
            gates = gates + layer.recurrent(torch.cat(above[column : column + 3], 1))
            value, cells[column] = lstm_cell(gates, cells[column])
            hidden.append(value)
        above = [nothing, *hidden, nothing]
        rows.append(torch.stack(hidden, 1))
    return layer.output(inputs, torch.stack(rows, 1))


def diagonal_by_pixels(layer: DiagonalLSTM, inputs: Tensor) -> Tensor:
    """The Diagonal BiLSTM as loops over pixels."""
    batch, height, width, _ = inputs.shape
    nothing = inputs.new_zeros(batch, layer.hidden)
    maps = []
    for direction in (0, 1):
        columns = range(width) if direction == 0 else range(width)[::-1]
        weight, bias = (each.chunk(2)[direction] for each in (layer.input.weight, layer.input.bias))
        above, rows = [nothing] * width, []
        for row in range(height):
            beside = cell = nothing
            for column in columns:
                gates = F.linear(inputs[:, row, column], weight, bias)
                gates = gates + torch.cat([above[column], beside], 1) @ layer.recurrent[direction]
                beside, cell = lstm_cell(gates, cell)
                above[column] = beside
            rows.append(torch.stack(above, 1))
        maps.append(torch.stack(rows, 1))
    below = F.pad(maps[1], (0, 0, 0, 0, 1, 0))[:, :-1]
    return layer.output(inputs, maps[0] + below)


def bench_layer(name: str, layer: RowLSTM | DiagonalLSTM, by_pixels: Callable, rounds: int, batch: int = 8) -> None:
    layer = layer.to(DEVICE)
    inputs = torch.randn(batch, SIZE, SIZE, 128, device=DEVICE, requires_grad=True)
    error = (layer(inputs) - by_pixels(layer, inputs)).abs().max().item()
    rivals = {"ours": trained(layer, inputs), "by_pixels": trained(lambda x: by_pixels(layer, x), inputs)}
    report(name, medians(rivals, rounds), "ours", "by_pixels", largest_difference=error)


def scan_of_logarithms(decay: Tensor, inputs: Tensor) -> Tensor:
    """The recurrence as published: cumulative log-sum-exp, of non-negative inputs."""
    total = decay.log().cumsum(0)
    return (total + (inputs.log() - total).logcumsumexp(0)).exp()


def bench_recurrence(rounds: int, steps: int = SIZE * SIZE, batch: int = 16, hidden: int = 128) -> None:
    inputs = torch.randn(steps, batch, hidden, device=DEVICE, requires_grad=True)
    lstm = torch.nn.LSTM(hidden, hidden).to(DEVICE)
    cell = MinLayer("min_gru", hidden, hidden).to(DEVICE).cell

    def ours(x: Tensor) -> Tensor:
        return linear_recurrence(*cell(x))

    def logarithms(x: Tensor) -> Tensor:
        decay, own = cell(x)
        return scan_of_logarithms(decay, own.abs() + 1e-6)

    rivals = {
        "ours": trained(ours, inputs),
        "lstm": trained(lambda x: lstm(x)[0], inputs),
        "logarithms": trained(logarithms, inputs),
    }
    times = medians(rivals, rounds)
    decay, own = (each.detach() for each in cell(inputs))
    own = own.abs() + 1e-6
    exact = step_by_step(decay.double(), own.double())
    found = {"ours": step_by_step(decay, own), "doubling": by_doubling(decay, own)}
    found["logarithms"] = scan_of_logarithms(decay, own)
    errors = {f"{name}_error": ((each - exact).abs().max() / exact.abs().max()).item() for name, each in found.items()}
    report("recurrence", times, "ours", "lstm", **errors)


@torch.inference_mode()
def bench_sampling(name: str, rounds: int, n: int = 16, pixels: int = 12) -> None:
    model = build_model(compose([f"model={name}"]).model, (1, SIZE, SIZE), None).to(DEVICE).eval()
    images = model.sample(n)
    assert isinstance(model, PixelModel)
    network = model.pixels.network

    def cached() -> list[Tensor]:
        state, found = network.start(n), []
        for number in range(SIZE * SIZE):
            row, column = divmod(number, SIZE)
            found.append(network.step(state, row, column))
            state.images[:, :, row, column] = images[:, :, row, column]
        return found

    # From the first to the last pixel in equal distances; all cost the same.
    rivals = {"cached": cached, "recomputed": lambda: [network(images) for _ in range(pixels)]}
    times = medians(rivals, rounds)
    times["recomputed"] *= SIZE * SIZE / pixels
    # Matrix products of other shapes round differently, so that logits differ in float32's last bits; computed in
    # double precision, the same float32 logits come out of both.
    found = {}
    for dtype in (torch.float32, torch.float64):
        model.to(dtype)
        images = images.to(dtype)
        values = images.flatten(2).transpose(1, 2)  # (n, H W, C)
        stepped = model.pixels.head(torch.stack(cached(), 1), values).float()
        found[dtype] = stepped, model.pixels.head(network(images).flatten(1, 2), values).float()
    stepped, whole = found[torch.float32]
    same = {
        "largest_difference": (stepped - whole).abs().max().item(),
        "bit_identical_from_doubles": torch.equal(*found[torch.float64]),
    }
    report(f"sampling {name}", times, "cached", "recomputed", images_per_second=round(n / times["cached"], 1), **same)


def main(rounds: int = 5) -> None:
    """Measure and print."""
    torch.manual_seed(0)
    bench_layer("row", RowLSTM(128, 64, residual=True), row_by_pixels, rounds)
    bench_layer("diagonal", DiagonalLSTM(128, 64, residual=True), diagonal_by_pixels, rounds)
    bench_recurrence(rounds)
    for name in ("pixel_rnn_row", "pixel_rnn_diagonal", "pixel_min_gru", "pixel_min_lstm", "pixel_cnn"):
        bench_sampling(name, rounds)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
