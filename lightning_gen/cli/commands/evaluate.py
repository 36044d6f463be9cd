"""Score a checkpoint, or a folder of samples.

Examples:

  lightning-gen evaluate checkpoint=outputs/my_run/checkpoints/last.ckpt
  lightning-gen evaluate checkpoint=PATH metrics=[frechet]
  lightning-gen evaluate samples=FOLDER reference=FOLDER metrics=[kid]
"""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from lightning_gen.cli.checkpoint_options import check_at_least, choose_device, data_config, load, run_folder
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.instantiation import build_data
from lightning_gen.data.folder import image_folder
from lightning_gen.errors import UserError
from lightning_gen.evaluation.evaluator import build_extractors, build_metrics, evaluate
from lightning_gen.evaluation.report import check_readable, print_table, save_evaluation


def run(job: Job) -> None:
    """Score a checkpoint, or a folder of samples; add the result to evaluation.json, and print it as a table."""
    cfg = job.config
    check_at_least(cfg, batch_size=1, seeds=1, half_samples=0)
    model, data, files, out, named = (_from_files if cfg.samples else _from_checkpoint)(cfg)
    metrics = build_metrics(cfg.metrics)
    result = evaluate(
        model,
        data,
        metrics,
        build_extractors(cfg.extractor, metrics),
        split=cfg.split,
        num_samples=cfg.num_samples,
        num_real=cfg.num_real,
        batch_size=cfg.batch_size,
        seed=cfg.seed,
        seeds=cfg.seeds,
        half_samples=cfg.half_samples,
        ema=cfg.ema,
        device=choose_device(cfg.device),
        files=files,
    )
    if cfg.model:
        result["protocol"]["model"] = OmegaConf.to_container(cfg.model)
    print_table(result)
    if out is not None:
        save_evaluation({**named, **result}, out)
        print(f"added to {out}")


def _from_checkpoint(cfg: DictConfig) -> tuple:
    if cfg.reference:
        raise UserError(f"reference={cfg.reference}: is what samples=FOLDER are compared with; give data=... instead")
    if cfg.checkpoint is None:
        raise UserError("evaluate needs checkpoint=PATH, or samples=FOLDER with reference=FOLDER")
    path, model = load(cfg)
    out = run_folder(path) / "evaluation.json" if cfg.out is None else _file(cfg.out)
    check_readable(out)  # before the work, not after it
    return model, build_data(data_config(cfg, path)), None, out, {"checkpoint": path.name}


def _from_files(cfg: DictConfig) -> tuple:
    """The images in `samples`, and what they are compared with: those in `reference`, or the chosen data."""
    data = cfg.get("data")
    for key, value in {"checkpoint": cfg.checkpoint, "model": cfg.model, "data": data and cfg.reference}.items():
        if value:
            raise UserError(f"{key}: leave it out, samples={cfg.samples} are compared with the images of reference")
    if not cfg.reference and not data:
        raise UserError(f"samples={cfg.samples}: say what to compare with, as reference=FOLDER or data=mnist5k")
    if cfg.seeds > 1:
        raise UserError(f"seeds={cfg.seeds}: files stay the same; half_samples tells how sure their scores are")
    out = None if cfg.out is None else _file(cfg.out)
    if out is not None:
        check_readable(out)
    if cfg.reference:
        data, cfg.split = image_folder(cfg.reference, "reference"), "train"
    else:
        data = build_data(data)
    shape = None if cfg.reference else data.image_shape
    files = image_folder(cfg.samples, "samples", channels=shape and shape[0])
    if cfg.reference and files.image_shape[0] != data.image_shape[0]:  # gray on one side alone
        files, data = (image_folder(cfg[key], key, channels=3) for key in ("samples", "reference"))
    return None, data, files, out, {"samples": str(cfg.samples)}


def _file(out: str) -> Path:
    path = Path(out).expanduser()
    return path / "evaluation.json" if path.is_dir() else path
