"""Score a checkpoint, or a folder of samples.

Examples:

  lightning-gen evaluate checkpoint=outputs/my_run/checkpoints/last.ckpt
  lightning-gen evaluate checkpoint=PATH metrics=[frechet]
  lightning-gen evaluate samples=FOLDER reference=FOLDER metrics=[kid]
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from lightning_gen.cli.checkpoint_options import check_at_least, choose_device, data_config, load, run_folder
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.instantiation import build_data
from lightning_gen.data.folder import image_folder
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import Settings, build_extractors, build_metrics, evaluate
from lightning_gen.evaluation.report import check_readable, save_and_print

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator


def run(job: Job) -> None:
    """Score a checkpoint, or a folder of samples; add the result to evaluation.json, and print it as a table."""
    cfg = job.config
    check_at_least(cfg, batch_size=1, seeds=1, half_samples=0)
    inputs = _from_files(cfg) if cfg.samples else _from_checkpoint(cfg)
    metrics = build_metrics(cfg.metrics)
    evaluation = evaluate(
        inputs.model,
        inputs.data,
        metrics,
        build_extractors(cfg.extractor, metrics),
        files=inputs.files,
        device=choose_device(cfg.device),
        **{option.name: cfg[option.name] for option in fields(Settings)},
    )
    if evaluation.broken_samples:
        raise UserError(
            f"checkpoint={cfg.checkpoint}: NaN or infinity in {evaluation.broken_samples} of the samples, "
            "the training diverged; use another checkpoint"
        )
    changes: Any = OmegaConf.to_container(cfg.model)
    evaluation = replace(evaluation, source=inputs.source, protocol=replace(evaluation.protocol, model=changes or None))
    save_and_print(evaluation, inputs.out)
    if inputs.out is not None:
        print(f"added to {inputs.out}")


class Inputs(NamedTuple):
    """A model, or the image files in its place, and the data to compare it with."""

    model: "ImageGenerator | None"
    files: "ImageData | None"
    data: "ImageData"
    out: Path | None  # the JSON file to add the evaluation to
    source: dict[str, str]  # as in Evaluation


def _from_checkpoint(cfg: DictConfig) -> Inputs:
    if cfg.reference:
        raise UserError(f"reference={cfg.reference}: only samples=FOLDER are compared with it; give data=... instead")
    if cfg.checkpoint is None:
        raise UserError("evaluate needs checkpoint=PATH, or samples=FOLDER with reference=FOLDER")
    path, model = load(cfg)
    out = run_folder(path) / "evaluation.json" if cfg.out is None else _file(cfg.out)
    check_readable(out)  # before the work, not after it
    return Inputs(model, None, build_data(data_config(cfg, path)), out, {"checkpoint": path.name})


def _from_files(cfg: DictConfig) -> Inputs:
    """The images in `samples`, to be compared with those in `reference`, or with the chosen data."""
    data = cfg.get("data")
    for key, value in {"checkpoint": cfg.checkpoint, "model": cfg.model, "data": data and cfg.reference}.items():
        if value:
            raise UserError(f"{key}: leave it out, samples={cfg.samples} are compared with the images of reference")
    if not cfg.reference and not data:
        raise UserError(f"samples={cfg.samples}: say what to compare with, as reference=FOLDER or data=mnist5k")
    if cfg.seeds > 1:
        raise UserError(f"seeds={cfg.seeds}: files stay the same; half_samples gives the uncertainty of their scores")
    out = None if cfg.out is None else _file(cfg.out)
    if out is not None:
        check_readable(out)
    if cfg.reference:
        cfg.split = "train"
        data = image_folder(cfg.reference, "reference")
        files = image_folder(cfg.samples, "samples")
        if files.image_shape[0] != data.image_shape[0]:  # only one of them is gray
            files = image_folder(cfg.samples, "samples", channels=3)
            data = image_folder(cfg.reference, "reference", channels=3)
    else:
        data = build_data(data)
        files = image_folder(cfg.samples, "samples", channels=data.image_shape[0])
    return Inputs(None, files, data, out, {"samples": str(cfg.samples)})


def _file(out: str) -> Path:
    path = Path(out)
    return path / "evaluation.json" if path.is_dir() else path
