"""The OmegaConf resolvers `${run_id:}`, the name of a run, and `${sweep_name:...}`, that of a multirun."""

import os
import secrets
from datetime import datetime

from lightning_gen.utilities.compat import current_hydra_node

_current: str | None = None


def register_resolver() -> None:
    """Make them known to OmegaConf."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("run_id", run_id, replace=True)
    OmegaConf.register_new_resolver("sweep_name", lambda name, time: time if name is None else name, replace=True)


def reset_run_id() -> None:
    """Reset the cached run id: the next config that is composed is another run."""
    global _current
    _current = None


def run_id() -> str:
    """The run id, cached for one job: the scheduler's job id, so that a requeued job finds its folder, else the time.

    Each job of a multirun adds its number.
    """
    global _current
    _current = _current or _scheduler_id() or f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(2)}"
    return _current + _multirun_suffix()


def _scheduler_id() -> str | None:
    env = os.environ
    # An interactive allocation (salloc, srun --pty bash) is a place to run many jobs, not a job.
    if "SLURM_JOB_ID" in env and env.get("SLURM_JOB_NAME") not in {"bash", "interactive"}:
        if "SLURM_ARRAY_JOB_ID" in env:
            return f"slurm-{env['SLURM_ARRAY_JOB_ID']}_{env.get('SLURM_ARRAY_TASK_ID', '0')}"
        return f"slurm-{env['SLURM_JOB_ID']}"
    if "LSB_JOBID" in env:
        index = env.get("LSB_JOBINDEX", "0")
        return f"lsf-{env['LSB_JOBID']}" + (f"_{index}" if index != "0" else "")
    if "PBS_JOBID" in env:
        return f"pbs-{env['PBS_JOBID'].split('.')[0]}"
    if env.get("TORCHELASTIC_RUN_ID", "none") != "none":  # torchrun's ranks must agree on the folder
        return f"torchrun-{env['TORCHELASTIC_RUN_ID']}"
    return None


def _multirun_suffix() -> str:
    from hydra.types import RunMode

    node = current_hydra_node()
    return f"-{node.job.num}" if node is not None and node.mode == RunMode.MULTIRUN else ""
