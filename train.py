"""Train a model: `python train.py model=vae`. The same as `lightning-gen train`."""

from lightning_gen.cli import train

if __name__ == "__main__":
    train()
