"""A training run: from a composed config to a trained and scored model in one run folder."""

import errno
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from torch.optim import Optimizer

from lightning_gen.callbacks.last_checkpoint import LastCheckpoint
from lightning_gen.callbacks.rank_watch import RankWatch, ranks_watched
from lightning_gen.callbacks.report import finish_report
from lightning_gen.callbacks.stopping import Interrupted, Stopping
from lightning_gen.checkpoint import check_state, load_weights, match_data, provenance, read_checkpoint
from lightning_gen.config.composition import check
from lightning_gen.config.containers import as_dict
from lightning_gen.config.instantiation import build_data, build_each, build_model, instantiate
from lightning_gen.config.run_options import OPTIONS
from lightning_gen.data.image_data import ImageData
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import build_extractors, build_metrics, evaluate
from lightning_gen.evaluation.report import check_readable, report_lines, save_and_print
from lightning_gen.evaluation.result import Evaluation
from lightning_gen.extractors.extractor import Extractor
from lightning_gen.image_generator import KEY, ImageGenerator
from lightning_gen.metrics.image_metric import ImageMetric
from lightning_gen.trainer import ImageTrainer, check_accelerator, check_arguments, check_world_size, processes_on_node
from lightning_gen.training.checks import check_before
from lightning_gen.training.codes import check_codebook, first_stage, use_first_stage
from lightning_gen.training.messages import closing_lines, describe, origin, tell
from lightning_gen.training.perceptual import use_extractor
from lightning_gen.training.repetition import differences, facts_of
from lightning_gen.training.resume import Start, start_of
from lightning_gen.training.run_folder import RunFolder
from lightning_gen.training.run_log import note_printed, run_log
from lightning_gen.training.warm_up import shorten_warm_ups
from lightning_gen.utilities.launchers import is_first_process
from lightning_gen.utilities.signals import Stopped

log = logging.getLogger("lightning_gen")


class Prepared(NamedTuple):
    """A run that is checked and built, and has not begun."""

    start: Start
    folder: RunFolder | None  # of the main process
    data: ImageData
    model: ImageGenerator
    metrics: dict[str, ImageMetric]
    extractors: dict[str, Extractor]
    seen: int  # images
    notes: list[str]


def prepare(config: DictConfig, overrides: Sequence[str] = ()) -> Prepared:
    """Check and build all that a run needs, without a file in its folder; UserError for a user's mistakes."""
    if not config.run_dir:
        raise UserError(f"run_dir={config.run_dir or ''}: empty; name a folder, or leave run_dir out")
    start = start_of(config, overrides)
    config = start.config
    first = first_stage(config)
    check(config)
    check_accelerator(config.trainer.get("accelerator", "auto"))
    check_arguments(config.trainer)
    folder = RunFolder(config.run_dir, start.in_place) if is_first_process() else None
    check_readable(Path(config.run_dir, "evaluation.json"), key="run_dir")  # now, not after the training
    torch.manual_seed(config.seed)  # initial weights
    data = build_data(config.data, processes_on_node(config.trainer))
    warm_ups = [] if start.continues else shorten_warm_ups(config, overrides, data.split_sizes["train"])
    saved = _saved(start)
    facts = facts_of(start.again) if start.again else saved and saved[KEY]
    if facts:
        data.notes += match_data(data, facts)
    model = build_model(config.model, data.image_shape, data.num_classes)
    use_first_stage(first, model, data)
    use_extractor(model, config)
    check_codebook(model, data)
    optimizers = model.build_optimizers()  # raises for wrong settings before anything is written
    if config.trainer.get("sharded"):
        list(model.parts_to_shard())  # raises, too
    seen = _load(model, start, saved, optimizers)
    del saved, optimizers  # a second copy of the weights; what would keep the device's memory of sharded ones
    _describe_origin(model, data, start)
    metrics = build_metrics(config.metrics)
    extractors = build_extractors(config.extractor, metrics)
    notes = warm_ups + check_before(config, model, data, metrics, extractors)
    return Prepared(start, folder, data, model, metrics, extractors, seen, notes)


