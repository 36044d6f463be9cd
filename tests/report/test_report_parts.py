"""Parts of a report: curves that are thinned, pictures that are chosen, and the time that it takes."""

import struct
from types import SimpleNamespace

import pytest

from lightning_gen.callbacks import report
from lightning_gen.report import curves, pictures
from lightning_gen.report.curves import Chart, Curve, charts_of, hours_of, read_curves, thinned
from lightning_gen.report.environment import Environment, StartRow
from lightning_gen.report.pictures import read_series, spread
from lightning_gen.report.settings import papers_of


def test_thinned_curves_keep_their_ends_and_their_peaks():
    y = [1.0] * 100_000
    y[0], y[54_321], y[77_777], y[-1] = 2.0, 1e6, -5.0, 3.0
    curve = thinned(Curve("loss", [float(n) for n in range(len(y))], y), 200)
    assert len(curve.x) <= 200
    assert curve.x == sorted(curve.x)
    points = dict(zip(curve.x, curve.y, strict=True))
    assert (points[0], points[54_321], points[77_777], points[99_999]) == (2.0, 1e6, -5.0, 3.0)
    assert thinned(Curve("a", [1.0], [2.0]), 200) == Curve("a", [1], [2.0])


def test_large_files_are_read_in_blocks(tmp_path, monkeypatch):
    rows = [f"{n},{n}.5,nan" for n in range(50_000)]
    (tmp_path / "metrics.csv").write_text("images,train/loss,val/loss\n" + "\n".join(rows) + "\n123,cut")
    whole = read_curves(tmp_path)
    assert list(whole) == ["train/loss"]  # NaN is no point
    assert len(whole["train/loss"].x) == 50_000
    monkeypatch.setattr(curves, "MOST_BYTES", 2**16)
    monkeypatch.setattr(curves, "BLOCK", 2**13)
    part = read_curves(tmp_path)["train/loss"]
    assert 1_000 < len(part.x) < 10_000
    assert (part.x[0], part.x[-1]) == (0, 49_999)
    assert all(y == x + 0.5 for x, y in zip(part.x, part.y, strict=True))


def test_terms_share_a_chart_and_the_loss_is_first():
    named = ["images_per_second", "val/kl", "train/kl", "train/loss", "val/kid/inception", "test/kid/inception"]
    charts = charts_of([Curve(name, [1.0], [1.0]) for name in named])
    titles = [(chart.title, [curve.name for curve in chart.curves]) for chart in charts]
    assert titles == [
        ("loss", ["train"]),
        ("kl", ["train", "val"]),
        ("kid/inception", ["val"]),
        ("images per second", ["images_per_second"]),
    ]
    assert isinstance(charts[0], Chart)


def test_training_time_follows_from_the_speed():
    assert hours_of(Curve("images_per_second", [3_600.0, 10_800.0], [1.0, 2.0])) == pytest.approx(2)


@pytest.mark.parametrize(("count", "most", "kept"), [(3, 24, [0, 1, 2]), (9, 3, [0, 4, 8]), (9, 1, [8]), (0, 3, [])])
def test_pictures_are_spread_evenly_with_the_newest(count, most, kept):
    assert spread(count, most) == kept


def png(size: int, width: int = 4) -> bytes:
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, 4) + bytes(size)


def test_series_are_bounded(tmp_path, monkeypatch):
    (tmp_path / "samples").mkdir()
    for n in range(40):
        (tmp_path / f"samples/samples_{n:010d}.png").write_bytes(png(1000))
    (tmp_path / "samples/bomb_0000000001.png").write_bytes(png(1000, width=2**31))
    (tmp_path / "samples/other.png").write_bytes(png(1000))
    [series] = read_series(tmp_path)
    assert (len(series.pictures), series.left_out) == (pictures.MOST, 40 - pictures.MOST)
    assert (series.pictures[0].images, series.pictures[-1].images) == (0, 39)
    monkeypatch.setattr(pictures, "MOST_BYTES", 5_500)
    [series] = read_series(tmp_path)
    assert [picture.images for picture in series.pictures] == [0, 10, 20, 29, 39]


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def written(monkeypatch):
    """The callback with a clock of ours: the times at which a report that takes two seconds is written."""
    clock, times = Clock(), []

    def write(folder, outcome):
        times.append(clock.now)
        clock.now += 2.0
        return folder

    monkeypatch.setattr(report, "time", clock)
    monkeypatch.setattr(report, "write_report", write)
    return SimpleNamespace(clock=clock, times=times)


def train_for(seconds: int, written, every_seconds: float, new_pictures: bool = True) -> None:
    callback, drawn = report.Report("run", every_seconds), report.Pictures("run", 1, 1)
    trainer = SimpleNamespace(callbacks=[callback, drawn], is_global_zero=True)
    callback.on_train_start(trainer, None)
    begin = written.clock.now
    while written.clock.now < begin + seconds:
        written.clock.now += 1.0
        drawn.drawn_at += new_pictures
        callback.on_train_batch_end(trainer, None, None, None, 0)


def test_reports_take_at_most_a_hundredth_of_the_time(written):
    train_for(2_000, written, every_seconds=60)
    assert written.times[0] == 60
    assert 5 < len(written.times) <= 10
    assert all(2 * n <= 0.01 * time for n, time in enumerate(written.times[1:], 2))


def test_reports_wait_for_new_pictures(written):
    train_for(500, written, every_seconds=60, new_pictures=False)
    assert written.times == []


def test_a_report_that_fails_ends_nothing(monkeypatch, tmp_path):
    callback, lines = report.Report(tmp_path, 60), []
    monkeypatch.setattr(report.log, "info", lambda text, *values: lines.append(text % values))
    callback.write()
    callback.write()
    reason = "no run's folder, it has no config.yaml; name the folder that train printed"
    assert lines == [f"no report is written: {tmp_path}: {reason}"]


def test_the_end_of_a_run_is_in_its_own_report():
    """The file gets it after the report; an end that it has stays."""
    begun = StartRow("train", "10:00", "", "")
    (shown,) = Environment(starts=[begun]).ending("finished", "10:05").starts
    assert (shown.ended, shown.outcome) == ("10:05", "finished")
    assert Environment(starts=[shown]).ending("failed", "11:00").starts == [shown]


def test_papers_are_of_the_option_and_of_the_parts_in_use_in_their_order():
    penalties = {name: {"_target_": f"lightning_gen.losses.penalties.{name.upper()}"} for name in ("r1", "r2")}
    sees_labels = {"_target_": "lightning_gen.networks.players.ProjectionDiscriminator"}
    model = {"_target_": "lightning_gen.models.gan.GAN", "penalty": penalties, "conditioning": sees_labels}
    found = papers_of(model | {"conditional": False}, "r3gan")
    assert list(found) == ["R3GAN (Huang et al., 2024)", "GAN", "R1", "R2"]
    assert found["R3GAN (Huang et al., 2024)"] == ["2501.05441"]
    assert "ProjectionDiscriminator" in papers_of(model | {"conditional": True})
    assert "GAN" in papers_of(model, "of_a_plugin")
