"""Score a checkpoint, or a folder of samples.

Examples:

  lightning-gen evaluate checkpoint=outputs/my_run/checkpoints/last.ckpt
  lightning-gen evaluate checkpoint=PATH metrics=[frechet]
  lightning-gen evaluate checkpoint=PATH prior=gmm
  lightning-gen evaluate checkpoint=PATH temperature=0.8
  lightning-gen evaluate samples=FOLDER reference=FOLDER metrics=[kid]
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from lightning_gen.cli.checkpoint_options import load, matching_data, run_folder, tell
from lightning_gen.cli.fitted_prior import use_prior
from lightning_gen.cli.hydra_app import Job
from lightning_gen.cli.run_protocol import use_own_protocol
from lightning_gen.cli.sample_files import in_own_keys, read_files
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import Settings, build_extractors, build_metrics, evaluate
from lightning_gen.evaluation.report import check_readable, save_and_print
from lightning_gen.metrics.image_metric import ImageMetric
from lightning_gen.models.vae import VAE
from lightning_gen.report.page import renew_report
from lightning_gen.runs.record import SCORES
from lightning_gen.sampling.preparation import choose_device
from lightning_gen.sampling.variety import Variety

if TYPE_CHECKING:
    from lightning_gen.data.image_data import ImageData
    from lightning_gen.image_generator import ImageGenerator


def run(job: Job) -> None:
    """Score a checkpoint, or a folder of samples; add the result to evaluation.json, and print it as a table."""
    cfg = job.config
    inputs = _from_files(cfg) if cfg.samples else _from_checkpoint(cfg, job.overrides)
    metrics = _of_prior(build_metrics(cfg.metrics), inputs)
    settings: dict[str, Any] = {option.name: cfg[option.name] for option in fields(Settings)} | {"split": inputs.split}
    with in_own_keys(cfg, inputs.data):
        evaluation = evaluate(
            inputs.model,
            inputs.data,
            metrics,
            build_extractors(cfg.extractor, metrics),
            files=inputs.files,
            device=choose_device(cfg.device),
            **settings,
        )
    if evaluation.broken_samples:
        raise UserError(
            f"checkpoint={cfg.checkpoint}: NaN or infinity in {evaluation.broken_samples} of the samples, "
            "the training diverged; use another checkpoint"
        )
    tell(inputs.files, inputs.data)
    changes: Any = OmegaConf.to_container(cfg.model)
    chosen: dict[str, Any] = {key: getattr(inputs, key) for key in ("prior", "sampling", "resized")}
    protocol = replace(evaluation.protocol, model=changes or None, **chosen)
    save_and_print(replace(evaluation, source=inputs.source, protocol=protocol), inputs.out)
    if inputs.out is not None:
        print(f"added to {inputs.out}", flush=True)
        if inputs.out.name == SCORES:
            renew_report(inputs.out.parent)


def _of_prior(metrics: dict[str, ImageMetric], inputs: "Inputs") -> dict[str, ImageMetric]:
    """The metrics without likelihoods, if those would be of the model's own prior in place of the chosen one."""
    if not inputs.prior or isinstance(inputs.model, VAE):
        return metrics
    left_out = [name for name, metric in metrics.items() if metric.needs == "log_likelihood"]
    for name in left_out:
        print(f"metrics.{name}: left out, likelihoods of this {type(inputs.model).__name__} are of its own prior")
    return {name: metric for name, metric in metrics.items() if name not in left_out}


class Inputs(NamedTuple):
    """A model, or the image files in its place, and the data to compare it with."""

    model: "ImageGenerator | None"
    files: "ImageData | None"
    data: "ImageData"
    out: Path | None  # the JSON file to add the evaluation to
    source: dict[str, str]  # as in Evaluation
    split: str
    resized: str | None = None  # as in Protocol
    prior: dict[str, Any] | None = None  # as in Protocol
    sampling: dict[str, float] | None = None  # as in Protocol


def _from_checkpoint(cfg: DictConfig, overrides: Sequence[str]) -> Inputs:
    if cfg.reference:
        raise UserError(f"reference={cfg.reference}: only samples=FOLDER are compared with it; give data=... instead")
    if cfg.checkpoint is None:
        raise UserError("evaluate needs checkpoint=PATH, or samples=FOLDER with reference=FOLDER")
    path, model = load(cfg)
    use_own_protocol(cfg, overrides, path)
    out = run_folder(path) / SCORES if cfg.out is None else _file(cfg.out)
    check_readable(out)  # before the work, not after it
    sampling = Variety.of(cfg).use(model)
    prior = use_prior(cfg, path, model)
    source = {"checkpoint": path.name}
    data, split = matching_data(cfg, path), cfg.split or "test"
    return Inputs(model, None, data, out, source, split, prior=prior, sampling=sampling)


def _from_files(cfg: DictConfig) -> Inputs:
    """The images in `samples`, to be compared with those in `reference`, or with the chosen data."""
    data = cfg.get("data")
    wrong = {
        "checkpoint": cfg.checkpoint,
        "model": cfg.model,
        "prior": cfg.get("prior"),
        "truncation": cfg.truncation,
        "temperature": cfg.temperature,
        "data": data and cfg.reference,
    }
    for key, value in wrong.items():
        if value:
            raise UserError(f"{key}: leave it out, samples={cfg.samples} are compared with the images of reference")
    if not cfg.reference and not data:
        raise UserError(f"samples={cfg.samples}: say what to compare with, as reference=FOLDER or data=mnist5k")
    if cfg.seeds > 1:
        raise UserError(f"seeds={cfg.seeds}: files stay the same; half_samples gives the uncertainty of their scores")
    out = None if cfg.out is None else _file(cfg.out)
    if out is not None:
        check_readable(out)
    files = read_files(cfg)
    return Inputs(None, files.samples, files.data, out, {"samples": str(cfg.samples)}, files.split, files.resized)


def _file(out: str) -> Path:
    path = Path(out)
    return path / SCORES if path.is_dir() else path
