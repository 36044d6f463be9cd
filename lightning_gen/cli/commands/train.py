"""Train a model, then score it.

Examples:

  python train.py                                         a VAE on 5,000 digits, on the CPU, in minutes
  python train.py model=rgb_vae data=cifar10 trainer=gpu  another model, data set and machine
  python train.py model.latent_dim=64 seed=1              any value of the config
  python train.py -m model=vae,beta_vae seed=1,2,3        six runs
  python train.py run_dir=outputs/my_run resume=true      resume a stopped run
  python train.py run_dir=outputs/my_run resume=auto      resume it, or start it if there is none
  python train.py again=outputs/my_run                    repeat a run, and tell what differs from then
  python train.py model=dcgan --dry-run                   check it, tell steps and time, and write nothing
"""

from lightning_gen.cli.hydra_app import DRY_RUN, Job
from lightning_gen.training.dry_run import dry_run
from lightning_gen.training.requeue import requeued
from lightning_gen.training.run import train


def run(job: Job) -> None:
    """Train with the job's config; its overrides also apply to the saved config of a run that is resumed."""
    if DRY_RUN in job.flags:
        dry_run(job.config, job.overrides)
        return
    with requeued(job.config.trainer.get("requeue", True)):
        train(job.config, job.overrides, job.typed)
