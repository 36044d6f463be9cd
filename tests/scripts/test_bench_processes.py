"""The comparison of one process with several: what it reports, and that it trains in as many."""

import json

import pytest
from helpers.runs import TINY_RUN
from helpers.scripts import script


@pytest.fixture
def bench():
    return script("bench_processes")


def test_medians_without_the_warm_up(bench, monkeypatch, capsys):
    speeds = {(1, 1): 100.0, (4, 1): 300.0, (1, 4): 200.0}
    asked = []

    def train(arguments, size, threads):
        asked.append(arguments)
        speed = speeds[size, threads]
        return [1.0, 1.0, speed, speed, speed, speed, speed + 50.0, speed - 50.0]

    monkeypatch.setattr(bench, "train", train)
    bench.main(["dcgan", "processes=4", "rounds=2", "batch_size=32", "model.latent_dim=8"])
    report = json.loads(capsys.readouterr().out)
    assert (report["model"], report["processes"], report["steps"]) == ("dcgan", 4, 80)
    assert (report["one_ms"], report["processes_images_per_second"]) == (320.0, 300.0)
    assert (report["processes_over_one"], report["threads_over_one"]) == (3.0, 2.0)
    assert len(asked) == 6
    assert {"data.batch_size=32", "trainer.max_images=2560", "model.latent_dim=8"} <= set(asked[0])


@pytest.mark.slow
def test_two_processes_are_timed(bench):
    fixed = [*TINY_RUN, "callbacks=[log_terms]", "callbacks.log_terms.every_steps=2", "trainer.max_images=64"]
    tiny = [each for each in fixed if each.startswith("callbacks.log_terms") or not each.startswith("callbacks.")]
    speeds = bench.train(tiny, 2, 1)
    assert len(speeds) == 4
    assert min(speeds) > 0
