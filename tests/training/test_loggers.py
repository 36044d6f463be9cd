"""Loggers: what a run logged is in its folder, survives a crash and goes on when the run does."""

import importlib
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import rows
from PIL import Image

from lightning_gen.errors import UserError
from lightning_gen.training.loggers import CSV, TensorBoard, Wandb

COLOUR = (10, 200, 30)


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "picture.png"
    Image.new("RGB", (6, 4), COLOUR).save(path)
    return path


def log(folder: Path, *records: tuple[int, dict[str, float]], resumed_at: int | None = None) -> CSV:
    logger = CSV(str(folder))
    if resumed_at is not None:
        logger.rewind(resumed_at)
    for step, metrics in records:
        logger.log_metrics(metrics, step)
    return logger


class TestCSV:
    def test_appends_rows_as_they_come(self, tmp_path):
        logger = CSV(str(tmp_path / "new"))
        for step in (64, 128):
            logger.log_metrics({"loss": step / 7, "kl": 1e-9}, step)
            assert rows(tmp_path / "new")[-1] == {"images": str(step), "kl": "1e-09", "loss": f"{step / 7:.7g}"}
        assert len(rows(tmp_path / "new")) == 2

    def test_adds_columns_later(self, tmp_path):
        log(tmp_path, (1, {"b": 1}), (2, {"c": 2, "a": 3}), (3, {"a": 4, "b": 5}))
        assert rows(tmp_path) == [
            {"images": "1", "b": "1", "a": "", "c": ""},
            {"images": "2", "b": "", "a": "3", "c": "2"},
            {"images": "3", "b": "5", "a": "4", "c": ""},
        ]

    def test_not_finite_values_are_kept(self, tmp_path):
        log(tmp_path, (1, {"a": float("nan"), "b": float("-inf")}))
        assert rows(tmp_path) == [{"images": "1", "a": "nan", "b": "-inf"}]

    @pytest.mark.parametrize(("step", "kept"), [(1, []), (3, ["1", "2"]), (5, ["1", "2", "3", "4"])])
    def test_a_resumed_run_drops_what_it_logs_again(self, tmp_path, step, kept):
        log(tmp_path, *((n, {"a": n}) for n in (1, 2, 3, 4)))
        log(tmp_path, (step, {"a": 50}), (step, {"a": 60}), resumed_at=step - 1)
        assert [row["images"] for row in rows(tmp_path)] == [*kept, str(step), str(step)]
        assert [row["a"] for row in rows(tmp_path)][-2:] == ["50", "60"]

    def test_a_resumed_run_may_log_other_terms(self, tmp_path):
        log(tmp_path, (1, {"a": 1}), (2, {"a": 2}))
        log(tmp_path, (2, {"b": 7}), resumed_at=1)
        assert rows(tmp_path) == [{"images": "1", "a": "1", "b": ""}, {"images": "2", "a": "", "b": "7"}]

    @pytest.mark.parametrize("cut", range(1, 15))
    def test_a_row_without_its_end_is_dropped(self, tmp_path, cut):
        log(tmp_path, (64, {"a": 1.25, "b": 2}), (128, {"a": 3.125, "b": 40}))
        file = tmp_path / "metrics.csv"
        assert file.read_bytes().endswith(b"128,3.125,40\r\n")
        file.write_bytes(file.read_bytes()[:-cut])
        log(tmp_path, (192, {"a": 5, "b": 6}))
        assert rows(tmp_path) == [{"images": "64", "a": "1.25", "b": "2"}, {"images": "192", "a": "5", "b": "6"}]

    @pytest.mark.parametrize("left", ["", "ima", "images,a", "images,a\r\n"])
    def test_a_file_that_only_began(self, tmp_path, left):
        (tmp_path / "metrics.csv").write_text(left, newline="")
        log(tmp_path, (1, {"a": 1}), (2, {"a": 2}))
        assert rows(tmp_path) == [{"images": "1", "a": "1"}, {"images": "2", "a": "2"}]

    def test_a_file_deleted_meanwhile_is_begun_again(self, tmp_path):
        logger = log(tmp_path, (1, {"a": 1}))
        (tmp_path / "metrics.csv").unlink()
        logger.log_metrics({"a": 2}, 2)
        assert rows(tmp_path) == [{"images": "2", "a": "2"}]

    def test_takes_pictures_and_config_without_a_word(self, tmp_path, picture):
        logger = CSV(str(tmp_path / "run"))
        logger.log_hyperparams({"seed": 0})
        logger.log_picture("samples", picture, 1)
        assert not (tmp_path / "run").exists()


