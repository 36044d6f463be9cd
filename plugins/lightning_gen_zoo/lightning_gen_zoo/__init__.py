"""Trained checkpoints for lightning-gen: `checkpoint=zoo:digits_vae`."""
