"""Nothing a user made is overwritten, and nothing a run has made is lost."""

import errno
import json
import multiprocessing
import os
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from helpers.commands import refused
from helpers.runs import TINY_RUN, resume, rows, run, saved

from lightning_gen.cli import main
from lightning_gen.evaluation.report import save_evaluation
from lightning_gen.evaluation.result import Evaluation, Protocol
from lightning_gen.training.loggers import CSV
from lightning_gen.training.run_folder import RunFolder
from lightning_gen.utilities.atomic_files import place

SCORED = ("metrics=[reconstruction]", "evaluation.half_samples=0")


def unread(*arguments: str) -> int:
    """The exit status of a command whose standard output is a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout, redirect_stdout(stdout):
        return main(list(arguments))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Output that nobody reads


def test_a_closed_output_loses_no_training(tmp_path, capsys):
    folder = tmp_path / "run"
    assert unread("train", *TINY_RUN, *SCORED, f"run_dir={folder}", "callbacks.progress.every_seconds=0") == 141
    assert capsys.readouterr().err == ""
    assert len(json.loads((folder / "evaluation.json").read_text())) == 1
    assert saved(folder)["lightning_gen"]["images_seen"] == 64
    assert "64 of 64 images" in (folder / "log.txt").read_text()


def test_a_closed_output_loses_no_scores(tiny_run):
    folder = tiny_run()
    assert unread("evaluate", f"checkpoint={folder}", "metrics=[reconstruction]", "device=cpu") == 141
    assert json.loads((folder / "evaluation.json").read_text())[-1]["scores"]["reconstruction_mse"] > 0


def test_a_closed_output_loses_no_samples(tiny_run, tmp_path):
    out = tmp_path / "out"
    assert unread("sample", f"checkpoint={tiny_run()}", "n=3", f"out={out}", "interpolation=false") == 141
    assert len(list((out / "images").iterdir())) == 3


def test_a_closed_output_ends_every_command_alike():
    assert unread("list") == 141


def test_scores_are_printed_if_they_cannot_be_saved(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lightning_gen.evaluation.report.atomic_write", full)
    with pytest.raises(OSError, match="No space left"):
        run(tmp_path / "run", *SCORED)
    assert "reconstruction_mse" in capsys.readouterr().out


def _append(path: Path, number: int) -> None:
    protocol = Protocol(
        data="fake", split="test", images={}, binarize=False, n_real=2, n_fake=2, extractors={}, metrics={}, versions={}
    )
    for _ in range(20):
        save_evaluation(Evaluation(scores={}, protocol=protocol, seconds=number), path)


def test_evaluations_at_once_are_all_kept(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append, args=(tmp_path / "evaluation.json", n)) for n in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    entries = json.loads((tmp_path / "evaluation.json").read_text())
    assert sorted(entry["seconds"] for entry in entries) == [number for number in range(3) for _ in range(20)]


# Folders with files of a user


@pytest.mark.parametrize(
    "name", ["metrics.csv", "evaluation.json", "report.html", "log.txt", "samples/a.png", "checkpoints/last.ckpt"]
)
def test_a_folder_that_holds_files_of_others(tmp_path, capsys, name):
    file = tmp_path / "run" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    error = refused(capsys, *TINY_RUN, f"run_dir={tmp_path / 'run'}")
    assert f"holds {name.partition('/')[0]} and no config.yaml" in error
    assert contents(tmp_path / "run") == {name: b"mine"}


def test_other_files_and_empty_folders_are_in_nobodys_way(tmp_path):
    folder = tmp_path / "run"
    (folder / "samples").mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / ".lock").write_text("mine")
    run(folder, images=8)
    assert (folder / "notes.txt").read_text() == (folder / ".lock").read_text() == "mine"
    assert saved(folder)["lightning_gen"]["images_seen"] == 8


def test_a_run_killed_before_its_config_can_be_started_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".lock", "log.txt", "wandb_id.txt"):
        (folder / name).write_text("left")
    run(folder, images=8)
    assert (folder / "log.txt").read_text().startswith("left")


def test_a_folder_made_before_stays_if_nothing_begins(tmp_path):
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")
    folder.claim()
    folder.release()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_foreign_evaluation_json_is_refused_before_the_training(tiny_run, capsys):
    folder = tiny_run()
    (folder / "evaluation.json").write_text('{"mine": 1}')
    before = contents(folder)
    error = refused(capsys, f"run_dir={folder}", "resume=true", "trainer.max_images=128")
    assert error.startswith(f"error: run_dir={folder / 'evaluation.json'}: holds something other than evaluations")
    assert contents(folder) == before


def test_a_resumed_run_removes_what_killed_saves_have_left(tiny_run):
    folder = tiny_run()
    for name in ("checkpoints/.last.ckpt", ".metrics.csv", "samples/.samples_0000000064.png"):
        (folder / f"{name}.{place()}.{2**80}.tmp").write_text("part")
    resume(folder, "trainer.max_images=96")
    assert [path for path in folder.rglob(".*") if path.name != ".lock"] == []


# Files removed during a run


@pytest.mark.parametrize("names", [["config.yaml"], ["config.yaml", "log.txt", "metrics.csv"]])
def test_files_removed_during_a_run_are_written_again(tmp_path, monkeypatch, names):
    folder = tmp_path / "run"
    log = CSV.log_metrics

    def log_and_remove(self, metrics, step=None):
        log(self, metrics, step)
        while names:
            (folder / names.pop()).unlink()

    monkeypatch.setattr(CSV, "log_metrics", log_and_remove)
    run(folder)
    assert names == []
    assert "64 of 64 images" in (folder / "log.txt").read_text()
    assert [int(row["images"]) for row in rows(folder)][-1] == 64
    resume(folder, "trainer.max_images=96")
    assert saved(folder)["lightning_gen"]["images_seen"] == 96


# Runs that have nothing to do


def test_nothing_is_rewritten_where_nothing_is_trained(tiny_run, capsys):
    folder = tiny_run()
    before = contents(folder)
    resume(folder, "trainer.max_images=32", "model.optimizer.lr=1")
    assert "nothing to train: 64 of 32 images seen" in capsys.readouterr().out
    after = contents(folder)
    assert after.pop("log.txt").startswith(before.pop("log.txt"))
    assert after == before


def test_a_monitor_that_no_validation_gives_is_refused_at_once(tmp_path, capsys):
    gan = ["model=dcgan", "model.generator.width=8", "model.discriminator.width=8", "data.image_shape=[3,16,16]"]
    common = ["debug=smoke", "data=fake", f"run_dir={tmp_path / 'run'}", "callbacks.best.monitor=val/nix"]
    for model, known in (["model.latent_dim=4"], "did you mean val/kl?"), (gan, "there are val/diversity, val/frechet"):
        assert known in refused(capsys, *common, *model)
        assert not (tmp_path / "run").exists()


def test_a_tilde_needs_no_quotes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["train", *TINY_RUN, "trainer.max_images=16", "run_dir=~/run"]) == 0
    assert (tmp_path / "run" / "config.yaml").is_file()


def test_a_pipe_is_no_file_of_evaluations(tmp_path, capsys):
    os.mkfifo(tmp_path / "evaluation.json")
    assert "holds something other than evaluations" in refused(
        capsys, "debug=smoke", "data=fake", f"run_dir={tmp_path}"
    )