def train(config: DictConfig, overrides: Sequence[str] = (), typed: Sequence[str] | None = None) -> Evaluation | None:
    """Run `config` and return its evaluation, None without metrics; `overrides` are those of the command line.

    `typed` are those that `environment.json` keeps: without the options of a run that is resumed; None: all. Raises
    UserError for a user's mistakes, if possible before anything is written.
    """
    start, folder, data, model, metrics, extractors, seen, notes = prepare(config, overrides)
    config = start.config
    with _claimed(folder), _open_trainer(config, data) as trainer, ranks_watched(trainer, model, config.run_dir):
        trained = start.state and trainer.max_images is not None and seen >= trainer.max_images
        trains = not (trained and start.in_place)  # else config, logs and checkpoints stay as they are
        if trains:
            _begin(folder, trainer, start, rewind_to=seen if start.in_place else None)
        if folder and (trains or metrics or not folder.environment.finished):
            names = {"model": type(model).__name__, "data": data.name, OPTIONS: start.options}
            entry = folder.environment.begin(overrides if typed is None else typed, names, trainer.strategy.root_device)
            notes += differences(start.again, entry) if start.again else []
        describe(model, data, trainer, config)
        if came_from := origin(start, seen, trainer.max_images, config.run_dir):
            log.info("%s", came_from)
        tell(notes, model, data, trainer, config)
        if trained:
            progress = f"{seen:,} of {trainer.max_images:,}"
            log.info("nothing to train: %s images seen; raise trainer.max_images", progress)
        else:
            _fit(trainer, model, data, start.state, config.run_dir)
        evaluation = _score(model, data, metrics, extractors, trainer, config)
        if evaluation or not trained:  # else the folder stays as it is
            finish_report(trainer)
        for line in closing_lines(model, config.run_dir, trainer.max_images) if folder else ():
            log.info("%s", line)
        return evaluation


def _describe_origin(model: ImageGenerator, data: ImageData, start: Start) -> None:
    """Tell a model what its checkpoints hold of its run."""
    model.provenance = provenance(as_dict(start.config), data) | {OPTIONS: start.options}
    model.class_names = data.class_names or []
    model.seed = data.run_seed = start.config.seed
    model.num_training_images = data.split_sizes["train"]


def _begin(folder: RunFolder | None, trainer: ImageTrainer, start: Start, rewind_to: int | None) -> None:
    """Make the folder that of this run, and tell the loggers; those of a resumed run go back to its checkpoint."""
    if folder:
        folder.save_config(start.config, start.options)
    for logger in trainer.loggers:
        if rewind_to is not None and hasattr(logger, "rewind"):
            logger.rewind(rewind_to)
    for logger in trainer.loggers:
        logger.log_hyperparams(as_dict(start.config))
    for change in start.changes:
        log.info("changed: %s", change)


def _saved(start: Start) -> dict[str, Any] | None:
    """The checkpoint that a run starts from."""
    path, key = (start.weights, "init_from") if start.weights else (start.state, "resume")
    return None if path is None else read_checkpoint(path, key)


def _load(model: ImageGenerator, start: Start, content: dict[str, Any] | None, optimizers: Sequence[Optimizer]) -> int:
    """Load the weights that a run starts from, or raise; return the number of images they were trained on."""
    if content is None:
        return 0
    path, key = (start.weights, "init_from") if start.weights else (start.state, "resume")
    load_weights(model, content["state_dict"], f"{key}={path}")
    if start.weights:
        return 0
    check_state(content, optimizers, f"{key}={path}")
    model.on_load_checkpoint(content)
    return model.images_seen


@contextmanager
def _claimed(folder: RunFolder | None) -> Iterator[None]:
    """Within it the folder is this process's, with our log in it; None in all processes but the main one."""
    if folder is None:
        with run_log(None):
            yield
        return
    folder.claim()
    try:
        with run_log(folder.path):
            yield
    except BaseException as error:
        folder.environment.end(error)
        raise
    else:
        folder.environment.end(None)
    finally:
        folder.release()


