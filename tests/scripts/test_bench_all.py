"""The table of all benchmarks."""

import pytest
from helpers import ROOT
from helpers.scripts import script


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return script("bench_all")


def test_a_row_has_times_with_their_operations_and_ratios(bench):
    step = {"bench": "step", "model": "vae", "raw_us": 20.5, "raw_images_per_second": 3000, "raw_gflop": 0.7}
    assert bench.row_of(step | {"ours_over_raw": 0.9}) == "| step vae | raw 20.5 us (0.7 GFLOP) | ours_over_raw 0.9 |"
    nested = {"bench": "metrics", "full": {"ours": {"seconds": 0.2, "slower": 1.0}}}
    assert bench.row_of(nested) == "| metrics | full_ours 0.2 s | full_ours_slower 1.0 |"


def test_quick_has_every_benchmark(bench):
    full, quick = ({name: command[0] for name, command in each.items()} for each in (bench.BENCHES, bench.QUICK))
    assert quick == full
    with pytest.raises(SystemExit, match="no such benchmark"):
        bench.main(["quick", "stat"])
