"""Show a data set as models see it.

Examples:

  lightning-gen inspect data=mnist5k
  lightning-gen inspect data=folder data.path=my_images data.size=64
"""

from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.instantiation import instantiate


def run(job: Job) -> None:
    """Print the facts of `cfg.data`; a folder with damaged or unlike images is reported, not refused."""
    cfg = job.config
    data = instantiate(cfg.data)
    data.prepare_data()
    data.in_memory = False  # nothing is decoded that need not be
    for title, value in data.inspect():
        print(f"{title + ':':<13}{value}")