@contextmanager
def _open_trainer(config: DictConfig, data: ImageData) -> Iterator[ImageTrainer]:
    """The trainer of a config; its loggers are closed at the end."""
    loggers = build_each(config.logger, "logger", Logger)
    try:
        for logger in loggers:
            if hasattr(logger, "open") and is_first_process():
                logger.open()
        yield build_trainer(config, data, loggers)
    finally:
        for logger in loggers:
            if hasattr(logger, "close"):
                logger.close()


def build_trainer(
    config: DictConfig, data: ImageData, loggers: Sequence[Any], callbacks: Sequence[Callback] | None = None
) -> ImageTrainer:
    """The trainer that `config` describes, for `data`; `callbacks` take the place of the config's."""
    if callbacks is None:
        callbacks = build_each(config.callbacks, "callbacks", Callback)
    trainer = instantiate(
        config.trainer,
        batch_size=data.batch_size,
        images_per_epoch=data.split_sizes["train"],
        logger=list(loggers) or False,
        callbacks=[*callbacks, RankWatch(), Stopping()],
        default_root_dir=config.run_dir,
    )
    check_world_size(trainer.world_size)
    data.check_batch_size(trainer.world_size)
    data.steps_per_call = trainer.steps_per_call
    return trainer


def use_channels_last(model: ImageGenerator) -> None:
    """Lay the weights of 2D convolutions out as `trainer.channels_last=true` asks."""
    for parameter in model.parameters():
        if parameter.ndim == 4:  # nn.Module.to would raise for the weights of 3D convolutions
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _fit(trainer: ImageTrainer, model: ImageGenerator, data: ImageData, state: Path | None, run_dir: str) -> None:
    if trainer.channels_last:
        use_channels_last(model)
    try:
        trainer.fit(model, datamodule=data, ckpt_path=state)
    except Interrupted as stop:
        saved = any(isinstance(callback, LastCheckpoint) for callback in trainer.checkpoint_callbacks)
        hint = f"go on: lightning-gen train run_dir={run_dir} resume=true" if saved else "no last.ckpt was asked for"
        log.info("stopped by %s at %s images; %s", stop, f"{model.images_seen:,}", hint)
        sys.exit(128 + stop.signal_number)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UserError(
            f"run_dir={run_dir}: {error.strerror}; earlier checkpoints are kept: make room, then go on with resume=true"
        ) from error


def _score(
    model: ImageGenerator,
    data: ImageData,
    metrics: Mapping[str, Any],
    extractors: Mapping[str, Any],
    trainer: ImageTrainer,
    config: DictConfig,
) -> Evaluation | None:
    if not metrics:
        return None
    device = trainer.strategy.root_device
    log.info("scoring: %s", ", ".join(metrics))
    try:
        evaluation = evaluate(model.to(device), data, metrics, extractors, device=device, **config.evaluation)
    except Stopped:
        log.info("the scoring was stopped, the training is kept; %s", _how_to_score(config.run_dir))
        raise
    evaluation = replace(evaluation, source={"checkpoint": "last.ckpt"})
    if trainer.is_global_zero:
        note_printed(report_lines(evaluation))
        save_and_print(evaluation, Path(config.run_dir, "evaluation.json"))
    scores = {f"test/{name}": value for name, value in evaluation.values.items()}
    for logger in trainer.loggers:
        getattr(logger, "log_scores", logger.log_metrics)(scores, model.images_seen)
    return evaluation


def _how_to_score(run_dir: str) -> str:
    checkpoint = Path(run_dir, "checkpoints", "last.ckpt")
    again = f"for all scores of this run: lightning-gen train run_dir={run_dir} resume=true"
    return f"to score it: lightning-gen evaluate checkpoint={checkpoint}; {again}" if checkpoint.is_file() else again
