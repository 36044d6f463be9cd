"""Export a model for others: weights as safetensors, or a program that runs without lightning-gen.

Examples:

  lightning-gen export checkpoint=outputs/my_run out=my_model
  lightning-gen export checkpoint=my_run format=torch_export out=my_program
  lightning-gen export checkpoint=my_run format=onnx out=my_onnx

format=safetensors is loaded again by checkpoint=FOLDER. A program is a function of tensors, noise to images for a VAE
or a GAN, with averaged weights; snippet.py beside it runs it with PyTorch, or ONNX Runtime and NumPy, alone.
"""

from omegaconf import DictConfig

from lightning_gen.checkpoint import checkpoint_of
from lightning_gen.cli.checkpoint_options import filled, output_folder, print_written, run_folder
from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.containers import as_dict
from lightning_gen.errors import UserError
from lightning_gen.sharing.folder import open_shared, write_programs, write_safetensors
from lightning_gen.sharing.formats import TOLERANCE, check_format


def run(job: Job) -> None:
    """Write the folder `out`, and print how far the exported model's outputs are from the checkpoint's."""
    cfg = job.config
    _check(cfg)
    path = checkpoint_of(cfg.checkpoint)
    out = output_folder(cfg.out, path)
    shared = open_shared(path, run_folder(path), cfg.ema, as_dict(cfg.model), cfg.dtype)
    what = type(shared.model).__name__
    with filled(out) as folder:
        if cfg.format == "safetensors":
            differences = {"model": write_safetensors(shared, folder, out.name, cfg.dtype, cfg.license)}
        else:
            differences = write_programs(shared, cfg.format, folder, out.name, cfg.steps, cfg.license)
    for name, difference in differences.items():
        print(f"{name}: outputs differ from the checkpoint's by {difference:.1e} at most (limit {TOLERANCE:g})")
    print_written(what, out)


def _check(cfg: DictConfig) -> None:
    if not cfg.checkpoint:
        raise UserError("checkpoint=null: give a checkpoint file or a run's folder, as checkpoint=outputs/my_run")
    if cfg.dtype != "float32" and cfg.format != "safetensors":
        raise UserError(f"dtype={cfg.dtype}: programs compute in float32; leave out dtype, or use format=safetensors")
    check_format(cfg.format)
