"""`lightning-gen train`: from a composed config to a trained, scored and sampled model in one run folder."""

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from lightning_gen.build import build_data, build_model
from lightning_gen.callbacks.last_checkpoint import LastCheckpoint
from lightning_gen.callbacks.stopping import GracefulStop, Interrupted, StopAtImages
from lightning_gen.checkpoint import load_weights, provenance, read_checkpoint
from lightning_gen.config import check, instantiate
from lightning_gen.data.image_data import ImageData
from lightning_gen.errors import UserError
from lightning_gen.evaluation import evaluate, print_table, save_evaluation
from lightning_gen.image_generator import ImageGenerator
from lightning_gen.resuming import start_of
from lightning_gen.runs import Run
from lightning_gen.trainer import Trainer, check_accelerator

log = logging.getLogger("lightning_gen")


def train(config: DictConfig, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Run `config` and return its scores; `overrides` are those of the command line.

    Raises UserError for what a user can mend, before anything is made where that can be known.
    """
    start = start_of(config, overrides)
    config = start.config
    check(config)
    check_accelerator(config.trainer.accelerator)
    main_rank = _rank() == 0
    run = Run(config.run_dir, resume=start.in_place) if main_rank else None
    _set_up_logging(Path(config.run_dir) if main_rank else None)

    torch.manual_seed(config.seed)  # initial weights
    data = build_data(config.data)
    model = build_model(config.model, data.image_shape, data.num_classes)
    if start.weights:
        load_weights(model, read_checkpoint(start.weights, "init_from")["state_dict"], f"init_from={start.weights}")
    plain = OmegaConf.to_container(config, resolve=True)
    model.provenance = provenance(plain, data)
    model.seed = data.run_seed = config.seed
    trainer = build_trainer(config, data)
    if main_rank:
        run.save_config(config)
        for logger in trainer.loggers:
            logger.log_hyperparams(plain)
    _describe(model, data, trainer, config)

    _fit(trainer, model, data, start.state, config.run_dir)
    result = _score(config, model, data, trainer)
    if main_rank:
        run.release()
    return result


def build_trainer(config: DictConfig, data: ImageData) -> Trainer:
    loggers = [instantiate(logger) for logger in (config.logger or {}).values()]
    for logger in loggers:
        if hasattr(logger, "open") and _rank() == 0:
            logger.open()
    callbacks: list[Callback] = [instantiate(callback) for callback in (config.callbacks or {}).values()]
    trainer = instantiate(
        config.trainer,
        batch_size=data.batch_size,
        images_per_epoch=data.num_images["train"],
        logger=loggers or False,
        callbacks=[*callbacks, StopAtImages(), GracefulStop()],
        default_root_dir=config.run_dir,
    )
    data.steps_per_call = trainer.steps_per_call
    return trainer


def _fit(trainer: Trainer, model: ImageGenerator, data: ImageData, state: Path | None, run_dir: str) -> None:
    if trainer.channels_last:
        model.to(memory_format=torch.channels_last)
    try:
        trainer.fit(model, datamodule=data, ckpt_path=state)
    except Interrupted as stop:
        kept = any(isinstance(callback, LastCheckpoint) for callback in trainer.checkpoint_callbacks)
        how = (
            f"go on with: lightning-gen train run_dir={run_dir} resume=true" if kept else "no checkpoint was asked for"
        )
        log.info("stopped by %s at %s images; %s", stop, f"{model.images_seen:,}", how)
        sys.exit(128 + stop.signal_number)
    except OSError as error:
        raise UserError(
            f"run_dir={run_dir}: {error.strerror or error} while writing {error.filename or 'a checkpoint'}; "
            "what was saved before is kept: make room, then add resume=true"
        ) from error


def _score(config: DictConfig, model: ImageGenerator, data: ImageData, trainer: Trainer) -> dict[str, Any]:
    if not config.metrics:
        return {}
    model.to(trainer.strategy.root_device)
    result = evaluate(
        model,
        data,
        {name: instantiate(metric) for name, metric in config.metrics.items()},
        instantiate(config.extractor) if config.extractor else None,
        split="test",
        num_samples=config.evaluation.num_samples,
        batch_size=config.evaluation.batch_size,
        seed=config.evaluation.seed,
        device=trainer.strategy.root_device,
    )
    if trainer.is_global_zero:
        save_evaluation(result, Path(config.run_dir) / "evaluation.json")
        print_table(result)
        log.info("run folder: %s", config.run_dir)
    return result


def _rank() -> int:
    # Before Lightning has made the process group, the launchers' variables tell.
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def _describe(model: ImageGenerator, data: ImageData, trainer: Trainer, config: DictConfig) -> None:
    if not trainer.is_global_zero:
        return
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    splits = " / ".join(f"{count:,}" for count in data.num_images.values())
    shape = "x".join(map(str, data.image_shape))
    log.info("%s: %s parameters; %s: %s images of %s", type(model).__name__, f"{trained:,}", data.name, splits, shape)
    log.info(
        "%s x %d, %s; run folder: %s", config.trainer.accelerator, trainer.world_size, trainer.precision, config.run_dir
    )


def _set_up_logging(folder: Path | None) -> None:
    """Our lines to the terminal and to `log.txt`; Lightning's advertisements and known false alarms to nowhere."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.*")
    log.setLevel(logging.INFO if folder else logging.WARNING)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
    handlers = [logging.StreamHandler(sys.stdout)]
    if folder:
        handlers.append(logging.FileHandler(folder / "log.txt"))
    for handler in handlers:
        log.addHandler(handler)