class TestTensorBoard:
    def read(self, folder):
        accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        events = accumulator.EventAccumulator(str(folder / "tensorboard"))
        events.Reload()
        return events

    def test_events_come_back(self, tmp_path, picture):
        logger = TensorBoard(str(tmp_path))
        logger.log_hyperparams({"model": {"beta": 4.0}})
        for step in (64, 128):
            logger.log_metrics({"train/loss": step / 2}, step)
        logger.log_picture("samples", picture, 128)
        logger.finalize("success")
        logger.log_metrics({"test/fid": 5.0}, 128)  # scored after training
        logger.experiment.flush()
        events = self.read(tmp_path)
        assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(64, 32), (128, 64)]
        assert [(e.step, e.value) for e in events.Scalars("test/fid")] == [(128, 5)]
        (shown,) = events.Images("samples")
        (tmp_path / "shown.png").write_bytes(shown.encoded_image_string)
        with Image.open(tmp_path / "shown.png") as image:
            assert np.array_equal(np.asarray(image), np.full((4, 6, 3), COLOUR, np.uint8))
        assert shown.step == 128
        (text,) = events.Tensors("config/text_summary")
        assert "beta: 4.0" in text.tensor_proto.string_val[0].decode()

    def test_the_final_scores_are_metrics_of_the_hyperparameters(self, tmp_path):
        logger = TensorBoard(str(tmp_path))
        logger.log_hyperparams({"model": {"beta": 4.0, "widths": [8, 16]}, "seed": 1})
        logger.finalize("success")
        logger.log_scores({"test/kid": 0.25}, 128)
        logger.experiment.flush()
        events = self.read(tmp_path)
        assert [(e.step, e.value) for e in events.Scalars("test/kid")] == [(128, 0.25)]
        plugin = importlib.import_module("tensorboard.plugins.hparams.plugin_data_pb2").HParamsPluginData
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        hyperparameters = plugin.FromString(content).session_start_info.hparams
        assert hyperparameters["model/beta"].number_value == 4
        assert hyperparameters["seed"].number_value == 1
        assert hyperparameters["model/widths"].string_value == "[8, 16]"

    def test_a_gif_moves(self, tmp_path):
        frames = [Image.new("L", (4, 4), value) for value in (0, 255)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        logger = TensorBoard(str(tmp_path))
        logger.log_picture("interpolation", tmp_path / "a.gif", 1)
        logger.finalize("success")
        (shown,) = self.read(tmp_path).Images("interpolation")
        assert (shown.width, shown.height) == (4, 4)
        assert shown.encoded_image_string == (tmp_path / "a.gif").read_bytes()  # browsers show it moving


class TestWandb:
    @pytest.fixture(autouse=True)
    def alone(self, tmp_path, monkeypatch):
        """Nothing of this user's account or home."""
        import wandb

        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            monkeypatch.delenv(name, raising=False)
        for name in ("HOME", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
            monkeypatch.setenv(name, str(tmp_path / "home"))
        monkeypatch.setenv("WANDB_SILENT", "true")
        yield
        wandb.teardown()  # it remembers the environment
        os.environ.pop("WANDB_MODE", None)  # set by an offline run

    def test_two_instances_are_one_run(self, tmp_path, picture, caplog, monkeypatch):
        monkeypatch.setattr(logging.getLogger("lightning_gen"), "propagate", True)
        caplog.set_level("INFO", "lightning_gen")
        run_ids = []
        for step in (64, 128):
            logger = Wandb(str(tmp_path), project="tests", offline=True)
            logger.open()
            logger.log_hyperparams({"model": {"beta": step}})
            logger.log_metrics({"train/loss": step / 2}, step)
            logger.log_picture("samples", picture, step)
            Image.new("L", (4, 4)).save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("L", (4, 4), 255)])
            logger.log_picture("samples_moving", tmp_path / "a.gif", step)
            run = logger.experiment
            assert run.offline
            assert run.config["model"] == {"beta": step}
            assert (run.summary["train/loss"], run.summary["images"]) == (step / 2, step)
            assert run.summary["samples"]["width"] == 6
            assert run.summary["samples_moving"]["_type"] == "video-file"
            run_ids.append(run.id)
            logger.close()
        folder = caplog.messages[-1].removeprefix("wandb was offline; to upload the run: wandb sync ")
        assert Path(folder) in (tmp_path / "wandb").glob(f"offline-run-*-{run_ids[0]}*")  # "-1" in the same second
        assert run_ids == [(tmp_path / "wandb_id.txt").read_text()] * 2
        assert len(list((tmp_path / "wandb").glob(f"offline-run-*-{run_ids[0]}"))) >= 1
        logger.close()  # once more does no harm

    def test_online_logging_without_an_account_is_a_user_error(self, tmp_path):
        with pytest.raises(UserError, match=r"^logger\.wandb\.offline=false: .*wandb login.*offline$"):
            Wandb(str(tmp_path), project="tests", offline=False).open()

    def test_the_run_of_an_agent_keeps_its_id_and_is_grouped_by_its_sweep(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WANDB_RUN_ID", "of_agent")
        monkeypatch.setenv("WANDB_SWEEP_ID", "sweep")
        logger = Wandb(str(tmp_path), project="tests", offline=True)
        assert (tmp_path / "wandb_id.txt").read_text() == "of_agent"
        assert logger.experiment.group == "sweep"
        logger.close()

    def test_the_group_of_the_environment_goes_before_the_sweep(self, tmp_path, monkeypatch):
        monkeypatch.setenv("WANDB_RUN_GROUP", "mine")
        monkeypatch.setenv("LIGHTNING_GEN_SWEEP", "sweep")
        logger = Wandb(str(tmp_path), project="tests", offline=True)
        assert logger.experiment.group == "mine"
        logger.close()

    def test_each_folder_is_a_run_of_its_own(self, tmp_path):
        ids = set()
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            ids.add(Wandb(str(tmp_path / name), project="tests", offline=True).version)
        assert len(ids) == 2
