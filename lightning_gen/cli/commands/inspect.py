"""Describe a data set as models see it: images, shape, classes.

Examples:

  lightning-gen inspect data=mnist5k
  lightning-gen inspect data=folder data.path=my_images data.size=64
"""

from lightning_gen.cli.hydra_app import Job
from lightning_gen.config.instantiation import instantiate
from lightning_gen.utilities.printable import printable


def run(job: Job) -> None:
    """Print the facts of the data; a folder with damaged or differing images is reported, not refused."""
    cfg = job.config
    data = instantiate(cfg.data)
    data.prepare_data()
    data.in_memory = False  # decode only a few images
    for title, value in data.inspect():
        print("\n".join(map(printable, f"{title + ':':<13}{value}".split("\n"))))
